"""State dicts in what training tools save, under whatever wrappers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sep_protocol.errors import ModelError
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    State = dict[str, Tensor]

# What tools keep a state dict under, and write in front of its keys. Averaged weights come first:
# they are kept because they are better.
AVERAGED = (
    *("ema", "ema_state_dict", "ema_model", "model_ema", "params_ema", "state_dict_ema"),
    *("ema_weights", "swa_model"),
)
NAMES = (
    *AVERAGED,
    *("best_model", "state_dict", "state", "model_state_dict", "model", "generator", "weights"),
    *("params", "net", "network", "module", "_orig_mod", "online_model", "model_state"),
    *(
        "net_state_dict",
        "model_dict",
        "net_g",
        "netG",
        "best_state",
        "best_state_dict",
        "separator",
    ),
)
DEEPEST = 6  # wrappers around a state dict


def states_in(loaded: object, path: Path) -> tuple[State, ...]:
    """Return every state dict in what a file held, averaged weights first.

    Raises ModelError where there is none.
    """
    found: list[State] = []
    _collect(loaded, found, seen=set(), depth=0)
    faults = [_fault(state) for state in found]
    plain = tuple(state for state, fault in zip(found, faults, strict=True) if not fault)
    if plain:
        return plain
    if faults:
        raise ModelError(f"{{path}} holds no plain weights: {faults[0]}", path=str(path))
    raise ModelError(
        "{path} holds no state dict",
        hint="give a checkpoint that holds the network's weights",
        path=str(path),
    )


def _collect(loaded: object, found: list[State], *, seen: set[int], depth: int) -> None:
    if not isinstance(loaded, dict) or id(loaded) in seen or depth > DEEPEST:
        return
    seen.add(id(loaded))
    if loaded and all(isinstance(key, str) and torch.is_tensor(loaded[key]) for key in loaded):
        found.append(loaded)
        return
    for name in NAMES:
        _collect(loaded.get(name), found, seen=seen, depth=depth + 1)


def _fault(state: State) -> str:
    """Return what of a state dict is no dense tensor in memory, nothing where all are."""
    for key, value in state.items():
        if value.is_nested or value.is_quantized or value.layout != torch.strided:
            return f"{shown(key)} is sparse, nested or quantised"
        if value.device.type != "cpu":
            return f"{shown(key)} has a shape alone"
        # A tensor may claim to repeat a few bytes to any size.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            return f"{shown(key)} is larger than what is there of it"
    return ""
