"""A track's stems appear on the disk together or not at all, whatever ends the process."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sep_protocol import REPORT
from sep_protocol.errors import TrackError
from sep_runtime import lasting, shared
from sep_runtime.lasting import PREFIX
from sep_runtime.shared import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _hold(lock: int) -> None:
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _hold(lock: int) -> None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


PATTERN = r"\.sep-[0-9a-f]{8}-\d{1,9}"  # a job's id and a track's index: no other name is ours
LOCK = "lock"  # held as long as the job lives; the kernel lets go of it after any death
NOTE = "note"  # how to settle, where a track is replaced
OURS = {LOCK: stat.S_ISREG, NEW: stat.S_ISDIR, OLD: stat.S_ISDIR, NOTE: stat.S_ISREG}
FOREIGN_SECONDS = 7 * 24 * 3600.0  # after so long another machine's folder is nobody's
MOST_HOST = 255  # bytes of a machine's name that are noted
ATTEMPTS = 50
COMMIT = f"{PREFIX}00000000-0"  # held while one track's stems move into a shared folder
COMMIT_ATTEMPTS = 6000  # of 10 ms: disks may take long
MODE = 0o700  # nobody else shall put anything into our folder


class Left(NamedTuple):
    """A hidden folder that is left as it is, and why."""

    path: Path
    why: str


class Workspace:
    """A hidden folder `.sep-<job>-<index>` with the stems of a track in the making.

    It lies beside the track's own folder, which `new` becomes by one rename. Where that exists it
    first moves to `old`, and what the user keeps in it moves back. With `report` the folder `out`
    is shared by many tracks: it lies in there, and the files move into it, a report of that name
    last. `sweep` finishes either half if the process dies between; `host` is noted for it. Raises
    TrackError where the folder cannot be made, or the disk does not take the track's name.
    """

    def __init__(
        self, out: Path, job: str, index: int, *, report: str = "", host: str = ""
    ) -> None:
        self.out = out
        self._report = report
        self._host = host
        self._base = out if report else out.parent
        self.root = self._base / f"{PREFIX}{job}-{index}"
        self.new = self.root / NEW
        self._made = not os.path.lexists(self._base)
        self._lock = self._owner = -1
        try:
            self._lock, self._owner = _locked(self.root, host)
            _try_name(self.new, out / report)
            self.new.mkdir()
        except OSError as fault:
            self.discard()
            raise TrackError(
                f"{{path}} cannot be written: {fault.strerror}", path=str(self._base)
            ) from fault
        except TrackError:
            self.discard()
            raise

    def commit(
        self, report: Mapping[str, object], stems: Iterable[str], *, replace: bool = False
    ) -> str:
        """Write the report last, then give the track its name; `stems` are the new file names.

        Returns what is wrong with a track that is there all the same, nothing where all is well.
        Raises CameError where something came into its place that may not be replaced, OSError
        where the disk fails before it is there.
        """
        lasting.write(self.new / (self._report or REPORT), report)
        lasting.sync(self.new)
        if self._report:
            self._move_in(stems, replace=replace)
            return ""
        if os.path.lexists(self.out):
            self._make_way({*stems, REPORT}, replace=replace)
        try:
            self.new.rename(self.out)
        except (FileExistsError, NotADirectoryError) as fault:
            raise shared.came(self.out) from fault
        except OSError as fault:
            if fault.errno == errno.ENOTEMPTY:
                raise shared.came(self.out) from fault
            raise
        try:
            lasting.sync(self.out.parent)
        except OSError as fault:
            return f"{{path}} may not last through a power cut: {fault.strerror}"
        return ""

    def discard(self) -> Left | None:
        """Leave nothing of the track but what was committed; return what had to be left."""
        left = None
        if self._lock >= 0:
            left = _settle(self.root, self._owner)
            os.close(self._lock)
            self._lock = -1
            if left is None and self.root.exists():
                left = _settle(self.root, self._owner)  # Windows removes no file that is open
        with contextlib.suppress(OSError):
            self.root.rmdir()  # it never had a lock
        if self._made:
            with contextlib.suppress(OSError):
                self._base.rmdir()  # it was made for this track, and holds nothing
        return left

    def _move_in(self, names: Iterable[str], *, replace: bool) -> None:
        """Move the files into a shared folder, where no other run may move any meanwhile."""
        with _alone(self._base, self._host):
            note = shared.note_of(self.out, self._report, names, replace=replace)
            lasting.write(self.root / NOTE, note)
            lasting.sync(self.root)
            lasting.sync(self.out)
            try:
                shared.forward(self.root, note)
            except OSError as fault:
                with contextlib.suppress(OSError):
                    shared.back(self.root, note)
                    (self.root / NOTE).unlink()
                if isinstance(fault, FileExistsError) and not replace:  # a disk whose locks lie
                    raise shared.came(self.out / self._report) from fault
                raise

    def _make_way(self, names: set[str], *, replace: bool) -> None:
        """Move what is in the track's place aside, with a note that lasts, or take an empty one."""
        if self.out.is_symlink():
            raise is_link(self.out)
        if not self.out.is_dir():
            raise shared.came(self.out)
        with contextlib.suppress(OSError):
            self.out.rmdir()
            return
        if not replace:
            raise shared.came(self.out)
        note = {"out": self.out.name, "replaced": sorted(lasting.stems(self.out / REPORT) | names)}
        lasting.write(self.root / NOTE, note)
        lasting.sync(self.root)
        lasting.sync(self.out.parent)
        self.out.rename(self.root / OLD)


def is_link(out: Path) -> TrackError:
    """Return the error for a track's folder that is a link: it is never replaced."""
    return TrackError(
        "{path} is a link: it is not replaced",
        hint="name the folder that it leads to by --out, or remove it",
        path=str(out),
    )


@contextlib.contextmanager
def _alone(folder: Path, host: str) -> Iterator[None]:
    """Wait until no other process holds this, and hold it."""
    root = folder / COMMIT
    lock, owner = _locked(root, host, COMMIT_ATTEMPTS)
    try:
        yield
    finally:
        if os.name == "nt":  # it removes no file that is open
            os.close(lock)
        _settle(root, owner)
        if os.name != "nt":
            os.close(lock)
        with contextlib.suppress(OSError):
            root.rmdir()  # NFS and FUSE keep a file in it until its last handle is closed


def sweep(parent: Path, *, host: str = "", of: Collection[str] = ()) -> list[Left]:
    """Clear away what jobs that are no more left in this folder; finish what they had whole.

    A lock says that a job is alive, but on shared disks machines may be given the same one at the
    same time. So what another machine than `host` noted as its own is left, unless its job is one
    `of` those that are known to be over, or it is older than seven days. What is not ours for
    certain, or cannot be settled, is left and returned.
    """
    try:
        names = sorted(os.listdir(parent))  # noqa: PTH208 (it tells of folders that it cannot read)
    except OSError:
        return []
    roots = [parent / name for name in names if re.fullmatch(PATTERN, name)]
    if not roots:
        return []
    owner = _owner(parent)
    over = [root.name[len(PREFIX) :].partition("-")[0] in of for root in roots]
    found = (
        _swept(root, owner, None if each else host) for root, each in zip(roots, over, strict=True)
    )
    return [left for left in found if left]


def _owner(folder: Path) -> int:
    """Return whose our files are in a folder: some disks give all to one, whoever writes them."""
    try:
        made = tempfile.mkdtemp(prefix=PREFIX, dir=folder)
    except OSError:
        return -1 if sys.platform == "win32" else os.geteuid()
    found = os.lstat(made).st_uid
    os.rmdir(made)  # noqa: PTH106 (a text)
    return found


def _swept(root: Path, owner: int, host: str | None) -> Left | None:
    """Settle one folder, if it is this host's; None: whoever's it is."""
    with contextlib.suppress(OSError):
        root.rmdir()  # its job died before it had a lock
        return None
    try:
        lock = _open_lock(root, owner)
    except FileNotFoundError:
        return None  # it went meanwhile
    except OSError as fault:
        return Left(root, str(fault.strerror).lower())
    try:
        _hold(lock)
        if host is not None and _is_foreign(lock, host):
            return None
        if os.name == "nt":
            os.close(lock)
            lock = -1
        return _settle(root, owner)
    except OSError:
        return None  # its job is alive, or nobody can tell
    finally:
        if lock >= 0:
            os.close(lock)
        with contextlib.suppress(OSError):
            root.rmdir()  # NFS and FUSE keep a file in it until its last handle is closed


def _is_foreign(lock: int, host: str) -> bool:
    """Say whether another machine made the folder of a lock, not long ago."""
    os.lseek(lock, 0, os.SEEK_SET)
    noted = os.read(lock, MOST_HOST)
    if not noted or noted == _noted(host):
        return False
    return time.time() - os.fstat(lock).st_mtime < FOREIGN_SECONDS


def _note_host(lock: int, host: str) -> None:
    """Write whose a folder is into its lock, where nothing is in it: it may be a hard link."""
    found = os.fstat(lock)
    if host and found.st_size == 0 and found.st_nlink == 1:
        with contextlib.suppress(OSError):  # of a full disk, which others tell better
            os.write(lock, _noted(host))
            os.fsync(lock)  # other machines of a shared disk see nothing before


def _noted(host: str) -> bytes:
    return host.encode("utf-8", "replace")[:MOST_HOST]


def _locked(root: Path, host: str = "", attempts: int = ATTEMPTS) -> tuple[int, int]:
    """Make the folder and hold its lock; again, if a sweep took it away between the two.

    Returns the lock and whose the folder is.
    """
    for _ in range(attempts):
        path = root / LOCK
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            root.mkdir(mode=MODE, exist_ok=True)
            owner = root.lstat().st_uid
            lock = _open_lock(root, owner)
        except FileNotFoundError:
            continue
        try:
            _hold(lock)
            _note_host(lock, host)
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                return lock, owner
        except (BlockingIOError, PermissionError):
            time.sleep(0.01)
        except OSError:  # a file system without locks: nobody shall take it for dead
            path.unlink()
            return lock, owner
        os.close(lock)
    raise OSError(errno.EAGAIN, "another sep clears it away")


def _open_lock(root: Path, owner: int) -> int:
    """Open the lock of a folder that is ours, following no link; raises OSError."""
    if not _is_ours(root.lstat(), stat.S_ISDIR, owner):
        raise PermissionError(errno.EPERM, "it is not ours", str(root))
    # Not truncated: somebody may have put a hard link to a file of the user's there.
    lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    if not _is_ours(os.fstat(lock), stat.S_ISREG, owner):
        os.close(lock)
        raise PermissionError(errno.EPERM, "it is not ours", str(root / LOCK))
    return lock


def _is_ours(found: os.stat_result, is_kind: Callable[[int], bool], owner: int) -> bool:
    """Say whether it is of the kind, no link, and belongs to this owner."""
    return is_kind(found.st_mode) and found.st_uid == owner


def _try_name(folder: Path, out: Path) -> None:
    """Raise TrackError where this disk takes no folder of the track's name: before the work."""
    folder.mkdir()
    try:
        (folder / out.name).mkdir()
    except OSError as fault:
        kind = "file" if out.suffix == ".json" else "folder"
        raise TrackError(
            f"this disk takes no {kind} called like {{path}}: {fault.strerror}",
            hint="--name or --out can choose another",
            path=str(out),
        ) from fault
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settle(root: Path, owner: int) -> Left | None:
    """Bring a workspace to its end: the old track back, or the user's own files into the new.

    Only what we could have made is touched, and no link is followed. What says how to settle goes
    after what is to be settled, and the lock, by which a sweep knows its work, goes last: this may
    be interrupted and begun again at any point.
    """
    try:
        for entry in list(os.scandir(root)):
            found = entry.stat(follow_symlinks=False)
            # What was in the track's place may be another user's.
            whose = found.st_uid if entry.name == OLD else owner
            if entry.name not in OURS or not _is_ours(found, OURS[entry.name], whose):
                return Left(root, f"{entry.name} in it is not ours")
        note = _read(root / NOTE)
        if shared.is_note(note):
            shared.forward(root, note)
            shared.clear(root, note)
        elif (root / OLD).exists():
            replaced = {lasting.plain(name) for name in note["replaced"]}
            _give_back(root / OLD, root.parent / lasting.plain(note["out"]), replaced)
        shutil.rmtree(root / NEW, ignore_errors=True)
        (root / NOTE).unlink(missing_ok=True)
        if (root / NEW).exists():
            return Left(root, "its stems cannot be removed")
        with contextlib.suppress(OSError):  # Windows keeps an open file; `discard` comes again
            (root / LOCK).unlink(missing_ok=True)
            root.rmdir()
    except FileNotFoundError:
        return None if not root.exists() else Left(root, "it changed meanwhile")
    except OSError as fault:
        return Left(root, str(fault.strerror))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Left(root, "its note cannot be read; what was in the track before is in it")
    return None


def _read(note: Path) -> Any:  # noqa: ANN401 (it is looked at where it is used)
    """Return a note, None where there is none that was written to its end."""
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _give_back(old: Path, out: Path, replaced: set[str]) -> None:
    """Put the old track back where there is no new one, else the user's files into the new one."""
    if not os.path.lexists(out):
        old.rename(out)
        return
    if out.is_symlink() or not out.is_dir():
        raise OSError(errno.EEXIST, f"{out.name} is in the way of what was there before")
    for kept in list(old.iterdir()):
        if kept.name in replaced and not (kept.is_dir() and not kept.is_symlink()):
            kept.unlink()
        elif not os.path.lexists(out / kept.name):
            kept.rename(out / kept.name)
    old.rmdir()
