"""MDX23C as a Separator: TFC-TDF v3 over overlapping chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape
from sep_runtime.streams.overlap import Chunking, OverlapAdd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch
    from torch import Tensor


class Mdx23c:
    """A Separator; its chunk length is part of the model, because InstanceNorm sees the chunk."""

    def __init__(
        self, network: TfcTdf, *, stems: Sequence[str], sample_rate: int, cut: Chunking
    ) -> None:
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        self.channels = network.shape.audio_channels
        self.cut = cut
        self.network = network
        self._device = network.first_conv.weight.device

    def stream(self) -> OverlapAdd:
        """Begin a pass over one mix."""
        return OverlapAdd(
            self.network,
            self.cut,
            stems=len(self.stems),
            channels=self.channels,
            device=self._device,
            short=self.short,
        )

    def short(self, samples: int) -> int:
        """Return a valid chunk, in samples, that holds so short a mix: with a step to spare.

        Why one to spare: `benchmarks/short_clips.py`; and of a single step the innermost
        InstanceNorm may see but one value, which has no deviation.
        """
        shape = self.network.shape
        steps = 2
        while shape.chunk(steps - 1) < samples:
            steps += 1
        return min(shape.chunk(steps), self.cut.chunk)


def shape_of(network: Mapping[str, object], stems: int) -> TfcTdfShape:
    """Return the network's shape from a manifest's table; raise ModelError where it is wrong."""
    try:
        return decode(TfcTdfShape, {**network, "stems": stems})
    except (FormError, ValueError) as fault:
        raise ModelError(f"the model's network cannot be built: {fault}") from fault


def cut_for(shape: TfcTdfShape, chunk: int, overlap: float, batch: int | None) -> Chunking:
    """Return how to cut a mix; raise ModelError or UsageError where it cannot be."""
    if not shape.fits(chunk):
        raise ModelError(
            f"a chunk of {chunk} samples does not fit this network: it takes "
            f"{shape.hop} x (k x {shape.frame_step} - 1)",
            hint=f"{shape.chunk(8)} is one that does",
        )
    if not 1 <= overlap <= chunk:
        raise UsageError(f"the overlap must be at least 1, not {overlap:g}")
    return Chunking(chunk=chunk, hop=max(1, round(chunk / overlap)), batch=batch or 1)


def build(shape: TfcTdfShape, weights: dict[str, Tensor], device: torch.device) -> TfcTdf:
    """Return the network with these weights; raise ModelError where they are not its own."""
    with Uninitialised():
        network = TfcTdf(shape)
    adopt(network, weights)
    return network.to(device).eval().requires_grad_(requires_grad=False)


class Uninitialised(TorchFunctionMode):
    """Modules made inside get weights of any value, at once.

    The meta device would do the same, but its first use imports for more than a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Leave out what draws or fills initial weights."""
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else None
        return func(*args, **(kwargs or {}))


def adopt(network: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a network its weights, in float32, without a copy where they are.

    Raises ModelError with the first differences where keys or shapes are not the network's.
    """
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    if wanted != given:
        missing = sorted(wanted.keys() - given.keys())
        surplus = sorted(given.keys() - wanted.keys())
        other = sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key])
        parts = [
            f"{len(keys)} {what}, first {keys[0]}"
            for what, keys in (
                ("missing", missing),
                ("unknown", surplus),
                ("of other shape", other),
            )
            if keys
        ]
        raise ModelError(
            f"the weights are not this network's: {'; '.join(parts)}",
            hint="check that the settings belong to the checkpoint",
        )
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items()},
        strict=True,
        assign=True,
    )
