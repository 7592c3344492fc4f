"""The operators that networks are made of, each done in the fastest way that is right here.

Tensors are [B, C, T, F]. What changes an operand in place has a name that ends with `_`. All of it
is for inference: none of it can be differentiated.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from sep_runtime.accel import cuda, tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

TUNED = ("conv3x3", "up", "double")
LEAST = 1 << 22  # multiplications; below, which way is taken does not matter

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Take no other way than torch's plain operators inside."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def only_plain() -> bool:
    """Say whether plain operators are wanted, or a gradient, which nothing here has."""
    return _PLAIN.get() or torch.is_grad_enabled()


def laid(x: Tensor, weight: Tensor) -> Tensor:
    """Return x in the type and the order in memory of the weights that it goes to."""
    last = not weight.is_mps and weight.dtype != torch.float32
    form = torch.channels_last if last else torch.contiguous_format
    return x.to(weight.dtype).contiguous(memory_format=form)


def norm_act(x: Tensor, norm: nn.Module, act: nn.Module) -> Tensor:
    """[B, C, T, F] to the same: act(norm(x))."""
    if isinstance(norm, nn.InstanceNorm2d):
        if isinstance(act, nn.GELU):
            fused = cuda.norm_gelu(x, norm)
            if fused is not None:
                return fused
        # One group per channel is the same norm, in fewer passes over the memory. Only a CPU takes
        # weights of another type.
        kind = norm.weight.dtype if x.is_cpu else x.dtype
        weight, bias = norm.weight.to(kind), norm.bias.to(kind)
        y = functional.group_norm(x, x.shape[1], weight, bias, norm.eps)
    elif isinstance(norm, nn.Identity):
        y = x.clone()
    else:
        y = norm(x)
    if isinstance(act, nn.GELU):
        return torch.ops.aten.gelu_(y)  # type: ignore[no-any-return]
    if isinstance(act, nn.ELU):
        return functional.elu_(y, act.alpha)
    return functional.relu_(y)


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """[B, C, T, F] with [D, C, 3, 3] to [B, D, T, F]; zeros around."""
    return _by_the_best(
        "conv3x3",
        x,
        weight,
        _plain3x3,
        {"nnpack": _nnpack},
    )


def conv1x1_add_(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add the convolution of x [B, C, T, F] with [D, C, 1, 1] to y [B, D, T, F]."""
    d, c = weight.shape[:2]
    matrix = weight.view(d, c)
    if _is_last(x) and _is_last(y):
        rows = y.permute(0, 2, 3, 1).view(-1, d)
        rows.addmm_(x.permute(0, 2, 3, 1).reshape(-1, c), matrix.t())
        return y
    if not (x.is_contiguous() and y.is_contiguous()):
        return y.add_(functional.conv2d(x, weight))
    for sums, each in zip(y.view(len(y), d, -1), x.view(len(x), c, -1), strict=True):
        sums.addmm_(matrix, each)
    return y


def frequency(x: Tensor, weight: Tensor) -> Tensor:
    """[B, C, T, F] with [G, F] to [B, C, T, G]: a linear layer along frequency."""
    if not _is_last(x):
        return functional.linear(x, weight)
    b, c, t, f = x.shape
    # Not torch.matmul, which copies x to make one product of them.
    rows = x.permute(0, 2, 3, 1).view(b * t, f, c)
    mixed = torch.bmm(weight.expand(b * t, -1, -1), rows)
    return mixed.view(b, t, -1, c).permute(0, 3, 1, 2)


def frequency_add_(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add `frequency(x, weight)` to y."""
    if _is_last(x) and _is_last(y):
        b, d, t, f = y.shape
        sums = y.permute(0, 2, 3, 1).view(b * t, f, d)
        mixed = x.permute(0, 2, 3, 1).reshape(b * t, -1, d)
        sums.baddbmm_(weight.expand(b * t, -1, -1), mixed)
        return y
    if not y.is_contiguous():
        return y.add_(functional.linear(x, weight))
    y.view(-1, y.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), weight.t())
    return y


def down(x: Tensor, weight: Tensor) -> Tensor:
    """[B, C, T, F] with [D, C, t, f] to [B, D, T / t, F / f]: steps as long as the kernel."""
    return functional.conv2d(x, weight, stride=weight.shape[2:])


def up(x: Tensor, weight: Tensor) -> Tensor:
    """[B, C, T, F] with [C, D, t, f] to [B, D, T t, F f]: steps as long as the kernel."""
    return _by_the_best(
        "up",
        x,
        weight,
        lambda x, weight: functional.conv_transpose2d(x, weight, stride=weight.shape[2:]),
        {"gemm": _up_by_gemm},
    )


def rms_norm(x: Tensor, gamma: Tensor, tiny: float) -> Tensor:
    """[..., d] to unit length times sqrt(d) times gamma; what is shorter than `tiny` stays so."""
    d = x.shape[-1]
    if x.is_cpu and x.dtype == torch.float32:
        scale: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(tiny)
        return (x * scale.reciprocal_().mul_(math.sqrt(d))).mul_(gamma)
    return functional.rms_norm(x, (d,), gamma.to(x.dtype), eps=tiny * tiny / d)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[..., d] with its pairs (2 m, 2 m + 1) turned by angles [..., d / 2]."""
    a, b = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2).to(x.dtype)


def rotated_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same of pairs (m, m + d / 2), as `halves` lays them; contiguous whatever x is."""
    fused = cuda.turned(x, cos, sin)
    if fused is not None:
        return fused
    turned = torch.empty_like(x, memory_format=torch.contiguous_format)
    (a, b), (c, e) = x.chunk(2, -1), turned.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    torch.mul(a, cos, out=c).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=e).addcmul_(a, sin)
    return turned


_HALVES: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()


def halves(weight: Tensor, heads: int) -> Tensor:
    """[3 heads d, ...] to the same: in each head of the first two thirds, evens before odds.

    Scores do not see it: queries and keys are laid alike. But pairs that rotate together are two
    runs of memory then, not every other number.
    """
    found = _HALVES.get(weight)
    if found is None:
        each = weight.detach().view(3, heads, -1, 2, *weight.shape[1:])
        both, values = each.narrow(0, 0, 2), each.narrow(0, 2, 1)
        found = torch.cat((both.transpose(2, 3).reshape(2, -1), values.reshape(1, -1)))
        found = found.view(weight.shape)
        _HALVES[weight] = found
    return found


def halve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """[B, C, T, F] to [B, D, T / 2, F / 2]: a convolution of 5 x 5 in steps of 2."""
    return functional.conv2d(x, conv.weight, conv.bias, stride=2, padding=2)


def double(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """[B, C, T, F] to [B, D, 2 T, 2 F]: the transposed convolution of 5 x 5 in steps of 2."""

    def by_torch(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv_transpose2d(
            x, weight, conv.bias, stride=2, padding=2, output_padding=1
        )

    def by(one: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        def run(x: Tensor, weight: Tensor) -> Tensor:
            return _between(one(x, _quarters(weight)), conv.bias)

        return run

    others = {"quarters": by(_plain3x3), "quarters by nnpack": by(_nnpack)}
    return _by_the_best("double", x, conv.weight, by_torch, others)


_QUARTERS: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()


def _quarters(weight: Tensor) -> Tensor:
    """[C, D, 5, 5] to [4 D, C, 3, 3]: what each of four output samples takes of 3 x 3 inputs.

    Output 2 j + p is the sum over inputs j + t - 1 of the taps 4 - 2 t + p; the sixth tap is zero.
    """
    found = _QUARTERS.get(weight)
    if found is None:
        c, d = weight.shape[:2]
        six = functional.pad(weight.detach(), (0, 1, 0, 1)).view(c, d, 3, 2, 3, 2).flip(2, 4)
        found = six.permute(1, 3, 5, 0, 2, 4).reshape(4 * d, c, 3, 3)
        _QUARTERS[weight] = found
    return found


def _between(parts: Tensor, bias: Tensor | None) -> Tensor:
    """[B, 4 D, T, F] to [B, D, 2 T, 2 F], plus a bias per channel."""
    b, d, t, f = parts.shape
    laid = parts.view(b, d // 4, 2, 2, t, f)
    if bias is not None:
        laid = laid + bias.view(-1, 1, 1, 1, 1)
    return laid.permute(0, 1, 4, 2, 5, 3).reshape(b, d // 4, 2 * t, 2 * f)


def _is_last(x: Tensor) -> bool:
    """Say whether channels are what changes fastest in memory."""
    half = x.dtype != torch.float32 and not x.is_mps
    return half and x.is_contiguous(memory_format=torch.channels_last)


def _plain3x3(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(x, weight, padding=1)


def _nnpack(x: Tensor, weight: Tensor) -> Tensor:
    """Winograd F(6 x 6, 3 x 3) by the NNPACK inside torch, item by item: many are slower."""
    if not torch._nnpack_available():  # noqa: SLF001 (the way there is; asking also initialises it)
        raise RuntimeError("this torch has no NNPACK")
    one = torch._nnpack_spatial_convolution  # noqa: SLF001
    done = [one(each.unsqueeze(0), weight, None, [1, 1], [1, 1]) for each in x]
    return done[0] if len(done) == 1 else torch.cat(done)


def _up_by_gemm(x: Tensor, weight: Tensor) -> Tensor:
    """One matrix product per item, whose rows are then laid between each other."""
    c, d, t, f = weight.shape
    b, _, height, width = x.shape
    matrix = weight.permute(2, 3, 1, 0).reshape(t * f * d, c)
    parts = torch.matmul(matrix, x.reshape(b, c, height * width))
    laid = parts.view(b, t, f, d, height, width).permute(0, 3, 4, 1, 5, 2)
    return laid.reshape(b, d, height * t, width * f)


def _by_the_best(
    operator: str,
    x: Tensor,
    weight: Tensor,
    by_torch: Callable[[Tensor, Tensor], Tensor],
    others: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
) -> Tensor:
    size = x[0].numel() * weight.numel() // weight.shape[1]
    if x.device.type != "cpu" or x.dtype != torch.float32 or size < LEAST:
        return by_torch(x, weight)
    ways = {tuning.PLAIN: by_torch, **others}

    def ready() -> dict[str, Callable[[], Tensor]]:
        noise, kernel = torch.randn_like(x), torch.randn_like(weight)
        return {name: partial(way, noise, kernel) for name, way in ways.items()}

    shape = f"{'x'.join(map(str, x.shape))} {'x'.join(map(str, weight.shape))}"
    return ways[tuning.TABLE.way(operator, shape, x.device, ready)](x.contiguous(), weight)
