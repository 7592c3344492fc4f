"""What HDemucs and HTDemucs are made of: the spectrogram, the layers of both branches, DConv.

The frequency branch is [B, c, F, M], M frames; the time branch, and what both become, is [B, c, T].
Names of modules are the keys of published weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops
from sep_runtime.nets import demucs_blocks as blocks
from sep_runtime.nets.stft import Stft, frames_to_signal

if TYPE_CHECKING:
    from sep_runtime.nets.demucs_shape import HybridShape

IMAGE = 4  # dimensions of the frequency branch's tensors
HEADS = 4  # of LocalState
DECAYS = 4  # of LocalState, for each head
SELF = -100.0  # the logit of a step for itself in LocalState
FRAME = 200  # steps that an LSTM sees at once
EPS = 1e-5  # added to the deviation that an input is divided by


class Spectrogram(nn.Module):
    """Waveforms to their spectra without the top bin, and back.

    With `old` the waveform is padded by zeros, and what comes back is late by as much as there is
    padding before it, as networks of 2021 were trained.
    """

    window: Tensor
    constant: Tensor
    edge: Tensor

    def __init__(self, nfft: int, *, old: bool = False) -> None:
        super().__init__()
        self.stft = Stft(nfft, nfft // 4, normalized=True)
        self.old = old
        # Four frames lie over every sample, and their squared windows sum to 3 / 2.
        squares = self.stft.window * self.stft.window
        window = self.stft.window / 1.5
        ones = torch.view_as_complex(torch.ones(nfft // 2, 2))
        constant = torch.fft.irfft(ones, n=nfft, norm="ortho") * window
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("constant", constant, persistent=False)
        # Over the first samples that `old` keeps there are three.
        edge = 1.5 / (1.5 - squares.narrow(0, nfft - nfft // 4, nfft // 4))
        self.register_buffer("edge", edge, persistent=False)

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, 2 C, F, M]: real, then imaginary parts of every channel.

        F is n_fft / 2, M is T / hop, rounded up.
        """
        hop = self.stft.hop
        length = mix.shape[-1]
        count = -(-length // hop)
        side = hop // 2 * 3
        spectrum = self.stft(self._padded(mix, side, side + count * hop - length))
        kept = torch.view_as_real(spectrum.narrow(-2, 0, 2 * hop).narrow(-1, 2, count))
        return kept.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def _padded(self, mix: Tensor, left: int, right: int) -> Tensor:
        if self.old:
            return functional.pad(mix, (left, right))
        missing = max(left, right) - mix.shape[-1] + 1
        if missing > 0:  # a reflection must be shorter than what it reflects
            after = min(right, missing)
            before = missing - after
            mix = functional.pad(mix, (before, after))
            left, right = left - before, right - after
        return functional.pad(mix, (left, right), "reflect")

    def inverse(self, parts: Tensor, mean: Tensor, deviation: Tensor, length: int) -> Tensor:
        """[B, S, C, 2, F, M] real and imaginary parts to [B, S, C, length] waveforms.

        What is transformed is `parts` times `deviation` plus `mean`, both [B, 1, 1, 1].
        """
        hop, nfft = self.stft.hop, self.stft.n_fft
        shape = (*parts.shape[:3], parts.shape[5], parts.shape[4], 2)
        last = torch.empty(shape, dtype=torch.float32, device=parts.device)
        last.copy_(parts.permute(0, 1, 2, 5, 4, 3))
        # There is no bin at the top, and the lowest has no imaginary part: see `to_real`.
        last.select(-1, 1).select(-1, 0).zero_()
        frames = torch.fft.irfft(torch.view_as_complex(last), n=nfft, norm="ortho")
        # A transform is linear, so this is done on frames, where it takes no pass of its own.
        shift, factor = mean.unsqueeze(-1) * self.constant, deviation.unsqueeze(-1) * self.window
        frames = torch.addcmul(shift, frames, factor, out=None if ops.only_plain() else frames)
        signal = frames_to_signal(frames, hop)
        if not self.old:
            return signal.narrow(-1, hop // 2 * 3, length)
        signal.narrow(-1, 0, hop).mul_(self.edge)
        return signal.narrow(-1, 0, length)


def standardised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, ...] to the same without its items' means and deviations, and these, [B, 1, ...]."""
    axes = tuple(range(1, x.dim()))
    one = x[0].numel() == 1  # which has no unbiased deviation
    variance, mean = torch.var_mean(x, axes, correction=0 if one else 1, keepdim=True)
    deviation = variance.sqrt()
    return (x - mean).div_(deviation + EPS), mean, deviation


class GroupNorm(nn.GroupNorm):
    """A group norm whose sums are float32 whatever the type of its input."""

    exact = True

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """[B, c, ...] to the same."""
        kind = torch.float32 if input.is_mps else input.dtype  # others sum in float32 anyway
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        # Not the one of torch.nn.functional, which refuses a group of one value.
        y = torch.group_norm(input.to(kind), self.num_groups, weight, bias, self.eps)
        return y.to(input.dtype)


class LayerScale(nn.Module):
    """A factor per channel; channels are the first axis of items, or the last."""

    exact = True

    def __init__(self, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.scale = nn.Parameter(torch.empty((channels,)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, T] to the same; with `last` [B, T, c]."""
        return x * self._factor(x)

    def added(self, to: Tensor, x: Tensor) -> Tensor:
        """Return `to` plus x times the factors."""
        return torch.addcmul(to, x, self._factor(x))

    def _factor(self, x: Tensor) -> Tensor:
        scale = self.scale.to(x.dtype)
        return scale if self.last else scale.unsqueeze(-1)


class BLSTM(nn.Module):
    """x plus a bidirectional LSTM of two layers, in overlapping frames where x is long."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, bidirectional=True)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, T] to the same."""
        batch, width, length = x.shape
        if length <= FRAME:
            return x + self._run(x.permute(2, 0, 1)).permute(1, 2, 0)
        step = FRAME // 2
        count = -(-length // step)
        padded = functional.pad(x, (0, (count + 1) * step - length))
        frames = padded.unfold(-1, FRAME, step)  # [B, c, count, FRAME]
        seen = frames.permute(3, 0, 2, 1).reshape(FRAME, batch * count, width)
        done = self._run(seen).view(FRAME, batch, count, width).permute(1, 3, 2, 0)
        # Every frame gives its middle half, the first one its first quarter, too.
        first = done.select(2, 0).narrow(-1, 0, step // 2)
        middles = done.narrow(-1, step // 2, step).flatten(-2)
        return x + torch.cat((first, middles), -1).narrow(-1, 0, length)

    def _run(self, x: Tensor) -> Tensor:
        """[T, B, c] to the same."""
        return self.linear(self.lstm(x)[0])  # type: ignore[no-any-return]


class LocalState(nn.Module):
    """x plus attention that decays with distance, by as much as every step says of itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.content = nn.Conv1d(width, width, 1)
        self.query = nn.Conv1d(width, width, 1)
        self.key = nn.Conv1d(width, width, 1)
        self.query_decay = nn.Conv1d(width, HEADS * DECAYS, 1)
        self.proj = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, T] to the same."""
        batch, _, length = x.shape

        def heads(layer: nn.Conv1d) -> Tensor:  # [B, heads, T, c / heads]
            return layer(x).view(batch, HEADS, -1, length).transpose(-1, -2)  # type: ignore[no-any-return]

        query, key, content = heads(self.query), heads(self.key), heads(self.content)
        rates = torch.arange(1, DECAYS + 1, device=x.device, dtype=x.dtype)
        rates = rates / (2 * math.sqrt(DECAYS))
        decay = heads(self.query_decay).sigmoid() * rates
        steps = torch.arange(length, device=x.device, dtype=x.dtype)
        distance = (steps.unsqueeze(0) - steps.unsqueeze(1)).abs_()
        bias = decay.sum(-1, keepdim=True).neg() * distance  # [B, heads, T, T]
        scale = query.shape[-1] ** -0.5
        own = (query * key).sum(-1) * scale
        bias.diagonal(dim1=-2, dim2=-1).copy_(SELF - own)
        out = functional.scaled_dot_product_attention(query, key, content, bias, scale=scale)
        return x + self.proj(out.transpose(-1, -2).reshape(x.shape))  # type: ignore[no-any-return]


class DConv(nn.Module):
    """Residual branches of dilated convolutions, some with an LSTM and attention inside."""

    def __init__(
        self, channels: int, shape: HybridShape, *, lstm: bool = False, attention: bool = False
    ) -> None:
        super().__init__()
        narrow = channels // shape.dconv_comp
        self.layers = nn.ModuleList()
        for number in range(shape.dconv_depth):
            dilation = 1 << number
            inner: list[nn.Module] = [BLSTM(narrow)] if lstm else []
            inner += [LocalState(narrow)] if attention else []
            self.layers.append(
                nn.Sequential(
                    nn.Conv1d(channels, narrow, 3, dilation=dilation, padding=dilation),
                    GroupNorm(1, narrow),
                    nn.GELU(),
                    *inner,
                    nn.Conv1d(narrow, 2 * channels, 1),
                    GroupNorm(1, 2 * channels),
                    nn.GLU(1),
                    LayerScale(channels),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, T] to the same; [B, c, F, M] with every bin by itself."""
        if x.dim() == IMAGE:
            batch, channels, bins, frames = x.shape
            rows = self.forward(x.transpose(1, 2).reshape(-1, channels, frames))
            return rows.view(batch, bins, channels, frames).transpose(1, 2)
        for layer in self.layers:
            x = x + layer(x)
        return x


class Encoder(nn.Module):
    """One layer down, of the frequency branch if `bins` is given, else of a waveform.

    `bins` is what the layer gets: where a kernel takes them all, one is left. `bare` is a layer of
    the time branch that is its convolution alone.
    """

    def __init__(
        self,
        shape: HybridShape,
        ins: int,
        index: int,
        *,
        bins: int | None = None,
        stride: int | None = None,
        bare: bool = False,
        lstm: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        outs = shape.width(index)
        self.stride = stride or shape.stride
        self.bare = bare
        self.image = bins is not None
        kernel, pad = 2 * self.stride, self.stride // 2
        self.conv: nn.Conv1d | nn.Conv2d
        if bins is None:
            self.conv = nn.Conv1d(ins, outs, kernel, self.stride, pad)
        elif bins <= kernel:
            self.conv = nn.Conv2d(ins, outs, (bins, 1), (self.stride, 1))
        else:
            self.conv = nn.Conv2d(ins, outs, (kernel, 1), (self.stride, 1), (pad, 0))
        if bare:
            return
        conv = nn.Conv1d if bins is None else nn.Conv2d
        self.norm1 = _norm(shape, index, outs)
        self.rewrite = conv(outs, 2 * outs, 1 + 2 * shape.context_enc, padding=shape.context_enc)
        self.norm2 = _norm(shape, index, 2 * outs)
        self.dconv: nn.Module = nn.Identity()
        if shape.dconv_mode & 1:
            self.dconv = DConv(outs, shape, lstm=lstm, attention=attention)
        self.by_blocks = _local(shape, index, bins, self.dconv) and not shape.context_enc

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """[B, c, F, M] to [B, d, F / stride, M], or [B, c, T] to [B, d, T / stride], rounded up.

        `inject` is added after the convolution: [B, d, M], the same for every bin.
        """
        if not self.image and x.shape[-1] % self.stride:
            x = functional.pad(x, (0, -x.shape[-1] % self.stride))
        x = self.conv(x)
        if self.bare:
            return x
        if self.by_blocks and blocks.able(x):
            rows = x if self.image else x.unsqueeze(2)
            blocks.encoded_(rows, blocks.branches(self.dconv), self.rewrite)
            return x
        if inject is not None:
            x = x + inject.unsqueeze(2)
        x = self.dconv(functional.gelu(self.norm1(x)))
        return functional.glu(self.norm2(self.rewrite(x)), 1)


class Decoder(nn.Module):
    """One layer up; `bins` is what its encoder got.

    `bare` is a layer of the time branch that is its transposed convolution alone; `outs` of None
    are the channels of the next layer.
    """

    def __init__(
        self,
        shape: HybridShape,
        index: int,
        outs: int,
        *,
        bins: int | None = None,
        stride: int | None = None,
        bare: bool = False,
        lstm: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        ins = shape.width(index)
        self.stride = stride or shape.stride
        self.bare = bare
        self.image = bins is not None
        self.outermost = not index
        kernel = 2 * self.stride
        self.conv_tr: nn.ConvTranspose1d | nn.ConvTranspose2d
        if bins is None:
            self.conv_tr = nn.ConvTranspose1d(ins, outs, kernel, self.stride)
        else:
            self.conv_tr = nn.ConvTranspose2d(ins, outs, (min(kernel, bins), 1), (self.stride, 1))
        self.bins = bins
        self.norm2 = _norm(shape, index, outs)
        if bare:
            return
        conv = nn.Conv1d if bins is None else nn.Conv2d
        self.norm1 = _norm(shape, index, 2 * ins)
        self.rewrite = conv(ins, 2 * ins, 1 + 2 * shape.context, padding=shape.context)
        self.dconv: nn.Module = nn.Identity()
        if shape.dconv_mode & 2:
            self.dconv = DConv(ins, shape, lstm=lstm, attention=attention)
        self.by_blocks = _local(shape, index, bins, self.dconv)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> Tensor:
        """[B, c, F / stride, M] to [B, d, F, M], or [B, c, T / stride] to [B, d, length].

        `skip` is what the encoder of this layer gave.
        """
        if self.by_blocks and blocks.able(x):
            above = blocks.up(self.conv_tr, self.stride, gelu=not self.outermost)
            way = blocks.decoded if self.image else blocks.decoded_wave
            y = way(x, skip, self.rewrite, blocks.branches(self.dconv), above)
            return y if self.image else y.narrow(-1, 0, length)
        return self.raised(self.rewritten(x + skip), length)

    def rewritten(self, x: Tensor) -> Tensor:
        """Return what the transposed convolution gets, of the sum of input and skip."""
        return self.dconv(functional.glu(self.norm1(self.rewrite(x)), 1))  # type: ignore[no-any-return]

    def raised(self, x: Tensor, length: int) -> Tensor:
        """Return what the transposed convolution, and all after it, makes of `rewritten`'s."""
        y = self.norm2(self.conv_tr(x))
        axis, wanted = (-1, length) if self.bins is None else (-2, self.bins)
        if self.bins is None or y.shape[-2] != wanted:
            y = y.narrow(axis, self.stride // 2, wanted)
        return y if self.outermost else functional.gelu(y)


def _local(shape: HybridShape, index: int, bins: int | None, dconv: nn.Module) -> bool:
    """Say whether no bin of a layer knows of others, and all that is in it can be done by blocks.

    The layer that leaves one bin is no such layer, either.
    """
    inside = any(isinstance(each, BLSTM | LocalState) for each in dconv.modules())
    return index < shape.norm_starts and (bins is None or bins > shape.kernel_size) and not inside


def _norm(shape: HybridShape, index: int, channels: int) -> nn.Module:
    if index < shape.norm_starts:
        return nn.Identity()
    return GroupNorm(shape.norm_groups, channels)


class Bins(nn.Module):
    """What every bin adds to the outermost layer's channels."""

    def __init__(self, shape: HybridShape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.bins(1), shape.width(0))
        self.factor = shape.freq_emb * shape.emb_scale

    def forward(self, x: Tensor) -> Tensor:
        """[B, c, F, M] to the same."""
        added = self.embedding.weight.t().unsqueeze(-1) * self.factor
        return x + added if ops.only_plain() else x.add_(added)


class Hybrid(nn.Module):
    """What both networks do before and after their layers.

    The spectrum and the waveform are each seen without their mean and deviation. Transforms,
    these and the last sum are float32; layers are in the type of the weights.
    """

    def __init__(self, shape: HybridShape, *, old: bool = False) -> None:
        super().__init__()
        self.common = shape
        self.spectrogram = Spectrogram(shape.nfft, old=old)

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, S, C, T]."""
        batch, channels, length = mix.shape
        spectrum, mean, deviation = standardised(self.spectrogram(mix))
        wave, wave_mean, wave_deviation = standardised(mix)
        kind = next(self.parameters()).dtype
        x, xt = self._layers(spectrum.to(kind), wave.to(kind))
        stems, frames = self.common.stems, x.shape[-1]
        parts = x.reshape(batch, stems, channels, 2, -1, frames)
        waves = torch.addcmul(wave_mean, xt.float(), wave_deviation)
        found = self.spectrogram.inverse(parts, mean, deviation, length)
        return found + waves.view(batch, stems, channels, length)

    def _layers(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches, [B, 2 C, F, M] and [B, C, T], to the same of all stems."""
        raise NotImplementedError
