"""Tracks whose mix or stems are in an object store: what is there, and what is done already.

No report, no track: a track is there where its report is, `sep.json` beside its stems. Before its
stems are stored, a note says which these will be (`MAKING` before the report's name), so that what
an attempt left that died is known from what is somebody else's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_launcher.machine import disk, storage
from sep_launcher.planning import finished
from sep_launcher.planning.outputs import REPORT_BYTES
from sep_launcher.planning.stored import AT_ONCE, MAKING, many, stems_in
from sep_protocol import TrackFailed, marks
from sep_protocol.errors import PathError, TrackError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from sep_launcher.machine.storage import Entry
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Track, TrackDone

UNKNOWN = "that its report does not describe"
KEEP = "--overwrite replaces them, another --out keeps both"


def is_remote(track: Track) -> bool:
    """Say whether something of a track is in a store."""
    return storage.is_url(track.audio) or storage.is_url(track.out)


def before(plan: Plan) -> dict[int, TrackDone | TrackFailed]:
    """Look at what is there, and return the tracks that are over before the run, by index.

    Only with `resume` there are any: done where the report is of the same work and song and every
    stem is there with its size, failed where it is of other work. Raises PathError where stems are
    in the way, or a store refuses.
    """
    tracks = {i: each for i, each in enumerate(plan.job.tracks) if is_remote(each)}
    kept = [each for each in tracks.values() if storage.is_url(each.out)]
    for bucket in {"/".join(each.out.split("/")[:3]) for each in kept}:
        storage.check_bucket(bucket)
    _check_apart(kept)
    found = listings(kept)
    listed = {folder: _sizes(each) for folder, each in found.items()}
    if not plan.job.output.overwrite:
        _check_free(plan, kept, listed)
    if not plan.job.output.resume:
        return {}
    there = {i: each for i, each in tracks.items() if _is_there(each, listed)}
    reports = dict(zip(there, many(lambda each: _read(each, found), there.values()), strict=True))
    over: dict[int, TrackDone | TrackFailed] = {}
    for index, track in there.items():
        files = listed.get(track.out) or _files(Path(track.out))
        try:
            done = done_before(plan, index, reports[index], files)
        except TrackError as fault:
            # Stems of this disk are left to the runtime: it compares the sound itself.
            if plan.job.output.overwrite or not storage.is_url(track.out):
                continue
            kind = type(fault).__name__
            over[index] = TrackFailed(
                track=index, error=kind, message=fault.message, hint=fault.hint
            )
        else:
            if done:
                over[index] = done
    return over


def done_before(
    plan: Plan, index: int, report: bytes | None, files: Mapping[str, int]
) -> TrackDone | None:
    """Return a track as done where its report is of this work; None where stems are missing.

    `files` are the names and sizes of what lies beside the report. Raises TrackError for stems of
    other work.
    """
    track = plan.job.tracks[index]
    why = UNKNOWN
    try:
        found, mark = json.loads(report or b""), _mark(plan, track)
        if same := finished.described(plan.job, index, found, mark, _joined):
            done, sizes = same
            there = {_joined(track.out, name): size for name, size in files.items()}
            return done if all(there.get(each) == size for each, size in sizes.items()) else None
        why = _unlike(found, plan, track, mark)
    except (*finished.BROKEN, RecursionError):
        pass
    raise TrackError(f"{track.out} has stems {why}", hint=KEEP)


def patched(report: bytes, plan: Plan, track: Track) -> bytes:
    """Return a report with what the runtime could not know: which content the mix was of."""
    found: dict[str, Any] = json.loads(report)
    source = plan.sources.get(track.audio)
    if source is not None:
        found["mix"] |= {"size": source.size, "mtime_ns": source.mtime_ns}
        if source.etag:
            found["mix"]["etag"] = source.etag
    return f"{json.dumps(found, indent=1)}\n".encode()


def listing(track: Track) -> dict[str, int]:
    """Return the names and sizes of what is in a track's folder in a store."""
    return _sizes(storage.inside(track.out))


def note(track: Track) -> str:
    """Return the address of the note that says which stems are being stored."""
    return storage.joined(track.out, f"{MAKING}{track.report}")


def old_stems(track: Track, report: bytes | None) -> set[str]:
    """Return the addresses of a report's stems, of those that lie beside it."""
    return {
        storage.joined(track.out, name)
        for name in stems_in(report)
        if name and not set("/\\") & set(name) and name not in (".", "..")
    }


def read_report(track: Track, stop: threading.Event) -> bytes | None:
    """Return a track's report in a store, None where there is none."""
    return storage.read(storage.joined(track.out, track.report), REPORT_BYTES, stop)


def _unlike(
    report: Any,  # noqa: ANN401 (JSON)
    plan: Plan,
    track: Track,
    mark: Mapping[str, object],
) -> str:
    """Return how a report differs from this work."""
    if not marks.is_same(report["mix"], mark, track.shown):
        return "of another song, or of this one as it was before"
    if report["identity"] != plan.job.identity:
        return "of another model, or made with other settings"
    return "with other names"


def _mark(plan: Plan, track: Track) -> dict[str, object]:
    """Return what a mix is known by: in a store by its ETag, where that has one."""
    source = plan.sources.get(track.audio)
    if source is None:
        return {**marks.mark(track.audio)}
    if source.etag:
        return {"size": source.size, "etag": source.etag}
    return {"size": source.size, "mtime_ns": source.mtime_ns}


def _check_apart(tracks: Iterable[Track]) -> None:
    """Raise PathError where stems would lie beside their mix: they could replace it."""
    for track in tracks:
        if storage.parent(track.audio) == track.out.rstrip("/"):
            raise PathError(
                f"the stems would go into the folder of {track.audio}",
                hint="choose another with --out",
            )


def _check_free(plan: Plan, tracks: list[Track], listed: Mapping[str, dict[str, int]]) -> None:
    """Raise PathError for a report that is there, or files that nobody knows to be ours."""
    taken = []
    for track in tracks:
        files = listed[track.out]
        if track.report in files:
            if not plan.job.output.resume:
                taken.append(storage.joined(track.out, track.report))
            continue
        if f"{MAKING}{track.report}" in files:  # an attempt that died
            continue
        ours = {f"{track.file_of(stem)}.{plan.job.output.format}" for stem in plan.stems}
        there = ours & set(files) if track.shared else set(files)
        taken += [storage.joined(track.out, name) for name in sorted(there)[:1]]
    if taken:
        more = f" and {len(taken) - 1} more" if taken[1:] else ""
        raise PathError(
            f"{taken[0]}{more} exist{'' if more else 's'} already",
            hint=f"--overwrite replaces {'them' if more else 'it'}"
            + ("" if plan.job.output.resume else ", --resume leaves what is done"),
        )


def _is_there(track: Track, listed: Mapping[str, dict[str, int]]) -> bool:
    if storage.is_url(track.out):
        return track.report in listed[track.out]
    return disk.is_file(_report_of(track))


def _report_of(track: Track) -> str:
    return _joined(track.out, track.report)


def _joined(out: str, name: str) -> str:
    return storage.joined(out, name) if storage.is_url(out) else str(Path(out, name))


def _read(track: Track, found: Mapping[str, list[Entry]]) -> bytes | None:
    """Return a track's report, of one in a store as it is listed in its folder."""
    if storage.is_url(track.out):
        entry = next(each for each in found[track.out] if storage.name(each.url) == track.report)
        return storage.read_listed(entry, REPORT_BYTES)
    try:
        return Path(_report_of(track)).read_bytes()
    except OSError:
        return None


def listings(tracks: Iterable[Track]) -> dict[str, list[Entry]]:
    """Return what is in the folders of tracks in a store, of many by one listing of all of it.

    Raises StorageError.
    """
    folders = sorted({each.out for each in tracks if storage.is_url(each.out)})
    found: dict[str, list[Entry]] = {each: [] for each in folders}
    if len(folders) <= AT_ONCE:
        return dict(zip(folders, many(storage.inside, folders), strict=True))
    scheme = folders[0].partition("://")[0]
    above = os.path.commonpath([each.partition("://")[2] for each in folders])
    for entry in storage.below(f"{scheme}://{above}"):
        folder = storage.parent(entry.url)
        if folder in found:
            found[folder].append(entry)
    return found


def _sizes(found: Iterable[Entry]) -> dict[str, int]:
    return {storage.name(each.url): each.size for each in found}


def _files(folder: Path) -> dict[str, int]:
    try:
        return {each.name: each.stat().st_size for each in folder.iterdir()}
    except OSError:
        return {}
