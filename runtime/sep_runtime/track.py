"""One track: from a mix on disk to its stems and report on disk, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from soundfile import LibsndfileError

from sep_models import RESIDUAL
from sep_protocol import TrackDone, Warned, __version__, marks
from sep_protocol.errors import AudioError, DiskFullError, ModelError, TrackError
from sep_runtime.accel import hardware
from sep_runtime.audio.chunks import carried
from sep_runtime.audio.encode import LOSSY, StemFile
from sep_runtime.audio.ffmpeg import labels
from sep_runtime.audio.mix import RATES, reason
from sep_runtime.lasting import reported
from sep_runtime.made import Settings, unlike
from sep_runtime.peaks import Shapes
from sep_runtime.shared import CameError
from sep_runtime.streams.behind import Behind
from sep_runtime.telling import Telling
from sep_runtime.tracks import Workspace, is_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sep_protocol import Event, Job, Track
    from sep_protocol.job import BitDepth
    from sep_runtime.audio.mix import Mix
    from sep_runtime.model import Model
    from sep_runtime.streams.pipeline import Pipeline
    from sep_runtime.tracks import Left
    from sep_runtime.upcoming import Coming, Upcoming

SCHEMA = 1  # of the report; a field is never renamed or taken away under the same number
MOST_FRAMES = 1 << 40
FULL_BYTES = 1 << 20  # less than this free is a full disk
UNWRITTEN = 2  # blocks of stems that wait for the slowest writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What all tracks of a Job share."""

    job: Job
    model: Model
    stems: tuple[str, ...]  # to write
    emit: Callable[[Event], None]
    upcoming: Upcoming


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One track in work."""

    batch: Batch
    index: int  # of the track in the Job
    mix: Mix
    pipeline: Pipeline
    settings: Settings

    @property
    def track(self) -> Track:
        return self.batch.job.tracks[self.index]


def do(batch: Batch, index: int) -> TrackDone:
    """Separate a track; raise TrackError where it cannot be, leaving nothing of it."""
    started = time.perf_counter()
    track = batch.job.tracks[index]
    out = Path(track.out)
    with batch.upcoming.take(index) as coming:
        mix = coming.mix
        settings = _settings(batch, track, mix)
        taken = _is_taken(batch, track, mix)
        if taken and (resumed := _resumed(batch, index, settings, coming)):
            return resumed
        pipeline = coming.open()
        work = _Pass(batch=batch, index=index, mix=mix, pipeline=pipeline, settings=settings)
        with _workspace(batch, index) as space:
            files = _files(work, space.new)
            encode = _write(work, files, coming)
            done = _done(work, files, encode, time.perf_counter() - started)
            report = _report(work, files, done, coming)
            names = [file.path.name for file in files.values()]
            try:
                fault = space.commit(report, names, replace=taken or batch.job.output.overwrite)
            except CameError as came:
                return _met(work, coming, came)
        for note in _notes(work, done):
            batch.emit(Warned(message=note, track=index))
    if fault:
        batch.emit(Warned(message=fault, track=index, path=str(out)))
    return done


def _prepare(batch: Batch, index: int) -> None:
    """Begin with a track while the one before it ends, unless there may be no work to it."""
    tracks = batch.job.tracks
    # A model that normalises hears a whole mix before it begins, which nothing could interrupt.
    if index >= len(tracks) or batch.model.separator.normalize:
        return
    try:
        if _there(batch, tracks[index]) is not None:
            return
    except OSError:
        return  # its turn tells
    batch.upcoming.prepare(index)


def _notes(work: _Pass, done: TrackDone) -> Iterator[str]:
    """Yield what people should know of a track that is done."""
    mix, output = work.mix, work.batch.job.output
    if mix.channels > work.pipeline.channels and not mix.layout:
        mix.notes.append(
            f"its {mix.channels} channels have no names: they went left and right in turn"
        )
    for note in mix.notes:
        yield f"{mix.path.name}: {note}"
    if done.clipped:
        told = ", ".join(f"{stem} {count}" for stem, count in done.clipped.items())
        way = "" if output.format == "wav" else "--format wav "
        yield f"{mix.path.name}: samples clipped: {told}; {way}--bit-depth float keeps them"


def _is_taken(batch: Batch, track: Track, mix: Mix) -> bool:
    """Say whether finished stems are to be looked at; raise TrackError for any in the way."""
    out, output = Path(track.out), batch.job.output
    try:
        if mix.path.resolve().parent == out.resolve():
            message = "the stems would go into the folder of {path}"
            raise TrackError(message, path=str(mix.path))
        if out.is_symlink() and not track.shared:
            raise is_link(out)
        if out.exists() and not out.is_dir():
            hint = "choose another folder with --out"
            raise TrackError("{path} is a file", hint=hint, path=str(out))
        there = _there(batch, track)
        if there is None:
            return False
        if output.resume and (out / track.report).is_file():
            return True
    except OSError as fault:
        message = f"{{path}} cannot be looked at: {fault.strerror}"
        hint = "--name or --out can choose another"
        raise TrackError(message, hint=hint, path=str(out)) from fault
    if output.overwrite:
        return False
    raise TrackError("{path} exists already", hint="--overwrite replaces it", path=str(there))


def _there(batch: Batch, track: Track) -> Path | None:
    """Return what is in a track's place: its folder, or in a shared one the first of its files."""
    out = Path(track.out)
    if not track.shared:
        return out if out.is_dir() and any(out.iterdir()) else None
    ending = batch.job.output.format
    names = [f"{track.file_of(stem)}.{ending}" for stem in _names(batch)]
    return next((out / n for n in (*names, track.report) if os.path.lexists(out / n)), None)


def _met(work: _Pass, coming: Coming, came: CameError) -> TrackDone:
    """Return what another attempt at the same work, which was done first, reported."""
    if work.batch.job.output.resume:
        with suppress(TrackError):
            if done := _resumed(work.batch, work.index, work.settings, coming):
                return done
    raise TrackError(came.template, hint=came.hint, path=came.path) from came


def _resumed(batch: Batch, index: int, settings: Settings, coming: Coming) -> TrackDone | None:
    """Return what an earlier job reported of the same work, None where it must be done again.

    A mix of the size and the time that the report notes is taken for the same one unread, unless
    the job asks for more.

    Raises TrackError where there are stems of other work, and they may not be replaced.
    """
    track = batch.job.tracks[index]
    out = Path(track.out)
    hint = "--overwrite replaces them, another --out keeps both"
    why = "that its report does not describe"
    try:
        report = reported(out / track.report)
        named = () if batch.job.precision == "auto" else ("precision",)
        model = batch.model
        unread = not batch.job.output.verify and _is_known(report["mix"], track, coming)
        mix = report["mix"]["sha256"] if unread else _mix_sha256(coming)
        other = unlike(report, settings, mix=mix, model=model.sha256, name=model.name, named=named)
        why = other or why
        same = (
            not other
            and set(report["stems"]) == set(_names(batch))
            and 0 < report["frames"] < MOST_FRAMES
            and report["sample_rate"] in RATES
        )
        files = {stem: out / Path(each["file"]).name for stem, each in report["stems"].items()}
        sizes = [(files[stem], each["bytes"]) for stem, each in report["stems"].items()]
        done = TrackDone(
            track=index,
            out=str(out),
            stems={stem: str(file) for stem, file in files.items()},
            frames=int(report["frames"]),
            sample_rate=int(report["sample_rate"]),
            chunk=settings.chunk,
            hop=settings.hop,
            chunks=0,
            seconds=0.0,
            resumed=True,
        )
        whole = all(file.is_file() and file.stat().st_size == size for file, size in sizes)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        same = False
    if same:
        return done if whole else None
    if batch.job.output.overwrite:
        return None
    raise TrackError(
        f"{{path}} has stems {why}",
        hint=hint,
        path=str(out / track.report if track.shared else out),
    )


def _is_known(noted: Any, track: Track, coming: Coming) -> bool:  # noqa: ANN401 (JSON)
    """Say whether a report is of this mix for certain; those of before there were marks are not."""
    try:
        return marks.is_same(noted, coming.mark, track.shown or str(coming.mix.path))
    except KeyError:
        return False


def _mix_sha256(coming: Coming) -> str:
    try:
        return coming.sha256.result()
    except ModelError as fault:
        raise AudioError(f"{coming.mix.path.name} cannot be read to its end") from fault


def _settings(batch: Batch, track: Track, mix: Mix) -> Settings:
    cut = batch.model.separator.cut
    return Settings(
        chunk=cut.chunk,
        hop=cut.hop,
        batch=cut.batch,
        precision=batch.model.running.precision,
        format=batch.job.output.format,
        bit_depth=_depth(batch.job, mix),
        stems=batch.stems,
        stem_name=track.stem_name,
        residual=batch.job.output.residual,
        shifts=batch.job.shifts,
        downmix=batch.job.downmix,
    )


def _depth(job: Job, mix: Mix) -> BitDepth | None:
    if job.output.format in LOSSY:
        return None
    if job.output.bit_depth is not None:
        return job.output.bit_depth
    return "float" if mix.is_float and job.output.format == "wav" else "24"


def _files(work: _Pass, folder: Path) -> dict[str, StemFile]:
    mix, output = work.mix, work.batch.job.output
    said = labels(mix.path)
    chunks = carried(mix.path) if output.format == "wav" else ()
    return {
        stem: StemFile(
            folder / f"{work.track.file_of(stem)}.{output.format}",
            sample_rate=mix.sample_rate,
            channels=work.pipeline.channels,
            frames=mix.frames if mix.is_counted else 0,
            file_format=output.format,
            depth=work.settings.bit_depth,
            labels=said,
            carried=chunks,
        )
        for stem in _names(work.batch)
    }


def _names(batch: Batch) -> tuple[str, ...]:
    """Return the stems that are written."""
    return (*batch.stems, RESIDUAL) if batch.job.output.residual else batch.stems


def _write(work: _Pass, files: dict[str, StemFile], coming: Coming) -> float:
    """Send the stems [S, C, n] to their files, each on a thread of its own.

    Returns the seconds of encoding, those of the writer that had most to do.
    """
    order = (*work.batch.model.stems, RESIDUAL)
    telling = Telling(work.batch.emit, work.index, work.mix, work.pipeline)
    shapes = _shapes(work, {stem: order.index(stem) for stem in files})
    doubts = [_doubt(work)]

    def tell() -> None:
        telling.idle()
        if coming.sounds_like_drums is False and doubts:
            work.batch.emit(doubts.pop())

    with ExitStack() as stack:
        writers = [
            (order.index(stem), stack.enter_context(_writer(stem, file)))
            for stem, file in files.items()
        ]
        for block in coming.begin().meanwhile(tell):
            for row, writer in writers:
                writer.put(block[row])
            if shapes:
                shapes.take(block)
            telling.take(block.shape[-1])
            tell()
        for _, writer in writers:
            writer.end()
        telling.end()
        if shapes:
            shapes.end()
        _prepare(work.batch, work.index + 1)
        for _, writer in writers:
            writer.finish()
    return max(writer.seconds for _, writer in writers)


def _shapes(work: _Pass, rows: dict[str, int]) -> Shapes | None:
    wanted, rate = work.batch.job.peaks, work.mix.sample_rate
    if not wanted:
        return None
    return Shapes(work.batch.emit, work.index, rows, sample_rate=rate, per_second=wanted)


def _doubt(work: _Pass) -> Warned:
    """Return the words for a mix that is hardly what the model is for."""
    message = (
        f"{work.mix.path.name} does not sound like drums alone, which {work.batch.model.name} is "
        'for; of a song: sep run "{path}" --from-mix --overwrite'
    )
    return Warned(message=message, track=work.index, path=str(work.mix.path))


def _writer(stem: str, file: StemFile) -> Behind[NDArray[np.float32]]:
    return Behind(file.write, file.close, UNWRITTEN, f"write {stem}")


def _done(work: _Pass, files: dict[str, StemFile], encode: float, seconds: float) -> TrackDone:
    pipeline = work.pipeline
    return TrackDone(
        track=work.index,
        out=work.track.out,
        stems={stem: str(Path(work.track.out, file.path.name)) for stem, file in files.items()},
        frames=pipeline.frames,
        sample_rate=work.mix.sample_rate,
        chunk=work.settings.chunk,
        hop=work.settings.hop,
        chunks=pipeline.chunks,
        seconds=seconds,
        phases={
            "decode": pipeline.decode_seconds,
            "network": pipeline.network_seconds,
            "encode": encode,
        },
        clipped={stem: file.clipped for stem, file in files.items() if file.clipped},
    )


def _mix(work: _Pass, coming: Coming) -> dict[str, object]:
    """Return what a report says of the mix."""
    path = work.track.shown or str(work.mix.path)
    return {"path": path, "sha256": _mix_sha256(coming), **coming.kept}


def _report(
    work: _Pass, files: dict[str, StemFile], done: TrackDone, coming: Coming
) -> dict[str, object]:
    """Return what a track's report says."""
    model, identity = work.batch.model, work.batch.job.identity
    loaded, running = model.loaded, model.running
    return {
        "schema": SCHEMA,
        "sep": __version__,
        **({"identity": identity} if identity else {}),
        "mix": _mix(work, coming),
        "model": {"name": model.name, "sha256": model.sha256},
        "models": model.made,
        "settings": asdict(
            replace(work.settings, batch=running.batch, precision=running.precision)
        ),
        "device": {
            "device": model.device,
            "name": hardware.name_of(loaded.runner.device),
            "torch": torch.__version__,
            "precision": running.precision,
            "snr": running.snr,
            "ways": running.ways,
        },
        "stems": {
            stem: {
                "file": file.path.name,
                "bytes": file.path.stat().st_size,
                "clipped": file.clipped,
            }
            for stem, file in files.items()
        },
        "frames": done.frames,
        "sample_rate": done.sample_rate,
        "chunks": done.chunks,
        "seconds": done.seconds,
        "phases": done.phases,
    }


@contextmanager
def _workspace(batch: Batch, index: int) -> Iterator[Workspace]:
    """Give a workspace that is discarded whatever goes wrong inside; translate disk errors."""
    track = batch.job.tracks[index]
    out = Path(track.out)
    report = track.report if track.shared else ""
    work = Workspace(out, batch.job.id, index, report=report, host=batch.job.host)
    try:
        yield work
    except (OSError, LibsndfileError) as fault:
        if _is_full(fault, work.root.parent):
            message = "{path}: the disk is full"
            raise DiskFullError(message, hint="free space", path=str(out)) from fault
        raise TrackError(f"{{path}}: writing failed: {reason(fault)}", path=str(out)) from fault
    finally:
        if left := work.discard():
            batch.emit(warning(left, index))


def warning(left: Left, index: int | None = None) -> Warned:
    """Return the words for a hidden folder that stays."""
    return Warned(
        message=f"{{path}} is left as it is: {left.why}", path=str(left.path), track=index
    )


def _is_full(fault: Exception, folder: Path) -> bool:
    """Say whether the disk is full, of bytes or of files.

    libsndfile names no reason, so the free space is asked.
    """
    if isinstance(fault, OSError):
        return fault.errno in (errno.ENOSPC, errno.EDQUOT)
    try:
        if (
            hasattr(os, "statvfs")
            and os.statvfs(folder).f_files
            and not os.statvfs(folder).f_favail
        ):
            return True
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False
