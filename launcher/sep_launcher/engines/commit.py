"""A track that is whole on this disk into an object store, so that it is whole there or absent.

A store renames nothing, so the report decides: it is stored last, and only where there is none,
which the store itself decides. What lies there without a report is no track.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import storage
from sep_launcher.planning import remote
from sep_protocol import __version__
from sep_protocol.errors import TrackError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sep_launcher.planning.plan import Plan
    from sep_protocol import Track, TrackDone

OVER = "another worker has it meanwhile: nothing of this attempt counts"
MEANWHILE = "came to be there while its stems were made"
BOTH = "stems of both may lie there: --overwrite makes them again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A track as the runtime made it; `done` tells of this disk, its number is the plan's."""

    plan: Plan
    done: TrackDone
    folder: Path  # of its stems and report here

    @property
    def track(self) -> Track:
        """The track; its `out` is in the store."""
        return self.plan.job.tracks[self.done.track]


def commit(made: Made, may: Callable[[], bool], stop: threading.Event) -> TrackDone:
    """Store the stems, then the report; return the track as it is there.

    Where the same work came to be there before, that counts. Raises TrackError for other work, and
    where `may` says that another attempt has the track; StorageError, StoppedError.
    """
    track = made.track
    if not may():
        raise TrackError(OVER)
    report = remote.patched((made.folder / track.report).read_bytes(), made.plan, track)
    was, there = _made_way(made, stop)
    if there:
        return there
    _note(made, stop)
    stems = {stem: Path(path) for stem, path in made.done.stems.items()}
    sent = {stem: storage.joined(track.out, path.name) for stem, path in stems.items()}
    for stem, path in stems.items():
        if not may():
            raise TrackError(OVER)
        if there := _there(made, stop):  # so that a rival's stems are not replaced by ours
            return there
        storage.send(path, sent[stem], stop)
    if not may():
        raise TrackError(OVER)
    if not storage.create(storage.joined(track.out, track.report), report, stop):
        there = _there(made, stop)
        if there is None:
            raise TrackError(f"{track.out} {MEANWHILE}", hint=BOTH)
        return there
    with contextlib.suppress(storage.StorageError):  # it is done, whatever stays beside it
        for url in (remote.note(track), *(was - set(sent.values()))):
            storage.remove(url, stop)
    return replace(made.done, out=track.out, stems=sent)


def _made_way(made: Made, stop: threading.Event) -> tuple[set[str], TrackDone | None]:
    """Take away a report that is to be replaced; return its stems, or what counts instead.

    From here on until the new report is there, there is no track.
    """
    track = made.track
    report = remote.read_report(track, stop)
    if report is None:
        return set(), None
    if not made.plan.job.output.overwrite and (there := _there(made, stop)):
        return set(), there
    storage.remove(storage.joined(track.out, track.report), stop)
    return remote.old_stems(track, report), None


def _there(made: Made, stop: threading.Event) -> TrackDone | None:
    """Return the track where the same work is there; None where it is not, or not whole.

    Raises TrackError for other work.
    """
    track = made.track
    report = remote.read_report(track, stop)
    if report is None:
        return None
    try:
        return remote.done_before(made.plan, made.done.track, report, remote.listing(track))
    except TrackError as fault:
        raise TrackError(f"{track.out} {MEANWHILE}", hint=BOTH) from fault


def _note(made: Made, stop: threading.Event) -> None:
    stems = {stem: {"file": Path(path).name} for stem, path in made.done.stems.items()}
    note = {"sep": __version__, "job": made.plan.job.id, "stems": stems}
    storage.put(remote.note(made.track), f"{json.dumps(note)}\n".encode(), stop)
