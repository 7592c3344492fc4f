"""How much a run of many tracks will be, told before it begins; nothing is decoded."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import disk, storage
from sep_launcher.machine.lengths import lengths
from sep_launcher.planning import estimate
from sep_launcher.show.layout import rough

if TYPE_CHECKING:
    from collections.abc import Collection

    from sep_launcher.planning.plan import Plan
    from sep_launcher.show.render import Screen


def survey(plan: Plan, done: Collection[int], screen: Screen) -> Plan:
    """Say how much there is to do, and return the plan with the length of each track, 0 if done.

    Raises PathError where the disk cannot hold the stems.
    """
    tracks = plan.job.tracks
    left = [index for index in range(len(tracks)) if index not in done]
    audio = [tracks[index].audio for index in left]
    found = lengths(
        audio, {each: plan.sources[each].size for each in audio if each in plan.sources}
    )
    sizes = [0.0] * len(tracks)
    for index, each in zip(left, found, strict=True):
        sizes[index] = each.seconds
    hours = f"     about {rough(sum(sizes))} of audio"
    if not plan.stems:  # only the checkpoint knows how many
        screen.say(hours)
        return replace(plan, sizes=tuple(sizes))
    told = estimate.estimate(found, len(plan.stems), plan.job.output)
    free = _free(plan.root)
    room = "" if free is None else f"; {estimate.size(free)} are free"
    screen.say(f"{hours}, {estimate.size(told.likely)} of stems{room}")
    if free is not None and (doubt := estimate.check(told, free, plan.root, plan.job.output)):
        screen.warn(doubt)
    return replace(plan, sizes=tuple(sizes))


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
