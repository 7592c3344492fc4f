"""From a model of a Job to a Separator on a device: the only place that knows architectures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from torch import nn

import sep_models
from sep_protocol import ModelLoaded
from sep_protocol.errors import ModelError, UsageError
from sep_runtime import memory
from sep_runtime.models import demucs, larsnet, mdx23c, roformer, scnet, weights
from sep_runtime.models import precision as precisions
from sep_runtime.models.adopt import Uninitialised, adopted, chosen
from sep_runtime.models.placing import placed
from sep_runtime.models.prepared import STEREO, Chunked
from sep_runtime.models.understand import understand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from sep_models import Manifest
    from sep_protocol import Model, Precision
    from sep_runtime.models.running import Runner
    from sep_runtime.models.states import State
    from sep_runtime.streams.overlap import Separator
    from sep_runtime.streams.turns import Turns

N = TypeVar("N", bound=nn.Module)
NEEDED = 3  # times the size of its file is what a network needs beside another one on the CPU

# Networks that see chunks; a new architecture is a file beside this one and a line here.
CHUNKED = {
    "mdx23c": mdx23c.prepare,
    "bs-roformer": roformer.prepare,
    "mel-band-roformer": roformer.prepare,
    "htdemucs": demucs.prepare,
    "hdemucs": demucs.prepare,
    "scnet": scnet.prepare,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A Separator with the facts it was made from."""

    separator: Separator
    runner: Runner  # its network at work
    manifest: Manifest
    sha256: str  # of the weights
    snr: float | None = None  # dB beside plain fp32; None: it is that

    @property
    def running(self) -> ModelLoaded:
        """How the network runs on the device now."""
        runner = self.runner
        return ModelLoaded(
            model=self.manifest.name,
            precision=runner.precision,
            batch=runner.batch,
            snr=None if runner.precision == "fp32" else self.snr,
            ways=runner.ways(),
        )


def load(
    model: Model,
    device: torch.device,
    *,
    overlap: float | None = None,
    batch: int | None = None,
    precision: Precision = "auto",
    to_cpu: bool = False,
    turns: Turns | None = None,
) -> Loaded:
    """Return the model on the device; where its memory is short, the CPU may go on if `to_cpu`.

    Models of the same `turns` share the memory: they make room where it does not hold all of them.
    Raises ModelError where it is missing or corrupt, UsageError where an option does not fit it,
    DeviceError where the device cannot do it in that precision.
    """
    manifest, file, sha256 = _locate(model)
    how = _How(device=device, batch=batch, precision=precision, to_cpu=to_cpu, sha256=sha256)
    make = _larsnet if manifest.architecture == "larsnet" else _chunked
    if turns and device.type == "cpu" and not memory.holds(NEEDED * file.size):
        turns.make_room()
    try:
        separator, runner, snr = make(manifest, file, overlap, how)
    except (RuntimeError, MemoryError) as fault:
        if not (turns and memory.is_short(fault) and turns.make_room()):
            raise
        separator, runner, snr = make(manifest, file, overlap, how)
    if turns:
        runner.share(turns, file.release)
    return Loaded(separator=separator, runner=runner, manifest=manifest, sha256=sha256, snr=snr)


def fitted(manifest: Manifest, found: Sequence[State]) -> State:
    """Return the weights that are a model's, by its network's keys; raise ModelError."""
    stems = manifest.stems
    if manifest.architecture != "larsnet":
        prepared = CHUNKED[manifest.architecture](manifest, manifest.overlap, None)
        with Uninitialised():
            network = prepared.empty()
        return chosen(network.state_dict(), found)
    surplus = {key.partition(".")[0] for state in found for key in state} - set(stems)
    if surplus:
        raise ModelError(f"{manifest.name} has no stem {', '.join(sorted(surplus))}")
    return larsnet.fitted(found, stems)


class _File:
    """The weights of a model: read when they are asked for, kept until they are released."""

    def __init__(
        self, path: Path, read: Callable[[], Sequence[State]], found: Sequence[State] | None = None
    ) -> None:
        self.size = path.stat().st_size  # bytes
        self._read = read
        self._found = found  # what was read already
        self._network: nn.Module | None = None

    def network(self, build: Callable[[Sequence[State]], N]) -> N:
        """Return what is built of them, the same one until it is released."""
        if self._network is None:
            self._network = build(self._read() if self._found is None else self._found)
            self._found = None
        return cast("N", self._network)

    def release(self) -> None:
        """Give up what was built."""
        self._network = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How a network is to run."""

    device: torch.device
    batch: int | None
    precision: Precision
    to_cpu: bool
    sha256: str


def _larsnet(
    manifest: Manifest, file: _File, overlap: float | None, how: _How
) -> tuple[Separator, Runner, float | None]:
    if overlap not in (None, 1.0):
        raise UsageError(
            "larsnet knows no overlap", hint="leave it out", command="leave out --overlap"
        )
    runner, snr = _running(
        lambda: file.network(lambda found: larsnet.build(found, manifest.stems)),
        lambda: larsnet.empty(len(manifest.stems)),
        how,
        shape=larsnet.SHAPE,
        example=lambda: larsnet.magnitudes(precisions.golden(larsnet.SAMPLES)),
        bytes_of=larsnet.memory_of,
    )
    return larsnet.LarsNet(runner, manifest), runner, snr


def _chunked(
    manifest: Manifest, file: _File, overlap: float | None, how: _How
) -> tuple[Separator, Runner, float | None]:
    wanted = manifest.overlap if overlap is None else overlap
    prepared = CHUNKED[manifest.architecture](manifest, wanted, how.batch)
    chunk = prepared.cut.chunk
    runner, snr = _running(
        lambda: file.network(lambda found: adopted(prepared.empty, found)),
        prepared.empty,
        how,
        shape=(STEREO, chunk),
        example=lambda: precisions.golden(chunk),
        bytes_of=prepared.bytes_of,
        doubted=manifest.architecture == "scnet",
    )
    return Chunked(prepared, runner, manifest), runner, snr


def _running(
    network: Callable[[], N],
    empty: Callable[[], N],
    how: _How,
    *,
    shape: tuple[int, ...],
    example: Callable[[], Tensor],
    bytes_of: Callable[[torch.dtype], int],
    doubted: bool = False,
) -> tuple[Runner, float | None]:
    """Return the network at work, and how exact it is."""
    return precisions.runner(
        lambda device, dtype: placed(network(), empty, device, dtype),
        precisions.Facts(
            key=f"{how.sha256[:16]} {'x'.join(map(str, shape))}",
            shape=shape,
            example=example,
            bytes_of=bytes_of,
            doubted=doubted,
        ),
        how.device,
        wanted=how.precision,
        batch=how.batch,
        to_cpu=how.to_cpu,
    )


def _locate(model: Model) -> tuple[Manifest, _File, str]:
    """Return the model's manifest, its file of weights, and that file's SHA-256."""
    if model.checkpoint is not None:
        path, settings = Path(model.checkpoint), Path(model.settings) if model.settings else None
        known = understand(path, settings, model.name)
        return known.manifest, _File(path, lambda: weights.read(path), known.states), known.sha256
    placed = Path(model.folder) if model.folder else None
    if placed and os.path.isfile(placed / sep_models.RECORD):  # noqa: PTH113 (as below)
        manifest = sep_models.of_folder(placed)
    else:
        manifest = sep_models.find(model.name)
    folder = placed or sep_models.folder_of(manifest.name)
    path = folder / sep_models.WEIGHTS
    if not os.path.isfile(path):  # noqa: PTH113 (it raises for no name and no right)
        raise ModelError(
            f"the model {manifest.name} is not installed: there are no weights in {{path}}",
            hint=_how(manifest),
            command="sep models list",
            path=str(folder),
        )
    sha256 = weights.digest(path)
    _check(manifest, model, sha256)
    return manifest, _File(path, lambda: weights.read(path)), sha256


def _check(manifest: Manifest, model: Model, sha256: str) -> None:
    """Raise ModelError where weights are not those that were noted."""
    if manifest.bundled and manifest.sha256 != sha256:
        raise ModelError(
            f"the weights of {manifest.name} are damaged: their SHA-256 is not the recorded one",
            hint="install sep-audio again",
            command="run: sep setup --repair (for an image: sep setup --engine container --repair)",
        )
    noted = manifest.sha256 if manifest.imported else model.sha256
    if noted not in (None, sha256):
        raise ModelError(
            f"the weights of {manifest.name} are damaged: their SHA-256 is not the one noted",
            hint="import their file again" if manifest.imported else "fetch them again",
            command=f"sep models import FILE --name {manifest.name} --overwrite"
            if manifest.imported
            else f"sep models pull {manifest.name}",
        )


def _how(manifest: Manifest) -> str:
    """Return how a program's user comes by the weights of a model."""
    if manifest.bundled:
        return "install sep-audio again"
    if all(source.urls for source in manifest.sources):
        return f"in a shell, `sep models pull {manifest.name}` fetches it"
    return f"get {manifest.sources[0].file} and load it as checkpoint"
