"""Request and route to everything that an engine needs; writes nothing."""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from sep_launcher.machine import disk, storage
from sep_launcher.planning import names, places, precisions, workers
from sep_launcher.planning.environment import environment
from sep_launcher.planning.request import has
from sep_models import RESIDUAL, WEIGHTS
from sep_models.stems import LONGEST
from sep_protocol import Job, Track, escaped, fill
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sep_launcher.machine.host import Host
    from sep_launcher.machine.storage import Entry
    from sep_launcher.planning.choice import Chosen
    from sep_launcher.planning.naming import Found
    from sep_launcher.planning.request import Request
    from sep_launcher.planning.route import Route
    from sep_launcher.planning.workers import Worker
    from sep_models import Manifest
    from sep_protocol import Model


# Of a stem's file without the stem: that is needed, too, an ending and a working suffix.
STEM_BYTES = names.MOST - LONGEST - len(".flac.new")
STEM = "\0"  # stands for the stem in a name while it is made: no other name has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A Job and how to have it done; its paths are this host's, or addresses in object stores.

    An engine of addresses is around the one that does the Job: no runtime sees any.
    """

    job: Job
    route: Route
    expects: str  # what kind of mix the models are for
    place: str  # where it will be done, for people
    stems: tuple[str, ...]  # to be written; none: only the checkpoint knows
    environment: dict[str, str]  # variables of the runtime, set before torch is imported
    python: str | None = None  # of the native engine
    isolated: bool = False  # it is setup's: nobody's PYTHONPATH and PYTHONHOME are for it
    endpoint: str = ""  # of the container engine
    memory: int | None = None  # bytes that the container may take; None: all the engine has
    missing: tuple[Manifest, ...] = ()  # models that are to be fetched first
    workers: tuple[Worker, ...] = ()  # that share the tracks; none: one runtime does all of them
    elsewhere: bool = False  # whether other machines do it, each with its own Python and models
    root: str = ""  # the folder that all output is below
    mixes: tuple[str, ...] = ()  # every file that was named, of all shards
    sizes: tuple[float, ...] = ()  # how long each track is, in seconds; none: not looked at
    sources: Mapping[str, Entry] = field(default_factory=dict)  # mixes in stores, by `Track.audio`
    stage: Path | None = None  # where they are staged; None: the usual place
    stage_limit: int | None = None  # bytes that may lie there; None: as many as is usual

    @property
    def is_remote(self) -> bool:
        """Say whether a mix or stems are in an object store."""
        return bool(self.sources) or any(storage.is_url(each.out) for each in self.job.tracks)


def plan(
    request: Request,
    host: Host,
    route: Route,
    *,
    found: Sequence[Found],
    chosen: Chosen,
) -> Plan:
    """Return the plan, of the request's shard alone; writes nothing.

    Names are decided, and conflicts found, over all files: those of a shard are as without one.
    """
    model, *beside = (each.model for each in chosen.mean)
    tracks = tuple(_track(each, request, chosen.called) for each in found)
    stems = _stems(request, chosen)
    _check_apart(tracks, request, stems)
    mixes = tuple(each.shown for each in tracks)
    if shard := request.shard:
        both = zip(found, tracks, strict=True)
        tracks = tuple(track for each, track in both if shard.has(each.below))
    job = Job(
        id=secrets.token_hex(4),
        tracks=tracks,
        model=model,
        beside=tuple(beside),
        weights=request.weights,
        from_mix=chosen.first.model if chosen.first else None,
        shifts=request.shifts,
        output=request.output,
        device=request.wanted.device,
        fallback=request.fallback,
        overlap=request.overlap,
        batch=request.batch,
        precision=precisions.resolved(request.precision, host, route),
        downmix=request.downmix,
        peaks=request.peaks,
        host=platform.node(),
    )
    return Plan(
        job=job,
        route=route,
        expects=chosen.expects,
        place=places.place(host, route, request.wanted),
        stems=stems,
        mixes=mixes,
        environment=environment(host, route),
        python=host.native.python if host.native else None,
        isolated=host.native is not None and host.native.source == "setup",
        endpoint=host.docker.endpoint if host.docker else "",
        memory=request.memory,
        missing=chosen.missing,
        workers=_workers(request, host, chosen, len(tracks)),
        elsewhere=request.cluster is not None,
        root=_root(request.out),
        sources={each.entry.url: each.entry for each in found if each.entry},
        stage=request.stage,
        stage_limit=request.stage_limit,
    )


def _workers(request: Request, host: Host, chosen: Chosen, tracks: int) -> tuple[Worker, ...]:
    """Return the workers of this machine; none where there would be one, and nobody notes it."""
    if request.cluster or not (request.library or request.noted):
        return ()
    found = workers.workers(
        host,
        request.devices or (request.wanted.device,),
        engine=request.wanted.engine,
        jobs=request.jobs,
        tracks=tracks,
        precision=request.precision,
        weights=sum(_size(each.model) for each in chosen.every),
    )
    noted = request.shard or request.noted or request.jobs == "auto"
    return found if len(found) > 1 or noted else ()


def _size(model: Model) -> int:
    """Return the bytes of a model's weights; 0 for the bundled one, which is small."""
    if model.checkpoint:
        return disk.size(model.checkpoint)
    return disk.size(Path(model.folder, WEIGHTS)) if model.folder else 0


def _stems(request: Request, chosen: Chosen) -> tuple[str, ...]:
    output = request.output
    stems = chosen.stems(output.stems, intermediate=output.intermediate)
    return (*stems, RESIDUAL) if stems and output.residual else stems


def _track(found: Found, request: Request, called: str) -> Track:
    folder, _, file = request.name.rpartition("/")
    values = {
        "track": found.name.name,
        "model": names.portable(called) or "_",
        "parent": names.folder(disk.absolute(found.path).parent.name),
    }
    parts = [names.folder(fill(part, values)) for part in PurePath(folder).parts]
    # Folders that the song was found in are part of {track} in a folder, unless {parent} says it.
    above = PurePath() if request.shared or has(folder, "parent") else found.name.parent
    stem_name = _fitted_around_stem(fill(file, values | {"stem": STEM}))
    stored = found.entry.url if found.entry else ""
    if storage.is_url(request.out):
        out = storage.joined(str(request.out), *above.parts, *parts)
    else:
        out = str(_absolute(Path(request.out, above, *parts)))
    return Track(
        audio=stored or os.path.realpath(found.path),
        out=out,
        shared=request.shared,
        stem_name=escaped(stem_name).replace(STEM, "{stem}"),
        shown=stored or str(_absolute(found.path)),
    )


def _fitted_around_stem(name: str) -> str:
    """Return a stem's file name, cut to what a file system takes beside and between its stems."""
    parts = name.split(STEM)
    room = STEM_BYTES - LONGEST * (len(parts) - 2)
    if len(names.raw("".join(parts))) <= room:
        return name
    share = room // sum(map(bool, parts))
    return STEM.join(names.fitted(part, share) for part in parts)


def _check_apart(tracks: tuple[Track, ...], request: Request, stems: tuple[str, ...]) -> None:
    """Raise UsageError where two tracks would get one folder or file, on whatever file system."""
    seen: dict[str, Track] = {}
    for track in tracks:
        places = [PurePath(track.out)]
        if track.shared:
            files = (f"{track.file_of(stem)}.{request.output.format}" for stem in stems)
            places = [PurePath(track.out, file) for file in (*files, track.report)]
        for place in places:
            other = seen.setdefault(names.key(place), track)
            if other is not track:
                raise UsageError(
                    f"{other.shown} and {track.shown} would both go into {place}",
                    hint=_apart(request),
                )


def _apart(request: Request) -> str:
    """Return the way to give two tracks names of their own."""
    if not request.shared:
        return "name them in two runs, with two --out"
    if not has(request.name, "track"):
        return "give --name a {track}, too: the name of the file"
    if not has(request.name, "parent"):
        return "give --name a {parent}, too: the name of the folder that a file lies in"
    return "name them in two runs, with two --out"


def _root(out: Path | str) -> str:
    return str(out) if storage.is_url(out) else str(_absolute(Path(out)))


def _absolute(path: Path) -> Path:
    """Return the path from the root, without following links in a name that may not exist yet."""
    return Path.cwd() / path
