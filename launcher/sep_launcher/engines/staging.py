"""Room on this disk for mixes and stems of object stores: within a limit, and gone with its owner.

A run has a hidden folder of its own in the staging folder. A lock in it that the kernel drops at
any death tells the next run which ones are left over. A track has a folder in that, and room for
its mix and the stems that are expected of it from its beginning to its end, so that no two wait for
each other: whoever has room can finish.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.engines import job_files
from sep_launcher.machine import disk
from sep_launcher.planning import names
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX = f"{names.HIDDEN}stage-"
MOST = 20 * 10**9  # bytes, where nobody says
SHARE = 0.9  # of what is free
GIVEN_BY = "SLURM_TMPDIR"  # the disk of a node that a cluster gives to a job
# Bytes of samples in a byte of a file, at most as a rule: what is not known before it is decoded.
PLAIN = frozenset({".wav", ".wave", ".w64", ".aif", ".aiff", ".aifc", ".caf", ".au"})
LOSSLESS = frozenset({".flac", ".wv", ".tta", ".ape"})
DECODED = {**dict.fromkeys(PLAIN, 1.5), **dict.fromkeys(LOSSLESS, 3.0)}  # 16 bit become 24
DECODED_LOSSY = 20.0
ENCODED = {"wav": 1.0, "flac": 0.8, "mp3": 0.2, "ogg": 0.2}
UNKNOWN_STEMS = 6


class Staging:
    """A folder with room for so many bytes, shared by all who work in this process."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._free = limit
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, wanted: int, stop: threading.Event) -> int:
        """Wait for room, first come, first served; return how much it is, 0 where `stop` is set.

        More than the limit is the limit.
        """
        wanted = min(wanted, self.limit)
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                while self._waiting[0] is not me or self._free < wanted:
                    if stop.is_set():
                        return 0
                    self._changed.wait(0.2)  # nobody wakes us for a stop
                self._free -= wanted
                return wanted
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def give(self, room: int) -> None:
        """Give room back."""
        with self._changed:
            self._free += room
            self._changed.notify_all()

    def adjust(self, was: int, now: int) -> int:
        """Count what turned out to be there instead of what was expected; return it."""
        self.give(was - now)
        return now

    def folder(self) -> Path:
        """Make a folder for a track."""
        return Path(tempfile.mkdtemp(dir=self.root))

    def is_over(self) -> bool:
        """Say whether more lies here than may."""
        return size(self.root) > self.limit


@contextlib.contextmanager
def held(folder: Path | None, limit: int | None, *, share: float = 1.0) -> Iterator[Staging]:
    """Give a staging folder that is there as long as this context; raise PathError for none.

    `folder`: what it is made in; None: the job's own disk on a cluster, else the temporary folder.
    `limit` in bytes; None: most of what is free, at most `MOST`, of which this is a `share`.
    """
    place = folder or _usual()
    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        free = shutil.disk_usage(place).free
        root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{secrets.token_hex(4)}-", dir=place))
        lock = job_files.locked(root)
    except OSError as fault:
        raise PathError(
            f"{place} cannot be used for staging: {fault.strerror}",
            hint="name another folder by --stage",
        ) from fault
    try:
        yield Staging(root, int(share * min(MOST, free * SHARE)) if limit is None else limit)
    finally:
        if lock is not None:
            lock.close()  # first: Windows removes no file that is open
        shutil.rmtree(root, ignore_errors=True)
        sweep(place)  # others may have been killed meanwhile


def sweep(place: Path) -> None:
    """Remove what runs left that are dead. Whatever cannot be removed stays."""
    with contextlib.suppress(OSError):
        for root in place.glob(f"{PREFIX}*"):
            if not re.fullmatch(rf"{re.escape(PREFIX)}[0-9a-f]{{8}}-\w+", root.name):
                continue
            with contextlib.suppress(OSError):
                if job_files.is_ours(root) and job_files.is_over(root):
                    shutil.rmtree(root, ignore_errors=True)


def expected(size: int, ending: str, stems: Sequence[str], file_format: str) -> int:
    """Return the bytes that the stems of a mix will have, rather too many than too few. Pure."""
    samples = size * DECODED.get(ending.lower(), DECODED_LOSSY)
    return round(samples * (len(stems) or UNKNOWN_STEMS) * ENCODED[file_format])


def _usual() -> Path:
    given = os.environ.get(GIVEN_BY, "")
    return Path(given if given and disk.is_dir(given) else tempfile.gettempdir())


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder; what goes meanwhile does not count."""
    found = 0
    for where, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                found += Path(where, file).lstat().st_size
    return found
