"""Weights of a file into the network that they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from sep_protocol.errors import ModelError
from sep_runtime.models.states import AVERAGED, NAMES
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from sep_runtime.models.states import State

N = TypeVar("N", bound=torch.nn.Module)

# Last parts of keys that hold no weights: windows of an STFT, counters of averages and of norms.
IDLE = frozenset({"window", "window_fn", "initted", "step", "n_averaged", "num_batches_tracked"})
UNKNOWN = 2  # rank of a prefix that no tool is known to write
VIEWS = 32  # prefixes that are tried


class Uninitialised(TorchFunctionMode):
    """Modules made inside get weights of any value, at once, and of no memory.

    The meta device would do the same, but its first use imports for more than a second.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Leave out what draws or fills initial weights; one value stands for a tensor of them."""
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        if in_place or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else None
        made = func if func is not torch.empty else _one
        return made(*args, **(kwargs or {}))


def _one(shape: Sequence[int], **options: Any) -> Tensor:  # noqa: ANN401 (they are torch's)
    return torch.empty((), **options).expand(shape)


def adopted(make: Callable[[], N], found: Sequence[State]) -> N:
    """Return the network that `make` makes with the first weights that are its own, in float32.

    No copy is made where they are float32. Raises ModelError where none are its own.
    """
    with Uninitialised():
        network = make()
    own = chosen(network.state_dict(), found)
    network.load_state_dict(
        {k: v.detach().float() if _kind(v) == "float" else v for k, v in own.items()},
        strict=True,
        assign=True,
    )
    return network.eval().requires_grad_(requires_grad=False)


def chosen(wanted: State, found: Sequence[State]) -> State:
    """Return the first weights with a network's keys and shapes, in their own types.

    Prefixes that tools write in front of keys, and what holds no weights, are left out. Raises
    ModelError with the first differences where no keys, shapes and types are the network's.
    """
    views = [view for state in found for view in _views(state, wanted)]
    views.sort(key=lambda each: _rank(each[0]))
    fitting = [
        (prefix, own)
        for prefix, view in views
        if _facts(own := _own(view, wanted)) == _facts(wanted)
    ]
    if not fitting:
        states = [*(view for _, view in views), *found]
        raise _differences(max(states, key=lambda each: len(each.keys() & wanted.keys())), wanted)
    prefix, own = fitting[0]
    others = [other for other, _ in fitting[1:] if _rank(other) == UNKNOWN]
    if _rank(prefix) == UNKNOWN and others:
        raise ModelError(
            f"it holds several networks, {shown(prefix)} and {shown(others[0])} among them",
            hint="give a checkpoint with one of them",
        )
    return own


def prefixes(keys: Iterable[str], one: str) -> list[str]:
    """Return what may stand before the network's keys, one of which is given, the best first."""
    found = {key.removesuffix(one) for key in keys if f".{key}".endswith(f".{one}")}
    return sorted(sorted(found)[:VIEWS], key=_rank)


def _rank(prefix: str) -> int:
    """Return which of several networks is meant: averaged ones, then what tools call the model."""
    names = prefix.split(".")[:-1]
    if any(name in AVERAGED for name in names):
        return 0
    return 1 if all(name in NAMES for name in names) else UNKNOWN


def _own(view: State, wanted: State) -> State:
    """Return what of a view is the network's, or would have to be."""
    return {k: v for k, v in view.items() if k in wanted or k.rpartition(".")[2] not in IDLE}


def _views(state: State, wanted: State) -> Iterator[tuple[str, State]]:
    """Yield (prefix, the state dict below it) for what may be the network's.

    Beside a prefix that tools write for the model may lie what they like, but for what would change
    it; beside any other one, other networks of theirs and what holds no weights.
    """
    for prefix in prefixes(state, next(iter(wanted))):
        beside = [key for key in state if not key.startswith(prefix)]
        known = _rank(prefix) != UNKNOWN and not any("lora" in key.lower() for key in beside)
        if known or all(
            key.partition(".")[0] in NAMES or key.rpartition(".")[2] in IDLE for key in beside
        ):
            size = len(prefix)
            yield prefix, {k[size:]: v for k, v in state.items() if k.startswith(prefix)}


def _facts(state: State) -> dict[str, tuple[tuple[int, ...], str]]:
    return {key: (tuple(value.shape), _kind(value)) for key, value in state.items()}


def _kind(value: Tensor) -> str:
    if value.is_floating_point():
        return "float"
    return "other" if value.is_complex() or value.dtype == torch.bool else "integer"


def _differences(given: State, wanted: State) -> ModelError:
    if all("lora" in key.lower() for key in given):
        return ModelError(
            "these are LoRA adapters, not a whole network's weights",
            hint="give the checkpoint that they were merged into",
        )
    both = wanted.keys() & given.keys()
    parts = [
        f"{len(keys)} {what}, first {shown(min(keys))}"
        for what, keys in (
            ("missing", wanted.keys() - given.keys()),
            ("unknown", given.keys() - wanted.keys()),
            ("of other shape", {key for key in both if wanted[key].shape != given[key].shape}),
            ("of other type", {key for key in both if _kind(wanted[key]) != _kind(given[key])}),
        )
        if keys
    ]
    return ModelError(
        f"the weights are not this network's: {'; '.join(parts)}",
        hint="check that the settings belong to the checkpoint",
    )
