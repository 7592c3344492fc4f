"""Hybrid Transformer Demucs (Rouard, Massa, Défossez: Hybrid transformers for music source
separation, 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops
from sep_runtime.nets.demucs_layers import Bins, Decoder, Encoder, GroupNorm, Hybrid, LayerScale
from sep_runtime.nets.demucs_shape import HybridShape, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = {
    "bottom_channels": (0, 1 << 13),
    "t_layers": (1, 64),
    "t_heads": (1, 128),
    "t_hidden_scale": (0.125, 64),
    "t_max_period": (2, 1e9),
    "t_weight_pos_embed": (-1e3, 1e3),
    "segment": (0, 1 << 26),
}

TABLES = 8  # of positions that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class HTDemucsShape(HybridShape):
    """Everything that fixes the network, by the names of its authors' options."""

    depth: int = 4
    dconv_comp: int = 8
    bottom_channels: int = 0  # of the transformer; 0: as the deepest layer's
    t_layers: int = 5
    t_heads: int = 8
    t_hidden_scale: float = 4.0
    t_norm_in: bool = True
    t_norm_out: bool = True
    t_max_period: float = 10000.0
    t_layer_scale: bool = True
    t_gelu: bool = True
    t_weight_pos_embed: float = 1.0
    t_cross_first: bool = False
    segment: int = 0  # samples that shorter inputs are padded to, and the most; 0: any length

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or layers do not fit each other."""
        HybridShape.__post_init__(self)
        bounded(self, LIMITS)
        step = int(self.stride**self.depth)
        if self.nfft // 2 % step or self.bins(self.depth - 1) <= self.kernel_size:
            msg = (
                f"nfft {self.nfft} must have more than {self.kernel_size} bins left in the last "
                f"of {self.depth} layers, and a whole number in each"
            )
            raise ValueError(msg)
        if self.dim % 4:
            msg = f"the transformer's channels must be a multiple of 4, not {self.dim}"
            raise ValueError(msg)
        if self.dim % self.t_heads:
            msg = f"t_heads {self.t_heads} does not divide the transformer's {self.dim} channels"
            raise ValueError(msg)

    @property
    def dim(self) -> int:
        """Channels of the transformer."""
        return self.bottom_channels or self.width(self.depth - 1)

    @property
    def free(self) -> bool:
        """Whether a mix may have any length."""
        return not self.segment


class LayerNorm(nn.LayerNorm):
    """A layer norm whose sums are float32 whatever the type of its input."""

    exact = True

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """[..., c] to the same."""
        kind = torch.float32 if input.is_mps else input.dtype  # others sum in float32 anyway
        weight, bias = self.weight.to(kind), self.bias.to(kind)
        y = functional.layer_norm(input.to(kind), self.normalized_shape, weight, bias, self.eps)
        return y.to(input.dtype)


class WholeNorm(GroupNorm):
    """A group norm with one group: all tokens and channels of an item."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """[B, N, c] to the same."""
        kind = torch.float32 if input.is_mps else input.dtype
        y = functional.layer_norm(input.to(kind), input.shape[1:], eps=self.eps)
        return torch.addcmul(self.bias.to(kind), y, self.weight.to(kind)).to(input.dtype)


class Attention(nn.Module):
    """Attention of several heads, with queries, keys and values from one matrix."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty((3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.empty((3 * dim,)))
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """[B, N, c] to the same, which attends to `other` [B, K, c], or to itself."""
        if other is None:
            query, key, value = self._heads(x, 0, 3)
        else:
            (query,) = self._heads(x, 0, 1)
            key, value = self._heads(other, 1, 2)
        out = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor, first: int, count: int) -> tuple[Tensor, ...]:
        """[B, N, c] to `count` times [B, heads, N, c / heads]."""
        batch, tokens, dim = x.shape
        weight = self.in_proj_weight.narrow(0, first * dim, count * dim)
        bias = self.in_proj_bias.narrow(0, first * dim, count * dim)
        parts = functional.linear(x, weight, bias)
        parts = parts.view(batch, tokens, count, self.heads, dim // self.heads)
        return parts.permute(2, 0, 3, 1, 4).unbind(0)


class Layer(nn.Module):
    """One layer of the transformer, of one branch; with `cross` it looks at the other branch."""

    def __init__(self, shape: HTDemucsShape, *, cross: bool) -> None:
        super().__init__()
        dim, hidden = shape.dim, int(shape.dim * shape.t_hidden_scale)
        attention = Attention(dim, shape.t_heads)
        self.gelu = shape.t_gelu
        self.cross = cross
        if cross:
            self.cross_attn = attention
            self.norm3 = LayerNorm(dim)
        else:
            self.self_attn = attention
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = LayerNorm(dim), LayerNorm(dim)
        self.norm_out: nn.Module = WholeNorm(1, dim) if shape.t_norm_out else nn.Identity()
        scaled = shape.t_layer_scale
        self.gamma_1 = LayerScale(dim, last=True) if scaled else None
        self.gamma_2 = LayerScale(dim, last=True) if scaled else None

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """[B, N, c] to the same; `other` is the other branch's [B, K, c]."""
        if self.cross:
            seen = self.cross_attn(self.norm1(x), self.norm2(other))
            norm = self.norm3
        else:
            seen = self.self_attn(self.norm1(x))
            norm = self.norm2
        x = _added(x, seen, self.gamma_1)
        inner = self.linear1(norm(x))
        inner = _act(inner) if self.gelu else functional.relu(inner)
        return self.norm_out(_added(x, self.linear2(inner), self.gamma_2))  # type: ignore[no-any-return]


def _added(x: Tensor, more: Tensor, scale: LayerScale | None) -> Tensor:
    return x + more if scale is None else scale.added(x, more)


def _act(x: Tensor) -> Tensor:
    if ops.only_plain():
        return functional.gelu(x)
    return torch.ops.aten.gelu_(x)  # type: ignore[no-any-return]


class CrossTransformer(nn.Module):
    """Layers in which each branch looks at itself and, in every other one, at the other branch."""

    def __init__(self, shape: HTDemucsShape) -> None:
        super().__init__()
        self.shape = shape
        self.norm_in: nn.Module = LayerNorm(shape.dim) if shape.t_norm_in else nn.Identity()
        self.norm_in_t: nn.Module = LayerNorm(shape.dim) if shape.t_norm_in else nn.Identity()
        self.layers, self.layers_t = nn.ModuleList(), nn.ModuleList()
        for i in range(shape.t_layers):
            cross = bool(i % 2) != shape.t_cross_first
            self.layers.append(Layer(shape, cross=cross))
            self.layers_t.append(Layer(shape, cross=cross))
        self._tables: dict[tuple[object, ...], Tensor] = {}

    def forward(self, x: Tensor, xt: Tensor, bins: int) -> tuple[Tensor, Tensor]:
        """[B, M bins, c], frame by frame, and [B, T, c] to the same."""
        frames, steps = x.shape[1] // bins, xt.shape[1]
        x = self.norm_in(x) + self._table(x, (frames, bins), lambda: self._plane(frames, bins))
        xt = self.norm_in_t(xt) + self._table(xt, (steps,), lambda: self._line(steps))
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            x, xt = layer(x, xt), layer_t(xt, x)
        return x, xt

    def _table(self, x: Tensor, size: tuple[int, ...], make: Callable[[], Tensor]) -> Tensor:
        key = (*size, x.device, x.dtype)
        if key not in self._tables:
            if len(self._tables) >= TABLES:
                self._tables.clear()
            table = make() * self.shape.t_weight_pos_embed
            self._tables[key] = table.to(torch.float32).to(x.device, x.dtype)
        return self._tables[key]

    def _plane(self, frames: int, bins: int) -> Tensor:
        """[frames bins, c]: sines and cosines in turn, half of the frame, half of the bin."""
        half = self.shape.dim // 2
        k = torch.arange(0, half, 2, dtype=torch.float64)
        rates = torch.exp(k * (-math.log(self.shape.t_max_period) / half))

        def waves(count: int) -> Tensor:
            angles = torch.arange(count, dtype=torch.float64).unsqueeze(1) * rates
            return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)

        of_frame = waves(frames).unsqueeze(1).expand(-1, bins, -1)
        of_bin = waves(bins).unsqueeze(0).expand(frames, -1, -1)
        return torch.cat((of_frame, of_bin), -1).flatten(0, 1)

    def _line(self, steps: int) -> Tensor:
        """[steps, c]: cosines in the first half, sines in the second."""
        half = self.shape.dim // 2
        exponents = torch.arange(half, dtype=torch.float64) / (half - 1)
        angles = torch.arange(steps, dtype=torch.float64).unsqueeze(1)
        angles = angles * float(self.shape.t_max_period) ** -exponents
        return torch.cat((angles.cos(), angles.sin()), -1)


class HTDemucs(Hybrid):
    """[B, C, T] mixes to [B, S, C, T] stems.

    With `segment` a shorter mix is followed by silence up to it, inside; a longer one is a
    ValueError. Without, T is free.
    """

    def __init__(self, shape: HTDemucsShape) -> None:
        super().__init__(shape)
        self.shape = shape
        self.freq_emb = Bins(shape) if shape.freq_emb else None
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.tencoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        channels = shape.audio_channels
        for i in range(shape.depth):
            bins, below = shape.bins(i), shape.width(i - 1) if i else 0
            ins, outs = below or 2 * channels, below or 2 * channels * shape.stems
            self.encoder.append(Encoder(shape, ins, i, bins=bins))
            self.decoder.insert(0, Decoder(shape, i, outs, bins=bins))
            ins, outs = below or channels, below or channels * shape.stems
            self.tencoder.append(Encoder(shape, ins, i))
            self.tdecoder.insert(0, Decoder(shape, i, outs))
        deep, bottom = shape.width(shape.depth - 1), shape.bottom_channels
        if bottom:
            self.channel_upsampler = nn.Conv1d(deep, bottom, 1)
            self.channel_downsampler = nn.Conv1d(bottom, deep, 1)
            self.channel_upsampler_t = nn.Conv1d(deep, bottom, 1)
            self.channel_downsampler_t = nn.Conv1d(bottom, deep, 1)
        self.crosstransformer = CrossTransformer(shape)

    def forward(self, mix: Tensor) -> Tensor:
        """[B, C, T] to [B, S, C, T]."""
        length, segment = mix.shape[-1], self.shape.segment
        if segment and length > segment:
            msg = f"{length} samples are more than the {segment} that this network takes at once"
            raise ValueError(msg)
        if segment and length < segment:
            mix = functional.pad(mix, (0, segment - length))
        return super().forward(mix).narrow(-1, 0, length)

    def _layers(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches, [B, 2 C, F, M] and [B, C, T], to the same of all stems."""
        skips, time_skips, lengths = [], [], []
        for i, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            lengths.append(xt.shape[-1])
            x, xt = encode(x), encode_t(xt)
            if not i and self.freq_emb is not None:
                x = self.freq_emb(x)
            skips.append(x)
            time_skips.append(xt)
        x, xt = self._transformed(x, xt)
        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            length = lengths.pop()
            x = decode(x, skips.pop(), length)
            xt = decode_t(xt, time_skips.pop(), length)
        return x, xt

    def _transformed(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """[B, c, F, M] and [B, c, T] through the transformer, as tokens of its channels."""
        batch, _, bins, frames = x.shape
        tokens = x.permute(0, 3, 2, 1).flatten(1, 2)
        tokens_t = xt.transpose(1, 2)
        if self.shape.bottom_channels:
            tokens = _mixed(tokens, self.channel_upsampler)
            tokens_t = _mixed(tokens_t, self.channel_upsampler_t)
        tokens, tokens_t = self.crosstransformer(tokens, tokens_t, bins)
        if self.shape.bottom_channels:
            tokens = _mixed(tokens, self.channel_downsampler)
            tokens_t = _mixed(tokens_t, self.channel_downsampler_t)
        x = tokens.view(batch, frames, bins, -1).permute(0, 3, 2, 1)
        return x, tokens_t.transpose(1, 2)


def _mixed(tokens: Tensor, conv: nn.Conv1d) -> Tensor:
    """[B, N, c] to [B, N, d] by a convolution of one step."""
    return functional.linear(tokens, conv.weight.squeeze(-1), conv.bias)
