"""Transformers over one axis of a grid of tokens, as band-split Roformers have them.

Tokens stay where they are, [B, N, M, dim]; only what attends to each other is laid beside each
other, so nothing is turned round for everything that looks at single tokens.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops

TINY = 1e-12  # a vector that is shorter is not brought to unit length: silence stays silence


class RmsNorm(nn.Module):
    """[..., d] to unit length times sqrt(d) times gamma; in float32 inside."""

    exact = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d] of the same type."""
        if ops.only_plain():
            unit = functional.normalize(x.float(), dim=-1, eps=TINY)
            return (unit * math.sqrt(x.shape[-1]) * self.gamma).to(x.dtype)
        return ops.rms_norm(x, self.gamma, TINY)


class Rotary(nn.Module):
    """Rotary position embedding (Su et al.: RoFormer, 2021) by a table that is part of the weights.

    Elements 2 m and 2 m + 1 of a head rotate together, at position p by p * freqs[m].
    """

    exact = True

    def __init__(self, dim_head: int) -> None:
        super().__init__()
        freqs = 10000.0 ** -(torch.arange(0, dim_head, 2, dtype=torch.float32) / dim_head)
        self.freqs = nn.Parameter(freqs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., tokens, heads, dim_head] to the same in [..., heads, tokens, dim_head] order."""
        angles = _positions(x) * self.freqs  # [tokens, dim_head / 2]
        cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
        return ops.rotated(x, cos, sin).transpose(-2, -3)


class Polar(nn.Module):
    """Polar position embedding (PoPE, 2025): lengths say what, angles say where."""

    exact = True

    inv_freqs: Tensor

    def __init__(self, heads: int, dim_head: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads, dim_head))
        exponent = torch.arange(dim_head, dtype=torch.float32) / dim_head
        self.register_buffer("inv_freqs", 10000.0**-exponent)

    def forward(self, x: Tensor, *, key: bool) -> Tensor:
        """[..., tokens, heads, d] to [..., heads, tokens, 2 d]; keys are turned by a bias, too."""
        angles = (_positions(x) * self.inv_freqs).unsqueeze(1)  # [tokens, 1, d]
        if key:
            angles = angles + self.bias.clamp(-2 * math.pi, 0)
        size = functional.softplus(x.float())
        polar = torch.cat((size * angles.cos(), size * angles.sin()), -1)
        return polar.to(x.dtype).transpose(-2, -3)


def _positions(x: Tensor) -> Tensor:
    """[..., tokens, heads, d] to [tokens, 1]: 0, 1, 2 ..."""
    return torch.arange(x.shape[-3], device=x.device, dtype=torch.float32).unsqueeze(1)


class Attention(nn.Module):
    """Attention whose heads are gated by their input."""

    def __init__(
        self, dim: int, *, heads: int, dim_head: int, pope: bool = False, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = dim_head**-0.5
        if pope:
            self.pope_embed = Polar(heads, dim_head)
        else:
            self.rotary_embed = Rotary(dim_head)
        self.norm = RmsNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=bias)
        self.to_gates = nn.Linear(dim, heads)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim, bias=bias))

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """[B, N, M, dim] to the same: tokens along axis 1 or 2 attend to each other."""
        h = self.norm(x)
        gates = self.to_gates(h).sigmoid().unsqueeze(-1)  # [B, N, M, heads, 1]
        qkv = self.to_qkv(h)
        qkv = qkv.view(*qkv.shape[:-1], 3, self.heads, -1)
        if axis == 1:
            qkv = qkv.transpose(1, 2)
        q, k, v = qkv.unbind(-3)  # [B, rows, tokens, heads, dim_head]
        if hasattr(self, "pope_embed"):
            q, k = self.pope_embed(q, key=False), self.pope_embed(k, key=True)
        else:
            q, k = self.rotary_embed(q), self.rotary_embed(k)
        v = v.transpose(-2, -3)
        out = functional.scaled_dot_product_attention(
            q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale=self.scale
        )
        out = out.view(*q.shape[:2], *out.shape[1:]).transpose(
            -2, -3
        )  # [B, rows, tokens, heads, dim_head]
        if axis == 1:
            out = out.transpose(1, 2)
        return self.to_out((out * gates).flatten(-2))  # type: ignore[no-any-return]


class LinearAttention(nn.Module):
    """Attention between features rather than tokens (El-Nouby et al.: XCiT, 2021)."""

    SCALE = 8.0

    def __init__(self, dim: int, *, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RmsNorm(dim)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.to_qkv = nn.Sequential(nn.Linear(dim, 3 * heads * dim_head, bias=False))
        self.to_out = nn.Sequential(nn.Identity(), nn.Linear(heads * dim_head, dim, bias=False))

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """[B, N, M, dim] to the same; all N M tokens are one sequence, whatever the axis."""
        del axis
        qkv = self.to_qkv(self.norm(x))
        qkv = qkv.view(len(x), x.shape[1] * x.shape[2], 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 4, 1).unbind(0)  # [B, heads, dim_head, tokens]
        q = functional.normalize(q.float(), dim=-1, eps=TINY) * self.temperature.float().exp()
        k = functional.normalize(k.float(), dim=-1, eps=TINY)
        out = functional.scaled_dot_product_attention(
            q.to(v.dtype), k.to(v.dtype), v, scale=self.SCALE
        )
        out = out.permute(0, 3, 1, 2).flatten(-2)
        return self.to_out(out).view(x.shape)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """[..., dim] to [..., dim], by four times as many in between."""

    def __init__(self, dim: int, factor: int = 4) -> None:
        super().__init__()
        self.net = nn.Sequential(
            RmsNorm(dim),
            nn.Linear(dim, factor * dim),
            nn.GELU(),
            nn.Identity(),  # where training drops out
            nn.Linear(factor * dim, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] to [..., dim]."""
        if ops.only_plain():
            return self.net(x)  # type: ignore[no-any-return]
        norm, wide, _, _, narrow = self.net
        return narrow(torch.ops.aten.gelu_(wide(norm(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Attention and feed-forward layers in turn, each added to what it saw."""

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        heads: int,
        dim_head: int,
        norm_output: bool = False,
        linear: bool = False,
        pope: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()

        def attention() -> nn.Module:
            if linear:
                return LinearAttention(dim, heads=heads, dim_head=dim_head)
            return Attention(dim, heads=heads, dim_head=dim_head, pope=pope, bias=bias)

        self.layers = nn.ModuleList(
            nn.ModuleList((attention(), FeedForward(dim))) for _ in range(depth)
        )
        if norm_output:
            self.norm = RmsNorm(dim)

    def forward(self, x: Tensor, axis: int = 1) -> Tensor:
        """[B, N, M, dim] to the same, or [B, N, dim] along N."""
        if x.dim() < 4:  # noqa: PLR2004 (a single row of tokens)
            return self.forward(x.unsqueeze(2)).squeeze(2)
        for layer in self.layers:
            attend, feed = cast("nn.ModuleList", layer)
            x = x + attend(x, axis)
            x = x + feed(x)
        return self.norm(x) if hasattr(self, "norm") else x
