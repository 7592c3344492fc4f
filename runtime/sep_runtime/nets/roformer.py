"""Band-split Roformers (Lu, Wang, Kong, Hung: Music source separation with band-split RoPE
transformer, 2023; Wang, Lu, Won: Mel-Band RoFormer for music source separation, 2023).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from sep_runtime.accel import operators as ops
from sep_runtime.nets.attention import RmsNorm, Transformer
from sep_runtime.nets.stft import Stft

if TYPE_CHECKING:
    from collections.abc import Sequence

# More than any network that is known has; settings beyond them are damaged or hostile.
LIMITS = {
    "stems": 64,
    "audio_channels": 2,
    "dim": 2048,
    "depth": 64,
    "heads": 64,
    "dim_head": 512,
    "time_depth": 8,
    "freq_depth": 8,
    "n_fft": 1 << 15,
    "hop": 1 << 15,
    "win": 1 << 15,
    "mask_layers": 8,
    "mlp_factor": 16,
    "sample_rate": 768_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoformerShape:
    """Everything that fixes the network; bands are a list of bins, or overlap by the mel scale."""

    stems: int
    audio_channels: int = 2
    dim: int
    depth: int
    bands: tuple[int, ...] = ()  # BS: bins of each, together n_fft / 2 + 1
    mel_bands: int = 0  # Mel-Band: how many
    sample_rate: int = 44100  # Hz, of the mel scale
    heads: int = 8
    dim_head: int = 64
    time_depth: int = 1
    freq_depth: int = 1
    linear_depth: int = 0  # of linear attention over all tokens
    n_fft: int = 2048
    hop: int
    win: int = 2048  # samples of the Hann window
    normalized: bool = False  # the STFT by n_fft ** -0.5
    mask_layers: int = 2  # linear layers of a mask's MLP
    mlp_factor: int = 4  # its width / dim
    zero_dc: bool = True  # bin 0 of the result is silent
    skip: bool = False  # every layer sees the sum of all before it
    pope: bool = False  # polar position embedding in place of the rotary one
    shared_bias: bool = False  # attention has biases, one pair for all layers

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or the bands are not those of the spectrum."""
        for name, most in LIMITS.items():
            if not 1 <= getattr(self, name) <= most:
                msg = f"{name} must be between 1 and {most}, not {getattr(self, name)}"
                raise ValueError(msg)
        if not 0 <= self.linear_depth <= LIMITS["time_depth"]:
            raise ValueError(f"linear_depth {self.linear_depth} is absurd")
        if self.dim_head % 2:
            raise ValueError(f"dim_head {self.dim_head} is odd: positions turn pairs")
        if self.win > self.n_fft or self.hop > self.win // 2:
            raise ValueError(
                f"windows of {self.win} samples do not fit n_fft {self.n_fft} and hop {self.hop}"
            )
        if bool(self.bands) == bool(self.mel_bands):
            raise ValueError("either bands or mel_bands must be given")
        if not 0 <= self.mel_bands <= self.n_fft // 4:
            raise ValueError(f"mel_bands {self.mel_bands} are too many")
        if self.bands and min(self.bands) < 1:
            raise ValueError("a band has no bins")
        if self.bands and sum(self.bands) != self.bins:
            raise ValueError(
                f"the bands have {sum(self.bands)} bins together, the spectrum has {self.bins}"
            )
        self.ranges  # noqa: B018 (it raises)

    @property
    def bins(self) -> int:
        """Bins of the spectrum."""
        return self.n_fft // 2 + 1

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The (first, last + 1) bins of every band; ValueError where a bin is in none."""
        if self.mel_bands:
            return mel_ranges(self.mel_bands, self.n_fft, self.sample_rate)
        ends = [sum(self.bands[: i + 1]) for i in range(len(self.bands))]
        return tuple(zip((0, *ends[:-1]), ends, strict=True))

    @property
    def shortest(self) -> int:
        """Samples that the reflection at both ends needs."""
        return self.n_fft // 2 + 1


def mel_ranges(count: int, n_fft: int, sample_rate: int) -> tuple[tuple[int, int], ...]:
    """Return the (first, last + 1) bins under each triangle of a mel filter bank.

    Slaney's scale from 0 Hz to half the rate, as librosa's `filters.mel` has it; the first and the
    last bin belong to the first and the last band by decree. Raises ValueError where a band has no
    bin or a bin no band.
    """
    step = math.log(6.4) / 27.0

    def mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / step  # noqa: PLR2004

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp(step * (mel - 15))  # noqa: PLR2004

    top = mel(sample_rate / 2)
    edges = [hz(top * i / (count + 1)) for i in range(count + 2)]
    bins = n_fft // 2 + 1
    heard = [k * sample_rate / n_fft for k in range(bins)]
    found = [
        [bisect_right(heard, low), bisect_left(heard, high)]
        for low, high in zip(edges, edges[2:], strict=False)
    ]
    found[0][0], found[-1][1] = 0, bins
    for before, (first, end) in zip([[0, 0], *found], found, strict=False):
        if first >= end or first > before[1]:
            raise ValueError(f"{count} mel bands leave bins of n_fft {n_fft} without a band")
    return tuple((first, end) for first, end in found)


class _BandSplit(nn.Module):
    def __init__(self, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        self.to_features = nn.ModuleList(
            nn.Sequential(RmsNorm(width), nn.Linear(width, dim)) for width in widths
        )

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Bands of [B, N, width] each, in float32, to [B, N, bands, dim]."""
        done = []
        for part, layer in zip(parts, self.to_features, strict=True):
            norm, linear = cast("nn.Sequential", layer)
            done.append(linear(norm(part).to(linear.weight.dtype)))
        return torch.stack(done, 2)


class _MaskEstimator(nn.Module):
    def __init__(self, shape: RoformerShape, widths: Sequence[int]) -> None:
        super().__init__()
        hidden = [shape.dim * shape.mlp_factor] * (shape.mask_layers - 1)

        def mlp(width: int) -> nn.Sequential:
            sizes = [shape.dim, *hidden, 2 * width]
            layers: list[nn.Module] = []
            for ins, outs in pairwise(sizes):
                layers += [nn.Linear(ins, outs), nn.Tanh()]
            return nn.Sequential(*layers[:-1])

        self.to_freqs = nn.ModuleList(nn.Sequential(mlp(width), nn.GLU(-1)) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, N, bands, dim] to each band's mask [B, N, width], in float32."""
        done = []
        for i, layer in enumerate(self.to_freqs):
            mlp, glu = cast("nn.Sequential", layer)
            seen = x.select(2, i)
            if ops.only_plain():
                done.append(glu(mlp(seen)).float())
                continue
            for step in cast("nn.Sequential", mlp):
                seen = seen.tanh_() if isinstance(step, nn.Tanh) else step(seen)
            done.append(glu(seen).float())
        return done


class Roformer(nn.Module):
    """[B, C, T] mixes to [B, S, C, T] stems; T must be at least `RoformerShape.shortest`.

    A complex mask per stem multiplies the mix's spectrum. With bands of the mel scale, which
    overlap, a bin's mask is the mean of its bands', and every transformer ends with a norm; with
    disjoint bands one norm follows the last.
    """

    def __init__(self, shape: RoformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.ranges = shape.ranges
        self.stft = Stft(shape.n_fft, shape.hop, win=shape.win, normalized=shape.normalized)
        widths = [2 * shape.audio_channels * (end - first) for first, end in self.ranges]
        is_mel = bool(shape.mel_bands)

        def transformer(depth: int, *, linear: bool = False) -> Transformer:
            return Transformer(
                shape.dim,
                depth=depth,
                heads=shape.heads,
                dim_head=shape.dim_head,
                norm_output=is_mel,
                linear=linear,
                pope=shape.pope,
                bias=shape.shared_bias,
            )

        def layer() -> nn.ModuleList:
            first = [transformer(shape.linear_depth, linear=True)] if shape.linear_depth else []
            both = (transformer(shape.time_depth), transformer(shape.freq_depth))
            return nn.ModuleList((*first, *both))

        self.layers = nn.ModuleList(layer() for _ in range(shape.depth))
        if not is_mel:
            self.final_norm = RmsNorm(shape.dim)
        if shape.shared_bias:  # what every layer has a copy of
            inner = shape.heads * shape.dim_head
            self.linear_62_bias_0 = nn.Parameter(torch.zeros(3 * inner))
            self.linear_64_bias_0 = nn.Parameter(torch.zeros(shape.dim))
        self.band_split = _BandSplit(widths, shape.dim)
        self.mask_estimators = nn.ModuleList(
            _MaskEstimator(shape, widths) for _ in range(shape.stems)
        )
        held = [
            sum(first <= each < end for first, end in self.ranges) for each in range(shape.bins)
        ]
        share = torch.tensor([1 / count for count in held]).view(-1, 1, 1)
        self.register_buffer("_share", share, persistent=False)

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, S, C, T]."""
        spectrum = torch.view_as_real(self.stft(mix)).permute(0, 3, 2, 1, 4)  # [B, N, F, C, 2]
        x = self._layers(
            self.band_split(
                [spectrum.narrow(2, first, end - first).flatten(2) for first, end in self.ranges]
            )
        )
        real, imaginary = spectrum.unbind(-1)
        stems = []
        for estimator in self.mask_estimators:
            mask = self._joined(estimator(x), spectrum)
            mask_real, mask_imaginary = mask.unbind(-1)
            product = torch.stack(
                (
                    mask_real * real - mask_imaginary * imaginary,
                    mask_real * imaginary + mask_imaginary * real,
                ),
                -1,
            )
            # Frequency last in memory, as the Fourier transform has it.
            laid = product.permute(0, 3, 1, 2, 4).contiguous()
            stem = torch.view_as_complex(laid).transpose(-1, -2)
            stems.append(self.stft.inverse(stem, mix.shape[-1]))
        return torch.stack(stems, 1)

    def _layers(self, x: Tensor) -> Tensor:
        """[B, N, bands, dim] to the same."""
        past = None  # the sum of all layers' outputs
        for layer in self.layers:
            *linear, time, freq = cast("nn.ModuleList", layer)
            for each in linear:
                x = each(x)
            if self.shape.skip and past is not None:
                x = x + past
            x = freq(time(x, axis=1), axis=2)
            if self.shape.skip:
                past = x if past is None else past + x
        return x if self.shape.mel_bands else self.final_norm(x)

    def _joined(self, parts: list[Tensor], spectrum: Tensor) -> Tensor:
        """Bands' masks [B, N, width] to one [B, N, F, C, 2]; what overlaps becomes its mean."""
        if self.shape.mel_bands:
            mask = torch.zeros_like(spectrum)
            for (first, end), part in zip(self.ranges, parts, strict=True):
                held = mask.narrow(2, first, end - first)
                held.add_(part.view(held.shape))
            mask.mul_(cast("Tensor", self._share))
        else:
            mask = torch.cat(parts, -1).view(spectrum.shape)
        if self.shape.zero_dc:
            mask.select(2, 0).zero_()
        return mask
