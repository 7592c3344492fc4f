"""SCNet (Tong, Zhu, Chen, Kang, Li, Zhang, Lu: SCNet: sparse compression network for music source
separation, 2024), with the variants of its heirs.

Three bands of the spectrogram are thinned out by different steps, so that the high one, which says
little, costs little. In the middle a dual path goes along frequency and along time, alternately
over the frames and over their Fourier transform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops
from sep_runtime.nets.attention import Transformer
from sep_runtime.nets.stft import Stft, to_real

BANDS = 3
AXES = ("freq", "time")  # of a dual path
MASK_WIDTH = 64  # channels inside the layers that make a mask
WHITE = 1e-5  # is added to a spectrum's deviation before it divides

# More than any network that is known has; settings beyond them are damaged or hostile.
LIMITS = {
    "stems": 32,
    "audio_channels": 8,
    "nfft": 1 << 16,
    "hop_size": 1 << 15,
    "compress": 64,
    "conv_kernel": 31,
    "num_dplayer": 32,
    "expand": 8,
    "tran_dim_head": 1024,
    "tran_depth": 16,
}
# What has several numbers: how many, and the most of each.
LISTS = (
    ("dims", (2, 8), 2048),
    ("band_stride", (BANDS, BANDS), 64),
    ("band_kernel", (BANDS, BANDS), 64),
    ("conv_depths", (BANDS, BANDS), 16),
)
MOST_HEADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ScnetShape:
    """Everything that fixes the network, by the names of its authors' options."""

    stems: int
    audio_channels: int = 2
    dims: tuple[int, ...] = (4, 32, 64, 128)
    nfft: int = 4096
    hop_size: int = 1024
    win_size: int = 4096
    normalized: bool = True
    band_SR: tuple[float, ...] = (0.175, 0.392, 0.433)  # noqa: N815 (their name)
    band_stride: tuple[int, ...] = (1, 4, 16)
    band_kernel: tuple[int, ...] = (3, 4, 16)
    conv_depths: tuple[int, ...] = (3, 2, 1)
    compress: int = 4
    conv_kernel: int = 3
    num_dplayer: int = 6
    expand: int = 1
    masked: bool = False  # a mask over the mix in place of a spectrum, and a Hann window
    whiten: bool = False  # spectra are brought to mean 0, deviation 1 and back, as at its authors'
    tran_heads: int = 0  # transformers in place of LSTMs where it is not 0
    tran_dim_head: int = 64
    tran_depth: int = 1
    tran_rotary_embedding_dim: int = 64

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or the bands cannot be put together again."""
        for name, most in LIMITS.items():
            _in_range(name, getattr(self, name), 1, most)
        for name, count, most in LISTS:
            numbers = getattr(self, name)
            _in_range(f"the count of {name}", len(numbers), *count)
            for each in numbers:
                _in_range(f"each of {name}", each, 1, most)
        self._check_spectrum()
        self._check_layers()
        self._check_bands()

    def _check_layers(self) -> None:
        if self.compress > min(self.dims[1:]):
            msg = f"compress {self.compress} is more than the narrowest of dims"
            raise ValueError(msg)
        if not self.conv_kernel % 2:
            msg = f"conv_kernel must be odd, not {self.conv_kernel}"
            raise ValueError(msg)
        if self.num_dplayer % 2:
            msg = f"num_dplayer must be even, not {self.num_dplayer}"
            raise ValueError(msg)
        _in_range("tran_heads", self.tran_heads, 0, MOST_HEADS)
        if self.tran_heads and (
            self.tran_rotary_embedding_dim != self.tran_dim_head or self.tran_dim_head % 2
        ):
            msg = (
                f"tran_rotary_embedding_dim must be tran_dim_head, an even number, "
                f"not {self.tran_rotary_embedding_dim} beside {self.tran_dim_head}"
            )
            raise ValueError(msg)

    def _check_spectrum(self) -> None:
        if self.dims[0] != 2 * self.audio_channels:
            msg = f"the first of dims must be {2 * self.audio_channels}, not {self.dims[0]}"
            raise ValueError(msg)
        if self.nfft % 2:
            msg = f"nfft must be even, not {self.nfft}"
            raise ValueError(msg)
        if self.win_size != self.nfft:
            msg = f"win_size must be nfft {self.nfft}, not {self.win_size}"
            raise ValueError(msg)
        if self.hop_size > self.nfft // 2:
            msg = f"hop_size {self.hop_size} is more than half of nfft {self.nfft}"
            raise ValueError(msg)
        if self.masked and self.whiten:
            msg = "a network that gives masks is not one whose spectra are whitened"
            raise ValueError(msg)

    def _check_bands(self) -> None:
        shares = self.band_SR
        if len(shares) != BANDS or not all(each > 0 for each in shares):
            msg = f"band_SR must be {BANDS} shares above 0, not {shares}"
            raise ValueError(msg)
        if not math.isclose(sum(shares), 1, abs_tol=0.01):
            msg = f"the shares of band_SR must sum to 1, not {sum(shares):.3g}"
            raise ValueError(msg)
        for bands, thinned in self.levels():
            if min(bands) < 1 or min(thinned) < 1:
                msg = f"nfft {self.nfft} has too few bins for bands of {shares}"
                raise ValueError(msg)
            for band in range(BANDS):
                kernel, step = self.band_kernel[band], self.band_stride[band]
                if (thinned[band] - 1) * step + kernel < bands[band]:
                    msg = f"a band_kernel of {kernel} with a band_stride of {step} loses bins"
                    raise ValueError(msg)

    def levels(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return each level's three bands, in bins before it and after."""
        found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        bins = self.nfft // 2 + 1
        for _ in self.dims[1:]:
            bands = tuple(_cut(bins, self.band_SR))
            thinned = tuple(
                (size + sum(_around(size, kernel, step)) - kernel) // step + 1
                for size, kernel, step in zip(
                    bands, self.band_kernel, self.band_stride, strict=True
                )
            )
            found.append((bands, thinned))
            bins = sum(thinned)
        return found

    def padded(self, samples: int) -> int:
        """Return the samples, up to which zeros follow a mix: an odd number of hops, all the same.

        A mix that fills a hop gets a further one; so few that nothing could be reflected at both
        ends get as many as that takes.
        """
        hops = max(samples, self.nfft // 2) // self.hop_size + 1
        return (hops + 1 - hops % 2) * self.hop_size


def _weight(layer: nn.Module) -> Tensor:
    return cast("Tensor", layer.weight)


def _in_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        between = f"{least}" if least == most else f"between {least} and {most}"
        msg = f"{name} must be {between}, not {value}"
        raise ValueError(msg)


def _cut(bins: int, shares: tuple[float, ...]) -> list[int]:
    """Return the bins of the three bands."""
    low, middle = math.ceil(bins * shares[0]), math.ceil(bins * (shares[0] + shares[1]))
    return [low, middle - low, bins - middle]


def _around(bins: int, kernel: int, step: int) -> tuple[int, int]:
    """Return the zeros below and above a band before it is thinned."""
    zeros = kernel - 1 if step == 1 else -bins % step
    return zeros // 2, zeros - zeros // 2


class _Norm(nn.GroupNorm):
    """One group over all but the batch; its weights stay in float32."""

    exact = True

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, ...] to the same."""
        # Only a CPU takes weights of another type.
        kind = self.weight.dtype if x.is_cpu else x.dtype
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        return functional.group_norm(x, 1, weight, bias, self.eps)


class _Thin(nn.Module):
    def __init__(self, shape: ScnetShape, c: int, d: int) -> None:
        super().__init__()
        self.shares = shape.band_SR
        self.kernels, self.steps = shape.band_kernel, shape.band_stride
        self.convs = nn.ModuleList(
            nn.Conv2d(c, d, (kernel, 1), (step, 1))
            for kernel, step in zip(self.kernels, self.steps, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, c, F, N] to three bands [B, d, f, N], each in steps of its own."""
        bands = torch.split(x, _cut(x.shape[2], self.shares), 2)
        return [
            conv(functional.pad(band, (0, 0, *_around(band.shape[2], kernel, step))))
            for conv, band, kernel, step in zip(
                self.convs, bands, self.kernels, self.steps, strict=True
            )
        ]


class _Rows(nn.Module):
    """Convolutions along time, each bin by itself."""

    def __init__(self, shape: ScnetShape, c: int, depth: int) -> None:
        super().__init__()
        narrow, kernel = c // shape.compress, shape.conv_kernel
        same = kernel // 2
        self.layers = nn.ModuleList(
            nn.Sequential(
                _Norm(c),
                nn.Conv1d(c, 2 * narrow, kernel, padding=same),
                nn.GLU(1),
                nn.Conv1d(narrow, narrow, kernel, padding=same, groups=narrow),
                _Norm(narrow),
                nn.SiLU(),
                nn.Conv1d(narrow, c, 1),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, f, N] to the same."""
        b, c, f, n = x.shape
        x = x.transpose(1, 2).reshape(b * f, c, n)
        for layer in self.layers:
            x = x + layer(x) if ops.only_plain() else _added_(x, cast("nn.Sequential", layer))
        return x.view(b, f, c, n).transpose(1, 2)


def _added_(x: Tensor, layer: nn.Sequential) -> Tensor:
    """Add to x [n, c, N] what a layer makes of it; its last convolution adds as it multiplies."""
    *before, last = layer
    y = x
    for each in before:
        y = each(y)
    weight = _weight(last).squeeze(-1).expand(len(x), -1, -1)
    return x.add_(cast("Tensor", last.bias).unsqueeze(-1)).baddbmm_(weight, y)


class _Encoder(nn.Module):
    def __init__(self, shape: ScnetShape, c: int, d: int) -> None:
        super().__init__()
        self.SDlayer = _Thin(shape, c, d)
        self.conv_modules = nn.ModuleList(_Rows(shape, d, depth) for depth in shape.conv_depths)
        self.globalconv = nn.Conv2d(d, d, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, c, F, N] to (what skips the middle, what goes on), both [B, d, F', N]."""
        bands = self.SDlayer(x)
        rows = [each(band) for each, band in zip(self.conv_modules, bands, strict=True)]
        skip = functional.gelu(torch.cat(rows, 2))
        if ops.only_plain():
            return skip, self.globalconv(skip)
        return skip, _conv3x3(skip, self.globalconv.weight, self.globalconv.bias)


class _Fusion(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * c, 2 * c, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[B, c, F, N] twice to [B, c, F, N]."""
        x = x + skip
        if ops.only_plain():
            return functional.glu(self.conv(torch.cat((x, x), 1)), 1)
        # Both halves of the input are the same: one convolution with the sum of their weights.
        first, second = self.conv.weight.chunk(2, 1)
        return functional.glu(_conv3x3(x, first + second, self.conv.bias), 1)


def _conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = ops.conv3x3(x, weight)
    return y if bias is None else y.add_(bias.view(-1, 1, 1))


class _Thicken(nn.Module):
    def __init__(
        self, shape: ScnetShape, c: int, d: int, bands: tuple[int, ...], thinned: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.bands, self.thinned = bands, thinned
        self.convtrs = nn.ModuleList(
            nn.ConvTranspose2d(c, d, (kernel, 1), (step, 1))
            for kernel, step in zip(shape.band_kernel, shape.band_stride, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, F', N] of thinned bands to [B, d, F, N]."""
        parts = torch.split(x, list(self.thinned), 2)
        whole = []
        for conv, part, bins in zip(self.convtrs, parts, self.bands, strict=True):
            band = conv(part)
            whole.append(band.narrow(2, (band.shape[2] - bins) // 2, bins))
        return torch.cat(whole, 2)


class _DualPath(nn.Module):
    """Along frequency, then along time; what goes along them is of another class below."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm_layers = nn.ModuleList(_Norm(c) for _ in AXES)

    def along(self, axis: int, x: Tensor) -> Tensor:
        """[tokens, n, c] to the same; the axis is a place in `AXES`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, F, N] to the same."""
        b, c, f, n = x.shape
        rows = self.norm_layers[0](x).permute(2, 0, 3, 1).reshape(f, b * n, c)
        x = x + self.along(0, rows).view(f, b, n, c).permute(1, 3, 0, 2)
        rows = self.norm_layers[1](x).permute(3, 0, 2, 1).reshape(n, b * f, c)
        return x + self.along(1, rows).view(n, b, f, c).permute(1, 3, 2, 0)

    def turning(self, x: Tensor) -> Tensor:
        """[N, B, F, c] to the same: as `forward`, but that each half turns the axes as it reads."""
        for axis, norm in enumerate(self.norm_layers):
            scale, offset = _moments(x, cast("_Norm", norm))
            x = x.transpose(0, 2)
            rows = torch.addcmul(offset, x, scale, out=x.new_empty(x.shape))
            x = self.along(axis, rows.flatten(1, 2)).view(x.shape).add_(x)
        return x


class _Recurrent(_DualPath):
    def __init__(self, shape: ScnetShape, c: int) -> None:
        super().__init__(c)
        hidden = c * shape.expand
        self.lstm_layers = nn.ModuleList(nn.LSTM(c, hidden, bidirectional=True) for _ in AXES)
        self.linear_layers = nn.ModuleList(nn.Linear(2 * hidden, c) for _ in AXES)

    def along(self, axis: int, x: Tensor) -> Tensor:
        """[tokens, n, c] to the same."""
        return cast("Tensor", self.linear_layers[axis](self.lstm_layers[axis](x)[0]))


class _Attentive(_DualPath):
    def __init__(self, shape: ScnetShape, c: int) -> None:
        super().__init__(c)
        for axis in AXES:
            layer = Transformer(
                c,
                depth=shape.tran_depth,
                heads=shape.tran_heads,
                dim_head=shape.tran_dim_head,
                norm_output=True,
            )
            self.add_module(f"{axis}_layer", layer)

    def along(self, axis: int, x: Tensor) -> Tensor:
        """[tokens, n, c] to the same."""
        layer = self.get_submodule(f"{AXES[axis]}_layer")
        return cast("Tensor", layer(x.unsqueeze(0), 1).squeeze(0))


def _moments(x: Tensor, norm: _Norm) -> tuple[Tensor, Tensor]:
    """[L, B, M, c] to what to multiply by and then to add, both [B, 1, c], for a norm of it."""
    channels = x.shape[-1]
    mean = x.mean(-1, dtype=torch.float32).mean((0, 2))
    length = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    power = length.square().mean((0, 2)) / channels
    deviation = (power - mean.square()).clamp_min_(0).add_(norm.eps).sqrt_()
    scale = norm.weight / deviation.view(-1, 1, 1)
    return scale.to(x.dtype), (norm.bias - mean.view(-1, 1, 1) * scale).to(x.dtype)


class _Separation(nn.Module):
    def __init__(self, shape: ScnetShape) -> None:
        super().__init__()
        c = shape.dims[-1]
        path = _Attentive if shape.tran_heads else _Recurrent
        self.dp_modules = nn.ModuleList(
            path(shape, c * (1 + n % 2)) for n in range(shape.num_dplayer)
        )
        self._tables: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, F, N] to the same; N is even."""
        if ops.only_plain():
            for n, layer in enumerate(self.dp_modules):
                x = layer(x)
                x = _from_waves(x) if n % 2 else _to_waves(x)
            return x
        to, back = self._matrices(x.shape[-1], x.device)
        x = x.permute(3, 0, 2, 1).contiguous()
        for n, layer in enumerate(self.dp_modules):
            x = cast("_DualPath", layer).turning(x)
            kind, (_, b, f, c) = x.dtype, x.shape
            if n % 2:
                parts = x.view(-1, b, f, 2, c // 2).permute(3, 0, 1, 2, 4).flatten(0, 1)
                x = torch.mm(back, parts.flatten(1).float()).view(-1, b, f, c // 2).to(kind)
            else:
                waves = torch.mm(to, x.flatten(1).float()).view(2, -1, b, f, c)
                x = waves.permute(1, 2, 3, 0, 4).flatten(3).to(kind)
        return x.permute(1, 3, 2, 0).contiguous()

    def _matrices(self, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the Fourier transform of N frames and its inverse, as matrices.

        They are [2 K, N] and [N, 2 K] with K = N / 2 + 1. Products with them need no complex
        numbers, which not every device has.
        """
        key = (frames, device)
        if key not in self._tables:
            self._tables[key] = _transforms(*key)
        return self._tables[key]


def _transforms(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    waves = size // 2 + 1
    turns = torch.outer(torch.arange(waves), torch.arange(size)) % size  # exact, unlike angles
    angles = turns.double() * (2 * math.pi / size)
    to = torch.cat((angles.cos(), -angles.sin())) / math.sqrt(size)
    # All waves but the first and the last stand for their mirror images, too.
    twice = torch.full((waves,), 2.0, dtype=torch.float64)
    twice[0] = twice[-1] = 1.0
    back = to.t() * twice.repeat(2)
    return to.float().to(device), back.float().to(device)


def _to_waves(x: Tensor) -> Tensor:
    """[B, c, F, N] to [B, 2 c, F, N / 2 + 1]: real parts, then imaginary ones, over time."""
    waves = torch.fft.rfft(x.float(), norm="ortho")
    return torch.cat((waves.real, waves.imag), 1).to(x.dtype)


def _from_waves(x: Tensor) -> Tensor:
    """[B, 2 c, F, N / 2 + 1] to [B, c, F, N]."""
    real, imaginary = x.float().chunk(2, 1)
    spectrum = torch.complex(real, imaginary)
    return to_real(spectrum, 2 * (x.shape[-1] - 1), normalized=True).to(x.dtype)


class Scnet(nn.Module):
    """[B, C, T] mixes to [B, S, C, T] stems, of any length; float32 in and out.

    What it gives are the stems' complex spectra; with `masked`, complex masks over the mix's.
    """

    def __init__(self, shape: ScnetShape) -> None:
        super().__init__()
        self.shape = shape
        self.stft = Stft(
            shape.nfft,
            shape.hop_size,
            rectangular=not shape.masked,
            normalized=shape.normalized,
        )
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        levels = zip(shape.dims, shape.dims[1:], shape.levels(), strict=False)
        for level, (c, d, bins) in enumerate(levels):
            self.encoder.append(_Encoder(shape, c, d))
            out = c if level else c * shape.stems
            self.decoder.insert(0, nn.ModuleList([_Fusion(d), _Thicken(shape, d, out, *bins)]))
        self.separation_net = _Separation(shape)
        if shape.tran_heads:  # is in the files and does nothing
            self.first_conv = nn.Conv2d(shape.dims[0], shape.dims[0], 1, bias=False)
        if shape.masked:
            spectral = shape.dims[0]
            self.pos_embed_f = nn.Parameter(torch.zeros(1, spectral, shape.nfft // 2 + 1, 1))
            self.mask_layer = nn.Sequential(
                nn.Conv2d(spectral * shape.stems, MASK_WIDTH, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(MASK_WIDTH, spectral * shape.stems, 1),
            )

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, S, C, T]."""
        batch, channels, samples = mix.shape
        padded = self.shape.padded(samples)
        spectrum = self.stft(functional.pad(mix, (0, padded - samples)))
        # Real and imaginary parts are channels, left and right slower.
        x = torch.view_as_real(spectrum).movedim(-1, 2).flatten(1, 2)
        x = self._seen(x)
        bins, frames = x.shape[2:]
        parts = x.view(batch, self.shape.stems, channels, 2, bins, frames).movedim(3, -1)
        stems = torch.view_as_complex(parts.contiguous())
        if self.shape.masked:
            stems = stems * spectrum.unsqueeze(1)
        return self.stft.inverse(stems, padded).narrow(-1, 0, samples)

    def _seen(self, x: Tensor) -> Tensor:
        """[B, 2 C, F, N] to [B, S 2 C, F, N], in float32: the stems' spectra, or their masks."""
        kind = _weight(cast("_Encoder", self.encoder[0]).globalconv).dtype
        if self.shape.masked:
            x = self.mask_layer(self._unet((x + self.pos_embed_f).to(kind)))
            return x.float().tanh()
        if not self.shape.whiten:
            return self._unet(x.to(kind)).float()
        deviation, mean = torch.std_mean(x, (1, 2, 3), keepdim=True)
        x = self._unet(((x - mean) / (WHITE + deviation)).to(kind))
        return x.float() * deviation + mean

    def _unet(self, x: Tensor) -> Tensor:
        """[B, 2 C, F, N] to [B, S 2 C, F, N]."""
        skips = []
        for encode in self.encoder:
            skip, x = encode(x)
            skips.append(skip)
        x = self.separation_net(x)
        for each in self.decoder:
            fuse, thicken = cast("nn.ModuleList", each)
            x = thicken(fuse(x, skips.pop()))
        return x
