"""A Job that converts weights, into a folder beside the place of their model."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts
from sep_launcher.planning import choice, route
from sep_launcher.planning import plan as plans
from sep_launcher.planning.request import Request
from sep_launcher.setup import golden, removal
from sep_protocol.errors import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sep_launcher.machine.host import Host
    from sep_launcher.show.screen import Screen
    from sep_protocol import Install, Model


def check_ready(host: Host) -> None:
    """Raise NotReadyError or PathError where nothing could be converted, or what is not noted."""
    if host.native is None:
        raise NotReadyError("converting a model needs the native environment", hint="sep setup")
    facts.check()


@contextlib.contextmanager
def staged(model: str) -> Iterator[Path]:
    """Give a folder beside the model's place, not there yet; it is gone at the end, however.

    The caller holds the lock of setup, so any other one that is there is of a dead command.
    """
    for left in removal.half_made():
        removal.take_away(left)
    folder = removal.staged(model)
    try:
        yield folder
    finally:
        removal.take_away(folder)


def convert(model: Model, order: Install, host: Host, screen: Screen) -> None:
    """Have the runtime write the weights, and all that it finds out, into the order's folder.

    Raises the SepError that ended it; then nothing is in the folder.
    """
    screen.say(f"converting {model.name} ...")
    chosen = route.Route(engine="native", device="cpu", reason="a conversion", ready=True)
    request = Request(files=(), out=Path(order.folder))
    plan = plans.plan(request, host, chosen, found=[], chosen=choice.only(model))
    golden.follow(replace(plan, job=replace(plan.job, install=order)), NativeEngine(screen.log))
