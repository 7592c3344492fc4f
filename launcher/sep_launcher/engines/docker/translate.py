"""Paths of this host to paths in the container and back. Pure: it touches no file.

Forward, a path is translated by its role, for the same folder may be read and written; backward
no two mounts share a place in the container, so the way is unique.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sep_protocol import Bench, Job, Model, Track

IN = PurePosixPath("/app/in")
OUT = PurePosixPath("/app/out")
MODELS = PurePosixPath("/app/models")
JOB = PurePosixPath("/app/job")
JOB_FILE = str(JOB / "job.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A folder of this host in the container."""

    host: PurePath  # as the user named it
    source: str  # where it really is: what the daemon mounts
    inside: PurePosixPath
    writable: bool = False

    def to_inside(self, path: PurePath) -> str | None:
        """Return the path in the container, None where it is not below this folder."""
        try:
            below = path.relative_to(self.host)  # on Windows without regard to case
        except ValueError:
            return None
        return str(self.inside.joinpath(*below.parts))

    def to_host(self, path: PurePosixPath) -> str | None:
        """Return the path on this host, None where it is not below this mount."""
        try:
            below = path.relative_to(self.inside)
        except ValueError:
            return None
        return str(self.host.joinpath(*below.parts))


@dataclass(frozen=True, slots=True)
class Mapping:
    """All mounts of one run."""

    binds: tuple[Bind, ...]

    def reading(self, path: str) -> str:
        """Return the container's path of a file that is read."""
        return self._inside(path, writable=False)

    def writing(self, path: str) -> str:
        """Return the container's path of a folder that is written."""
        return self._inside(path, writable=True)

    def to_host(self, path: str) -> str:
        """Return this host's path; what is of the container alone stays as it is."""
        found = [bind.to_host(PurePosixPath(path)) for bind in self.binds]
        return next((each for each in found if each is not None), path)

    def _inside(self, path: str, *, writable: bool) -> str:
        for bind in self.binds:
            if bind.writable is writable:
                found = bind.to_inside(type(bind.host)(path))
                if found is not None:
                    return found
        raise PathError(f"{path} is in no folder that the container has")

    def job(self, job: Job) -> Job:
        """Return the Job as the runtime in the container has to read it."""
        return replace(
            job,
            tracks=tuple(self._track(each) for each in job.tracks),
            sweep=tuple(self.writing(each) for each in job.sweep),
            model=self._model(job.model),
            beside=tuple(self._model(each) for each in job.beside),
            from_mix=job.from_mix and self._model(job.from_mix),
            bench=job.bench and self._bench(job.bench),
        )

    def _model(self, model: Model) -> Model:
        return replace(
            model,
            folder=model.folder and self.reading(model.folder),
            checkpoint=model.checkpoint and self.reading(model.checkpoint),
            settings=model.settings and self.reading(model.settings),
        )

    def _bench(self, bench: Bench) -> Bench:
        return replace(
            bench,
            trace=bench.trace and self.writing(bench.trace),
            mix=bench.mix and self.writing(bench.mix),
        )

    def _track(self, track: Track) -> Track:
        return replace(track, audio=self.reading(track.audio), out=self.writing(track.out))


def mapping(
    job: Job, flavour: type[PurePath] = PurePath, real: Callable[[str], str] = str
) -> Mapping:
    """Return the mounts that a Job needs: every folder it reads from, every one it writes to.

    `real` resolves links, as the daemon must be given real paths. Raises PathError for a folder
    that no daemon can mount.
    """
    audio = [str(flavour(track.audio).parent) for track in job.tracks]
    files = [
        str(flavour(each).parent)
        for model in job.models
        for each in (model.checkpoint, model.settings)
        if each
    ]
    left = (job.bench.trace, job.bench.mix) if job.bench else ()
    outs = [
        *(track.place(flavour) for track in job.tracks),
        *job.sweep,
        *(str(flavour(each).parent) for each in left if each),
    ]
    binds = [
        *_models(job, flavour, real),  # asked first: one of the others may reach it by a link
        *_numbered([*audio, *files], IN, flavour, real, writable=False),
        *_numbered(outs, OUT, flavour, real, writable=True),
    ]
    return Mapping(tuple(binds))


def _models(job: Job, flavour: type[PurePath], real: Callable[[str], str]) -> list[Bind]:
    """Return a mount per folder of a model, each of a name of its own."""
    found: dict[PurePosixPath, Bind] = {}
    for folder in dict.fromkeys(model.folder for model in job.models if model.folder):
        name = flavour(folder).name
        free = (name, *(f"{name}-{number}" for number in range(2, len(job.models) + 1)))
        inside = next(MODELS / each for each in free if MODELS / each not in found)
        found[inside] = Bind(host=flavour(folder), source=real(folder), inside=inside)
    return list(found.values())


def _numbered(
    folders: Iterable[str],
    inside: PurePosixPath,
    flavour: type[PurePath],
    real: Callable[[str], str],
    *,
    writable: bool,
) -> list[Bind]:
    """Return a mount per folder, but for folders that lie, links followed, in another one's."""
    found: list[Bind] = []
    # Outer folders come first; equal ones fall together, on Windows whatever their case.
    unique = {flavour(folder): folder for folder in reversed(list(folders))}
    for folder in sorted(unique, key=lambda each: (len(each.parts), str(each))):
        source = real(unique[folder])
        if not any(_holds(bind, folder, flavour(source), flavour) for bind in found):
            check_mountable(folder)
            bind = Bind(
                host=folder, source=source, inside=inside / str(len(found)), writable=writable
            )
            found.append(bind)
    # The innermost mount is asked first: it may be there because a link leads elsewhere.
    return sorted(found, key=lambda bind: -len(bind.host.parts))


def _holds(bind: Bind, folder: PurePath, source: PurePath, flavour: type[PurePath]) -> bool:
    try:
        below = folder.relative_to(bind.host)
    except ValueError:
        return False
    return flavour(bind.source).joinpath(*below.parts) == source


def check_mountable(folder: PurePath) -> None:
    """Raise PathError for a folder that a Docker daemon cannot mount, with what to do."""
    native = "--engine native, or copy it to a local disk first"
    text = str(folder)
    if isinstance(folder, PureWindowsPath):
        if text.startswith("\\\\"):
            what = "of a Linux machine" if text.lower().startswith("\\\\wsl") else "on a network"
            raise PathError(f"{text} is {what}: Docker cannot mount it", hint=native)
        if not (folder.drive and folder.root):
            raise PathError(f"{text} is not an absolute path")
    elif not folder.is_absolute():
        raise PathError(f"{text} is not an absolute path")
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise PathError(f"{shown} is not named in UTF-8: Docker cannot mount it", native) from fault
