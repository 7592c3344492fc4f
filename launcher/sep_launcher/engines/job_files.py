"""The file with the Job: where no user keeps music, and gone when its launcher is.

Each is in a folder of its own, `<cache>/jobs/<id>`, or in one of the temporary folder where the
cache cannot be written. A lock in it that the kernel drops at any death tells the next run which
ones are left over; those that a dry run keeps have none, and their time.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sep_launcher.machine import paths
from sep_protocol import dump_job
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sep_protocol import Job

FILE = "job.json"
LOCK = "lock"
UNNAMED = "lock.new"  # until it is held: a sweep in between takes no living job for a dead one
PREFIX = "sep-job-"  # in the temporary folder, which is everybody's
KEPT_SECONDS = 7 * 24 * 3600.0


@contextlib.contextmanager
def held(job: Job) -> Iterator[Path]:
    """Give the Job's file, which is there as long as this context; raise PathError for none."""
    sweep()
    folder, lock = _made(job, hold=True)
    try:
        yield folder / FILE
    finally:
        if lock is not None:
            lock.close()  # first: Windows removes no file that is open
        _remove(folder)


def kept(job: Job) -> Path:
    """Write the Job's file for a person, who has seven days; raise PathError where that fails."""
    sweep()
    return _made(job, hold=False)[0] / FILE


def sweep() -> None:
    """Remove what launchers left that are dead. Whatever cannot be removed stays."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found += paths.jobs().glob("[0-9a-f]" * 8)  # whatever else may lie in $SEP_HOME
    with contextlib.suppress(OSError):
        found += Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
    for folder in found:
        with contextlib.suppress(OSError):
            if is_ours(folder) and is_over(folder):
                _remove(folder)


def _made(job: Job, *, hold: bool) -> tuple[Path, IO[bytes] | None]:
    """Write the file in the first place that takes it; return its folder and the lock."""
    fault: OSError | None = None
    for make in (_in_cache, _in_temporary):
        folder = None
        lock = None
        try:
            folder = make(job)
            lock = locked(folder) if hold else None
            (folder / FILE).write_text(dump_job(job), encoding="utf-8")
        except OSError as why:  # a home that cannot be written, or is full, is no reason to stop
            fault = why
            if lock is not None:
                lock.close()
            if folder is not None:
                _remove(folder)
        else:
            return folder, lock
    raise PathError(
        f"the job's file cannot be written: {fault and fault.strerror}",
        hint=f"make room in {paths.cache()}, or name another folder by TMPDIR",
    ) from fault


def _in_cache(job: Job) -> Path:
    folder = paths.jobs() / job.id
    folder.mkdir(parents=True)
    return folder


def _in_temporary(job: Job) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{job.id}-"))


def locked(folder: Path) -> IO[bytes] | None:
    """Return a lock that ends with this process; None where the file system has none."""
    path = folder / (LOCK if sys.platform == "win32" else UNNAMED)  # it renames no open file
    file = path.open("wb")
    if not _lock(file):
        file.close()
        return None
    if path.name != LOCK:
        path.rename(folder / LOCK)
    return file


def _lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":  # never run on Windows
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_ours(folder: Path) -> bool:
    """Say whether it is a folder, no link, and this user's."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and (os.name == "nt" or found.st_uid == os.getuid())


def is_over(folder: Path) -> bool:
    """Say whether its launcher is dead, or has left it for longer than is kept; raises OSError."""
    try:
        with (folder / LOCK).open("rb+") as file:
            return _lock(file)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > KEPT_SECONDS


def _remove(folder: Path) -> None:
    """Remove a job's folder, and nothing that we did not write there."""
    with contextlib.suppress(OSError):
        for name in (FILE, UNNAMED, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
