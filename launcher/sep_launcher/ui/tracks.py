"""The tracks that are there to be heard: ids for the page, files for nobody's address bar."""

from __future__ import annotations

import json
import os
import stat
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_launcher.machine import disk
from sep_launcher.ui import pcm
from sep_protocol.errors import AudioError, PathError

if TYPE_CHECKING:
    from sep_launcher.ui.feed import Feed
    from sep_launcher.ui.tasks import Song
    from sep_protocol import TrackDone

PEAKS = 100  # pairs a second, as runs tell them
MOST = 500  # tracks that are remembered
TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
OTHER = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A song whose stems are on this disk."""

    id: str
    title: str
    mix: str
    out: str
    stems: dict[str, str]  # name -> file name in `out`
    frames: int
    rate: int
    model: str = ""

    def file(self, stem: str) -> Path:
        """Return a stem's file; raise PathError for what is none, or is not in the folder."""
        if stem not in self.stems:
            raise PathError(f"there is no stem {stem}")
        path = Path(self.out, self.stems[stem])
        if not stat.S_ISREG(disk.mode(path, links=True)):
            raise PathError(f"{path} is gone")
        return path

    @property
    def is_there(self) -> bool:
        """Say whether all of its files are."""
        modes = (disk.mode(Path(self.out, name), links=True) for name in self.stems.values())
        return all(map(stat.S_ISREG, modes))

    def document(self) -> dict[str, Any]:
        """Return what the page sees."""
        return {**asdict(self), "stems": list(self.stems)}


class Tracks:
    """All of them, the newest last; noted in a file, so that the next start knows them, too."""

    def __init__(self, file: Path, feed: Feed) -> None:
        self._file = file
        self._feed = feed
        self.every: dict[str, Track] = {each.id: each for each in _noted(file)}
        self.shapes: dict[str, dict[str, bytes]] = {}  # by track; by stem, as `pcm.peaks`
        self.over = threading.Event()  # nobody wants to see any more
        self._reading = threading.Lock()

    def keep(self, song: Song, event: TrackDone, model: str) -> None:
        """Note a track that is done."""
        stems = {stem: os.path.basename(path) for stem, path in event.stems.items()}  # noqa: PTH119
        track = Track(
            id=song.id,
            title=song.title,
            mix=song.mix,
            out=event.out,
            stems=stems,
            frames=event.frames,
            rate=event.sample_rate,
            model=model,
        )
        with self._feed.changing:
            same = [each.id for each in self.every.values() if self._same(each, track)]
            for old in [*same, *list(self.every)[: 1 - MOST]]:
                self.every.pop(old, None)
                self.shapes.pop(old, None)
                self._feed.put("forgotten", track=old)
            self.every[track.id] = track
            if song.peaks:
                self.shapes[track.id] = {stem: bytes(each) for stem, each in song.peaks.items()}
            self._write()
            self._feed.put("track", track=track.document())

    @staticmethod
    def _same(one: Track, other: Track) -> bool:
        return one.out == other.out and one.stems == other.stems

    def forget(self, track: Track) -> None:
        """Take a track from the list; its files stay."""
        with self._feed.changing:
            self.every.pop(track.id, None)
            self.shapes.pop(track.id, None)
            self._write()
            self._feed.put("forgotten", track=track.id)

    def peaks(self, track: Track) -> dict[str, bytes]:
        """Return the shapes of its stems, as far as its files tell them."""
        with self._reading:  # one at a time: they are read whole
            if track.id in self.shapes:
                return self.shapes[track.id]
            found = {}
            for stem in track.stems:
                with suppress(AudioError, PathError, OSError, ValueError):
                    found[stem] = pcm.peaks(pcm.wav(track.file(stem)), PEAKS, self.over)
            if not self.over.is_set() and track.id in self.every:
                self.shapes[track.id] = found
            return found

    def document(self) -> list[dict[str, Any]]:
        """Return what the page sees, of what is there: a disk may be away for a while."""
        return [each.document() for each in self.every.values() if each.is_there]

    def _write(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps([asdict(each) for each in self.every.values()]), "ascii")
            new.replace(self._file)
        except OSError:
            pass  # the next start does not know them; the stems are where they are


def _noted(file: Path) -> list[Track]:
    """Return the tracks that were noted, there or not."""
    try:
        return [Track(**each) for each in json.loads(file.read_text("ascii"))]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return []
