"""How fast earlier runs were that did the same work on the same workers: what a new one may take.

A run that cannot be compared tells nothing, so nothing is said then.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from contextlib import suppress
from typing import TYPE_CHECKING

from sep_launcher.library import ledger
from sep_launcher.library.shelf import Folder, shelf_of
from sep_launcher.machine import paths
from sep_launcher.planning import names
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from sep_launcher.library.ledger import State
    from sep_launcher.planning.plan import Plan

FOLDER = "speeds"
# Of a run that tells anything: less is mostly the loading of models.
LEAST_AUDIO, LEAST_SECONDS = 60.0, 10.0


def work(plan: Plan) -> str:
    """Return what decides a run's speed, as one line; nothing where that is not known.

    These are the models and what is made with them, and the workers with their devices.
    """
    job = plan.job
    if not job.identity or not plan.workers:
        return ""
    on = "ray" if plan.elsewhere else ""
    ways = sorted(
        f"{on or each.route.engine} {each.name} {each.precision}" for each in plan.workers
    )
    return " ".join((job.identity, str(job.batch or "auto"), *ways))


def speed(state: State) -> float | None:
    """Return seconds of audio a second of a run; None for one that is too short to tell."""
    passed = (state.ended or state.updated) - state.begun
    if state.audio < LEAST_AUDIO or not passed >= LEAST_SECONDS:
        return None
    found = state.audio / passed
    return found if 0 < found < math.inf else None


def note(state: State) -> None:
    """Keep a run's speed for others on this machine; a cache that cannot be written keeps none."""
    found = speed(state)
    if not state.work or found is None:
        return
    with suppress(OSError, PathError):
        kept = Folder(paths.cache() / FOLDER)
        name = _name(state.work)
        text = json.dumps({"speed": found})
        if not kept.create(name, text):
            kept.write(name, text)


def known(plan: Plan) -> tuple[float, str] | None:
    """Return a speed for a plan, and whose it is in words; None where nothing tells it.

    The ledger of the same output comes first, by this machine or a cluster; then this machine's.
    """
    key = work(plan)
    if not key:
        return None
    with suppress(PathError):
        states = ledger.states(shelf_of(plan.root, names.NOTES))
        mine = [each for each in states if plan.elsewhere or each.host == platform.node()]
        for each in sorted(mine, key=lambda state: -state.begun):
            if each.work == key and (found := speed(each)):
                return found, "the run before"
    with suppress(PathError, ValueError, TypeError, LookupError):
        found = float(json.loads(Folder(paths.cache() / FOLDER).read(_name(key)) or "")["speed"])
        if 0 < found < math.inf:
            return found, "an earlier run on this machine"
    return None


def _name(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
