"""How much a run of many tracks will be, told before it begins; nothing is decoded."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.library import speeds
from sep_launcher.machine import disk, storage
from sep_launcher.machine.lengths import lengths
from sep_launcher.planning import estimate
from sep_launcher.show.layout import rough
from sep_protocol.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sep_launcher.planning.plan import Plan
    from sep_launcher.show.screen import Screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is to come."""

    sizes: tuple[float, ...]  # the length of each track in seconds, 0 where it is done
    text: str  # hours, space and time, for people
    doubt: str = ""  # why there may be too little space
    fault: PathError | None = None  # why there certainly is


def survey(plan: Plan, done: Collection[int], screen: Screen) -> Plan:
    """Say how much there is to do, and return the plan with the length of each track, 0 if done.

    Raises PathError where the disk cannot hold the stems.
    """
    found = look(plan, done)
    screen.say(found.text)
    if found.doubt:
        screen.warn(found.doubt)
    if found.fault:
        raise found.fault
    return replace(plan, sizes=found.sizes)


def look(plan: Plan, done: Collection[int]) -> Survey:
    """Return how much there is to do beside what is `done`; heads of files are read."""
    tracks = plan.job.tracks
    left = [index for index in range(len(tracks)) if index not in done]
    audio = [tracks[index].audio for index in left]
    found = lengths(
        audio, {each: plan.sources[each].size for each in audio if each in plan.sources}
    )
    sizes = [0.0] * len(tracks)
    for index, each in zip(left, found, strict=True):
        sizes[index] = each.seconds
    told = [f"about {rough(sum(sizes))} of audio"]
    doubt, fault = "", None
    if plan.stems:  # else only the checkpoint knows how many
        wanted = estimate.estimate(found, len(plan.stems), plan.job.output)
        free = _free(plan.root)
        room = "" if free is None else f"; {estimate.size(free)} are free"
        told.append(f"{estimate.size(wanted.likely)} of stems{room}")
        try:
            if free is not None:
                doubt = estimate.check(wanted, free, plan.root, plan.job.output)
        except PathError as why:
            fault = why
    text = "     " + ", ".join(told)
    if sum(sizes) and (known := speeds.known(plan)):
        speed, whose = known
        text += f"; about {rough(sum(sizes) / speed)} at the speed of {whose}"
    return Survey(sizes=tuple(sizes), text=text, doubt=doubt, fault=fault)


def _free(root: str) -> int | None:
    """Return the bytes that are free where the output goes, None where that is not known."""
    if storage.is_url(root):
        return None
    there = Path(root)
    while not disk.exists(there) and there != there.parent:
        there = there.parent
    with suppress(OSError):
        return shutil.disk_usage(there).free
    return None
