"""TFC-TDF v3, the network of MDX23C (Kim, Lee, Jung: KUIELab-MDX-Net, 2021, and its 2023 sequel).

A U-Net over the spectrogram whose blocks alternate 3x3 convolutions (time-frequency convolution)
with a bottleneck of linear layers along frequency (time-distributed fully-connected).
Time is free, frequency is baked in.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from sep_runtime.accel import operators as ops
from sep_runtime.nets.stft import Stft

if TYPE_CHECKING:
    from collections.abc import Callable


# More than any network that is known has; settings beyond them are damaged or hostile.
LIMITS = {
    "stems": 32,
    "n_fft": 1 << 16,
    "hop": 1 << 16,
    "dim_f": 1 << 15,
    "audio_channels": 8,
    "channels": 2048,
    "growth": 2048,
    "scales": 8,
    "blocks": 16,
    "subbands": 64,
    "bottleneck": 1024,
}

LONGEST_NAME = 80  # characters of a norm's or activation's name that an error shows

# Mixes with a lower peak are raised no further than one with this: silence stays silence.
FAINTEST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class TfcTdfShape:
    """Everything that fixes the shapes of the weights; the defaults are the drum model's."""

    stems: int
    n_fft: int = 2048
    hop: int = 512  # samples between STFT frames
    dim_f: int = 1024  # bins kept; those above are silent in a mapping
    audio_channels: int = 2
    channels: int = 128
    growth: int = 128
    scales: int = 5
    blocks: int = 2
    subbands: int = 4
    bottleneck: int = 4
    scale: tuple[int, ...] = (2, 2)  # time, frequency
    norm: str = "InstanceNorm"  # InstanceNorm | BatchNorm | GroupNorm<n> | none
    act: str = "gelu"  # gelu | relu | elu<alpha>
    output: Literal["mapping", "mask"] = "mapping"
    input: Literal["complex", "magnitude"] = "complex"  # of a network that gives masks
    peak: float | None = None  # as input, too: the peak that it sees every mix at

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or the frequency axis cannot be split."""
        for name, most in LIMITS.items():
            if not 1 <= getattr(self, name) <= most:
                msg = f"{name} must be between 1 and {most}, not {getattr(self, name)}"
                raise ValueError(msg)
        if len(self.scale) != 2 or not all(1 <= each <= 8 for each in self.scale):  # noqa: PLR2004
            msg = f"scale must be two small numbers, not {self.scale}"
            raise ValueError(msg)
        _norm(self.norm, math.gcd(self.channels, self.growth))  # what all widths are multiples of
        _act(self.act)
        if self.input == "magnitude" and self.output != "mask":
            msg = "a network that sees magnitudes alone can give masks alone"
            raise ValueError(msg)
        if self.peak is not None and not (self.output == "mask" and FAINTEST < self.peak <= 1):
            msg = f"peak must be up to 1 and of a network that gives masks, not {self.peak}"
            raise ValueError(msg)
        if self.dim_f > self.n_fft // 2 + 1:
            msg = f"dim_f {self.dim_f} is more than the {self.n_fft // 2 + 1} bins of n_fft"
            raise ValueError(msg)
        if self.hop > self.n_fft // 2:
            msg = f"hop {self.hop} is more than half of n_fft {self.n_fft}: frames must overlap"
            raise ValueError(msg)
        step = self.subbands * self.scale[1] ** self.scales
        if self.dim_f % step:
            msg = f"dim_f {self.dim_f} is not a multiple of {step} (subbands x scale ^ scales)"
            raise ValueError(msg)
        if not self.narrowest:
            msg = f"bottleneck {self.bottleneck} is more than the innermost bins of dim_f"
            raise ValueError(msg)

    @property
    def narrowest(self) -> int:
        """Bins of the innermost layer's bottleneck."""
        return self.dim_f // int(self.subbands * self.scale[1] ** self.scales) // self.bottleneck

    @property
    def shortest(self) -> int:
        """Samples that the reflection at both ends of a chunk needs."""
        return self.n_fft // 2 + 1

    @property
    def frame_step(self) -> int:
        """The number of STFT frames in a chunk must be a multiple of this."""
        return int(self.scale[0] ** self.scales)

    def chunk(self, steps: int) -> int:
        """Return the chunk length in samples for a whole number of `frame_step`s."""
        return self.hop * (self.frame_step * steps - 1)

    def fits(self, chunk: int) -> bool:
        """Say whether a chunk of this many samples has a valid number of frames."""
        frames, rest = divmod(chunk, self.hop)
        return chunk > 0 and not rest and (frames + 1) % self.frame_step == 0


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "InstanceNorm":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "BatchNorm":
        return nn.BatchNorm2d(channels)
    if found := re.fullmatch(r"GroupNorm([1-9][0-9]{0,4})", kind):
        return nn.GroupNorm(int(found[1]), channels)
    if kind == "none":
        return nn.Identity()
    msg = f"unknown norm {kind[:LONGEST_NAME]!r}"
    raise ValueError(msg)


def _act(kind: str) -> nn.Module:
    if kind == "gelu":
        return nn.GELU()
    if kind == "relu":
        return nn.ReLU()
    if found := re.fullmatch(r"elu([0-9]{1,3}(\.[0-9]{0,9})?)", kind):
        return nn.ELU(float(found[1]))
    msg = f"unknown activation {kind[:LONGEST_NAME]!r}"
    raise ValueError(msg)


def _weight(layer: nn.Module) -> Tensor:
    return cast("Tensor", layer.weight)


class _Block(nn.Module):
    def __init__(self, shape: TfcTdfShape, in_c: int, c: int, f: int) -> None:
        super().__init__()
        norm, act = shape.norm, shape.act
        narrow = f // shape.bottleneck
        self.tfc1 = nn.Sequential(
            _norm(norm, in_c), _act(act), nn.Conv2d(in_c, c, 3, padding=1, bias=False)
        )
        self.tdf = nn.Sequential(
            _norm(norm, c),
            _act(act),
            nn.Linear(f, narrow, bias=False),
            _norm(norm, c),
            _act(act),
            nn.Linear(narrow, f, bias=False),
        )
        self.tfc2 = nn.Sequential(
            _norm(norm, c), _act(act), nn.Conv2d(c, c, 3, padding=1, bias=False)
        )
        self.shortcut = nn.Conv2d(in_c, c, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_c, T, F] to [B, c, T, F]."""
        if ops.only_plain():
            shortcut = self.shortcut(x)
            x = self.tfc1(x)
            x = x + self.tdf(x)
            return self.tfc2(x) + shortcut  # type: ignore[no-any-return]
        norm, act, conv = self.tfc1
        y = ops.conv3x3(ops.norm_act(x, norm, act), _weight(conv))
        norm, act, narrow, inner_norm, inner_act, wide = self.tdf
        inner = ops.frequency(ops.norm_act(y, norm, act), _weight(narrow))
        ops.frequency_add_(y, ops.norm_act(inner, inner_norm, inner_act), _weight(wide))
        norm, act, conv = self.tfc2
        y = ops.conv3x3(ops.norm_act(y, norm, act), _weight(conv))
        return ops.conv1x1_add_(y, x, self.shortcut.weight)


class _TfcTdf(nn.Module):
    def __init__(self, shape: TfcTdfShape, in_c: int, c: int, f: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(shape, c if i else in_c, c, f) for i in range(shape.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_c, T, F] to [B, c, T, F]."""
        for block in self.blocks:
            x = block(x)
        return x


class _Rescale(nn.Module):
    def __init__(
        self, shape: TfcTdfShape, in_c: int, out_c: int, conv: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _norm(shape.norm, in_c),
            _act(shape.act),
            conv(in_c, out_c, shape.scale, stride=shape.scale, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_c, T, F] to [B, out_c, T', F']."""
        if ops.only_plain():
            return self.conv(x)  # type: ignore[no-any-return]
        norm, act, conv = self.conv
        scale = ops.down if isinstance(conv, nn.Conv2d) else ops.up
        return scale(ops.norm_act(x, norm, act), _weight(conv))


class _Encoder(nn.Module):
    def __init__(self, shape: TfcTdfShape, c: int, f: int) -> None:
        super().__init__()
        self.tfc_tdf = _TfcTdf(shape, c, c, f)
        self.downscale = _Rescale(shape, c, c + shape.growth, nn.Conv2d)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, c, T, F] to (the skip [B, c, T, F], [B, c + growth, T', F'])."""
        skip = self.tfc_tdf(x)
        return skip, self.downscale(skip)


class _Decoder(nn.Module):
    def __init__(self, shape: TfcTdfShape, c: int, f: int) -> None:
        super().__init__()
        self.upscale = _Rescale(shape, c + shape.growth, c, nn.ConvTranspose2d)
        self.tfc_tdf = _TfcTdf(shape, 2 * c, c, f)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[B, c + growth, T', F'] and the skip [B, c, T, F] to [B, c, T, F]."""
        return self.tfc_tdf(torch.cat((self.upscale(x), skip), 1))  # type: ignore[no-any-return]


class TfcTdf(nn.Module):
    """[B, C, T] mixes to [B, S, C, T] stems; T must satisfy `TfcTdfShape.fits`.

    With `output="mapping"` the last layer gives the stems' complex spectra, as published MDX23C
    weights do. With `output="mask"` it gives one logit per stem, channel and bin; their softmax
    over stems multiplies the mix's spectrum, so the stems sum to the mix, and the network sees a
    log-compressed spectrum; with `input="magnitude"` it sees magnitudes, at two compressions in
    place of the real and imaginary parts. With `peak` it sees every mix brought to that peak, so
    the masks do not depend on the level; the stems have the mix's own.
    """

    def __init__(self, shape: TfcTdfShape) -> None:
        super().__init__()
        self.shape = shape
        spectral = 2 * shape.audio_channels * shape.subbands
        per_stem = spectral if shape.output == "mapping" else spectral // 2
        self.stft = Stft(shape.n_fft, shape.hop)
        c, f = shape.channels, shape.dim_f // shape.subbands
        self.first_conv = nn.Conv2d(spectral, c, 1, bias=False)
        self.encoder_blocks = nn.ModuleList()
        for _ in range(shape.scales):
            self.encoder_blocks.append(_Encoder(shape, c, f))
            c, f = c + shape.growth, f // shape.scale[1]
        self.bottleneck_block = _TfcTdf(shape, c, c, f)
        self.decoder_blocks = nn.ModuleList()
        for _ in range(shape.scales):
            c, f = c - shape.growth, f * shape.scale[1]
            self.decoder_blocks.append(_Decoder(shape, c, f))
        self.final_conv = nn.Sequential(
            nn.Conv2d(c + spectral, c, 1, bias=False),
            _act(shape.act),
            nn.Conv2d(c, shape.stems * per_stem, 1, bias=False),
        )

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, S, C, T]."""
        spectrum = self.stft(mix)
        if self.shape.output == "mask":
            seen = spectrum
            if self.shape.peak is not None:
                peak = mix.abs().amax((1, 2), keepdim=True).unsqueeze(-1)
                seen = spectrum * (self.shape.peak / peak.clamp_min(FAINTEST))
            return self.stft.inverse(self.masks(seen) * spectrum.unsqueeze(1))
        return self.stft.inverse(self._mapped(torch.view_as_real(spectrum)))

    # Frequency is last in memory from here on, as the Fourier transforms have it, whatever the
    # order of the axes: nothing is turned round on the way.

    def _mapped(self, spectrum: Tensor) -> Tensor:
        """[B, C, F, frames, 2] to the stems' complex [B, S, C, F, frames]."""
        out = self._unet(spectrum)
        batch, _, frames, dim_f = out.shape
        stems, channels = self.shape.stems, self.shape.audio_channels
        bins = self.shape.n_fft // 2 + 1  # those above what the network sees are silent
        spectra = out.new_zeros(batch, stems, channels, frames, bins, 2)
        parts = out.view(batch, stems, channels, 2, frames, dim_f)
        spectra.narrow(-2, 0, dim_f).copy_(parts.movedim(3, -1))
        return torch.view_as_complex(spectra).transpose(-1, -2)

    def masks(self, spectrum: Tensor) -> Tensor:
        """[B, C, F, frames] complex to [B, S, C, F, frames] in 0..1 that sum to 1 over S."""
        see = magnitudes if self.shape.input == "magnitude" else compress
        logits = self._unet(see(torch.view_as_real(spectrum)))
        batch, _, frames, dim_f = logits.shape
        shape = (batch, self.shape.stems, self.shape.audio_channels, frames, dim_f)
        masks = logits.view(shape).softmax(1)
        above = spectrum.shape[-2] - dim_f
        if above:  # the bins that the network does not see follow their highest neighbour
            top = masks.narrow(-1, dim_f - 1, 1).expand(-1, -1, -1, -1, above)
            masks = torch.cat((masks, top), -1)
        return masks.transpose(-1, -2)

    def _unet(self, spectrum: Tensor) -> Tensor:
        """[B, C, F, frames, 2] to [B, channels of all stems, frames, dim_f]."""
        batch, channels, _, frames, _ = spectrum.shape
        dim_f, bands = self.shape.dim_f, self.shape.subbands
        x = spectrum.narrow(2, 0, dim_f).permute(0, 1, 4, 3, 2)
        x = x.view(batch, channels, 2, frames, bands, dim_f // bands).transpose(3, 4)
        mix = x.reshape(batch, channels * 2 * bands, frames, dim_f // bands)
        mix = ops.laid(mix, self.first_conv.weight)
        first = self.first_conv(mix)
        x = first
        skips = []
        for encode in self.encoder_blocks:
            skip, x = encode(x)
            skips.append(skip)
        x = self.bottleneck_block(x)
        for decode in self.decoder_blocks:
            x = decode(x, skips.pop())
        out: Tensor = self.final_conv(torch.cat((mix, x * first), 1))
        out = out.view(batch, -1, bands, frames, dim_f // bands).transpose(2, 3)
        return out.float().reshape(batch, -1, frames, dim_f)


def compress(spectrum: Tensor) -> Tensor:
    """[..., 2] real and imaginary parts, each magnitude m replaced by log(1 + 30 m) / 4."""
    magnitude = spectrum.square().sum(-1, keepdim=True).add(1e-12).sqrt()
    return spectrum * (torch.log1p(30.0 * magnitude) / (4.0 * magnitude))


def magnitudes(spectrum: Tensor) -> Tensor:
    """[..., 2] real and imaginary parts to [..., 2]: log(1 + 30 m) / 4 and log(1 + 3000 m) / 8.

    The first tells loud from soft; the second still tells the tail of a cymbal from silence.
    """
    real, imaginary = spectrum.unbind(-1)
    magnitude = torch.addcmul(real * real, imaginary, imaginary).add(1e-12).sqrt()
    loud, soft = torch.log1p(30.0 * magnitude) / 4.0, torch.log1p(3000.0 * magnitude) / 8.0
    return torch.stack((loud, soft)).movedim(0, -1)
