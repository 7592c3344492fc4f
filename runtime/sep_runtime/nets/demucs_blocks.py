"""The layers of HDemucs and HTDemucs on a CPU in float32, a block of bins at a time.

After its convolution a layer of the frequency branch knows nothing of other bins. So all that
follows is done block by block and in place, and the widest tensors never exist as a whole.
Convolutions of one step are matrix products, and so are those that step as far as half their
kernel; norms of such a product are folded into it, since the moments of what goes in tell those of
what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Values of a block's widest tensor. It bounds the memory; smaller ones gained no time, and every
# operator ends with threads that wait for each other, which is long where others are busy.
BLOCK = 1 << 22
FEWEST = 8  # bins of a block, 2 at least: convolutions arrange their weights anew for each


def able(x: Tensor) -> bool:
    """Say whether x is where these ways are right and fast."""
    return x.is_cpu and x.dtype == torch.float32 and not ops.only_plain()


@dataclass(frozen=True, slots=True)
class Branch:
    """One residual branch of a DConv, as the matrices that do it."""

    dilation: int
    taps: Tensor  # [3 n, c]
    norm: nn.GroupNorm
    bias: Tensor  # [n]
    wide: Tensor  # [2 c, n]
    wide_bias: Tensor  # [2 c]
    folded: Tensor  # [2 c, n + 3], of the product with its norm and the scale behind the gate
    gram: Tensor  # [n, n], of the columns of `wide`
    eps: float


def branches(dconv: nn.Module) -> list[Branch]:
    """Return the matrices of a DConv that has neither LSTM nor attention; of none, none."""
    layers = getattr(dconv, "layers", ())
    return [_branch(*cast("nn.Sequential", layer)) for layer in layers]


def _branch(
    conv: nn.Conv1d,
    norm: nn.GroupNorm,
    _gelu: nn.Module,
    wide: nn.Conv1d,
    wide_norm: nn.GroupNorm,
    _glu: nn.Module,
    layer_scale: nn.Module,
) -> Branch:
    scale = cast("Tensor", layer_scale.scale)
    rows, bias = wide.weight.squeeze(-1), cast("Tensor", wide.bias)
    gain, shift = wide_norm.weight, wide_norm.bias
    after = torch.cat((scale, torch.ones_like(scale)))
    parts = (gain.unsqueeze(1) * rows, (gain * bias).unsqueeze(1), gain.unsqueeze(1))
    folded = torch.cat((*parts, shift.unsqueeze(1)), 1) * after.unsqueeze(1)
    return Branch(
        dilation=conv.dilation[0],
        taps=conv.weight.permute(2, 0, 1).flatten(0, 1),
        norm=norm,
        bias=cast("Tensor", conv.bias),
        wide=rows,
        wide_bias=bias,
        folded=folded,
        gram=rows.t() @ rows,
        eps=wide_norm.eps,
    )


def dconv_(x: Tensor, found: Sequence[Branch]) -> None:
    """Add to x [c, R, T] what a DConv adds; every one of R rows is by itself."""
    flat = x.view(len(x), -1)
    for branch in found:
        inner = _normed(flat, branch, x.shape[1])
        for at, count in _parts(flat.shape[1], 2 * len(flat), 1):
            value, gate = torch.mm(branch.folded, inner.narrow(1, at, count)).chunk(2)
            flat.narrow(1, at, count).addcmul_(value, gate.sigmoid_())


def _normed(x: Tensor, branch: Branch, rows: int) -> Tensor:
    """[c, R T] to [n + 3, R T]: what `folded` makes the normed product of."""
    length = x.shape[1] // rows
    narrow, reach = len(branch.bias), branch.dilation
    before, h, after = torch.mm(branch.taps, x).view(3, narrow, rows, length)
    h.add_(branch.bias.view(-1, 1, 1))
    if length > reach:
        h[..., reach:] += before[..., :-reach]
        h[..., :-reach] += after[..., reach:]
    norm = branch.norm
    h = torch.group_norm(h.transpose(0, 1), 1, norm.weight, norm.bias, norm.eps)
    torch.ops.aten.gelu_(h)  # [R, n, T]
    mean = h.mean(-1, keepdim=True)
    centred = h - mean
    spread = torch.bmm(centred, centred.transpose(1, 2)).mul_(branch.gram).sum((1, 2)) / length
    means = torch.addmm(branch.wide_bias, mean.squeeze(-1), branch.wide.t())  # [R, 2 c]
    shifts, middle = torch.var_mean(means, 1, correction=0)
    rate = (spread / means.shape[1] + shifts + branch.eps).rsqrt_().unsqueeze(-1)
    seen = x.new_empty(narrow + 3, rows, length)
    torch.mul(h.transpose(0, 1), rate, out=seen[:narrow])
    seen[narrow] = rate
    seen[narrow + 1] = -rate * middle.unsqueeze(-1)
    seen[narrow + 2] = 1.0
    return seen.view(narrow + 3, -1)


def encoded_(x: Tensor, found: Sequence[Branch], rewrite: nn.Module) -> Tensor:
    """Do to [B, c, F, M] what follows an encoder's convolution, where it has no norms."""
    weight, bias = cast("Tensor", rewrite.weight).flatten(1), cast("Tensor", rewrite.bias)
    for item in x:
        for first, count in _parts(x.shape[2], 2 * x.shape[1] * x.shape[3], FEWEST):
            block = item.narrow(1, first, count)
            torch.ops.aten.gelu_(block)
            dconv_(block, found)
            flat = block.view(len(block), -1)
            for at, size in _parts(flat.shape[1], 2 * len(flat), 1):
                part = flat.narrow(1, at, size)
                value, gate = torch.addmm(bias.unsqueeze(1), weight, part).chunk(2)
                torch.mul(value, gate.sigmoid_(), out=part)
    return x


@dataclass(frozen=True, slots=True)
class Up:
    """A transposed convolution that steps as far as half its kernel, cut at both ends.

    Output step j + q of `stride` is a product of input j and, for the first half of q, of input
    j - 1, for the second half of j + 1.
    """

    stride: int
    channels: int  # d
    here: Tensor  # [stride d, c], q changes slowest
    before: Tensor  # [stride / 2 d, c]
    after: Tensor
    bias: Tensor  # [stride d, 1]
    gelu: bool

    def __call__(self, x: Tensor, out: Tensor) -> None:
        """[c, n + 2, M], with a neighbour at both ends, to `out` [d, n stride, M]."""
        count, frames = x.shape[1] - 2, x.shape[2]
        flat = x.view(len(x), -1)
        size = count * frames
        y = torch.addmm(self.bias, self.here, flat.narrow(1, frames, size))
        half = len(self.before)
        y[:half].addmm_(self.before, flat.narrow(1, 0, size))
        y[half:].addmm_(self.after, flat.narrow(1, 2 * frames, size))
        if self.gelu:
            torch.ops.aten.gelu_(y)
        laid = y.view(self.stride, -1, count, frames)
        out.view(len(out), count, self.stride, frames).copy_(laid.permute(1, 2, 0, 3))


def up(conv: nn.Module, stride: int, *, gelu: bool) -> Up:
    """Return the matrices of a transposed convolution, in one direction."""
    weight, bias = cast("Tensor", conv.weight), cast("Tensor", conv.bias)
    taps = weight.view(*weight.shape[:2], 2 * stride).permute(2, 1, 0)  # [2 stride, d, c]
    half = stride // 2
    return Up(
        stride=stride,
        channels=len(bias),
        here=taps[half : half + stride].flatten(0, 1),
        before=taps[half + stride :].flatten(0, 1),
        after=taps[:half].flatten(0, 1),
        bias=bias.repeat(stride).unsqueeze(1),
        gelu=gelu,
    )


def decoded(
    x: Tensor, skip: Tensor, rewrite: nn.Module, found: Sequence[Branch], above: Up
) -> Tensor:
    """[B, c, F, M] and its skip to [B, d, F stride, M] through a decoder without norms."""
    batch, channels, bins, frames = x.shape
    weight, bias = cast("Tensor", rewrite.weight), cast("Tensor", rewrite.bias)
    reach = weight.shape[2] // 2
    out = x.new_empty(batch, above.channels, bins * above.stride, frames)
    nothing = x.new_zeros(channels, 1, frames)
    for item in range(batch):
        kept, done = nothing, 0
        for first, count in _parts(bins, 2 * channels * frames, FEWEST):
            low, high = max(0, first - reach), min(bins, first + count + reach)
            seen = (x[item, :, low:high] + skip[item, :, low:high]).unsqueeze(0)
            both = ops.conv3x3(seen, weight) if reach == 1 else _same(seen, weight)
            value = _gated(both[0].narrow(1, first - low, count), bias)
            dconv_(value, found)
            ends = (kept, value, nothing) if first + count == bins else (kept, value)
            whole = torch.cat(ends, 1)
            more = whole.shape[1] - 2
            above(whole, out[item].narrow(1, done * above.stride, more * above.stride))
            done += more
            kept = whole.narrow(1, more, 2)
    return out


def _same(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(x, weight, padding=weight.shape[2] // 2)


def _gated(both: Tensor, bias: Tensor) -> Tensor:
    """GLU of [2 c, ...] plus a bias, in its first half."""
    both.add_(bias.view(-1, *(1,) * (both.dim() - 1)))
    value, gate = both.chunk(2)
    return value.mul_(gate.sigmoid_())


def decoded_wave(
    x: Tensor, skip: Tensor, rewrite: nn.Module, found: Sequence[Branch], above: Up
) -> Tensor:
    """[B, c, T] and its skip to [B, d, T stride] through a decoder without norms."""
    batch, channels, length = x.shape
    weight, bias = cast("Tensor", rewrite.weight), cast("Tensor", rewrite.bias)
    out = x.new_empty(batch, above.channels, length * above.stride, 1)
    for item in range(batch):
        both = functional.conv1d(x[item] + skip[item], weight, padding=weight.shape[2] // 2)
        value = _gated(both, bias)
        dconv_(value.unsqueeze(1), found)
        whole = functional.pad(value, (1, 1)).view(channels, -1, 1)
        above(whole, out[item])
    return out.squeeze(-1)


def _parts(total: int, width: int, fewest: int) -> Iterator[tuple[int, int]]:
    """First ones and counts of parts of `total`, each `width` values wide."""
    step = max(fewest, BLOCK // width)
    for first in range(0, total, step):
        yield first, min(step, total - first)
