"""`sep library status`: what runs of many tracks say of themselves, from wherever one looks."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sep_launcher.library import ledger
from sep_launcher.library.shelf import shelf_of
from sep_launcher.planning import names
from sep_launcher.show import render
from sep_launcher.show.layout import near, rough, span, speed
from sep_protocol.errors import ExitCode, PathError

if TYPE_CHECKING:
    from sep_launcher.library.ledger import State

SCHEMA = 1
OWN = ("work", "others")  # of a state: for the next run alone
MOST_BAD = 20  # tracks that are told to people, of each run


def status(out: str, *, as_json: bool) -> int:
    """Tell how far the runs are that write into a folder.

    Returns 1 where a track was not done and nobody is at it.
    """
    states = ledger.states(shelf_of(out, names.NOTES))
    if not states:
        raise PathError(
            f"no run of many tracks has noted anything in {out}",
            hint="sep run ... --jobs N or --shard K/N notes it in its --out",
        )
    states.sort(
        key=lambda each: (
            (*map(int, each.shard.split("/")), each.begun) if each.shard else (-1, each.begun)
        )
    )
    if as_json:
        render.document({"schema": SCHEMA, "runs": [_document(each) for each in states]})
    else:
        render.lines([line for each in states for line in _lines(each)])
        render.lines(_sums(states))
    left = any(each.bad or (each.left and _how(each) != "running") for each in states)
    return ExitCode.TRACK_FAILED if left or any(_unheard(states).values()) else ExitCode.OK


def _document(state: State) -> dict[str, Any]:
    told = {name: value for name, value in asdict(state).items() if name not in OWN}
    for bad in told["bad"]:
        del bad["identity"]
    return {**told, "state": _how(state), "left": state.left}


def _how(state: State) -> str:
    """Return how a run is: ended, running, dead, or silent on another machine."""
    if state.ended is not None:
        return "ended"
    here = ledger.is_here(state)
    if here is not None:
        return "running" if here else "dead"
    return "running" if time.time() - state.updated < ledger.WATCH_SECONDS else "silent"


def _lines(state: State) -> list[str]:
    how = _how(state)
    name = f"shard {state.shard}" if state.shard else "run"
    told = f"{name}: {how}, on {state.host}, process {state.pid}"
    if how == "ended":
        told = f"{name}: ended with code {state.exit_code}, on {state.host}"
    until = state.ended or state.updated
    passed = max(0.0, until - state.begun)
    counts = [f"{state.done} of {state.tracks} done"]
    counts += [f"{state.before} of them before"] if state.before else []
    counts += [f"{len(state.bad)} not"] if state.bad else []
    counts += [f"{state.left} left"] if state.left else []
    counts += [span(passed)]
    if state.audio and passed:
        counts.append(speed(state.audio / passed))
    if how == "running" and state.left and (rest := _rest(state, passed)) is not None:
        counts.append(f"about {rough(rest)} left")
    lines = [told, f"  {', '.join(counts)}"]
    if how in ("dead", "silent"):
        seen = max(0.0, time.time() - state.updated)
        lines.append(f"  nothing was heard of it for {rough(seen)}; --resume goes on with the rest")
    for each in state.workers if how == "running" else ():
        at = " ".join(filter(None, (each.device, f"on {each.node}" if each.node else "")))
        lines.append(f"  {each.name} ({at}): {near(each.mix) if each.mix else 'no track'}")
    for bad in state.bad[:MOST_BAD]:
        kind = "quarantined" if bad.error == ledger.QUARANTINED else "failed"
        lines.append(f"  {kind}: {near(bad.mix)}: {bad.message}")
    if more := len(state.bad) - MOST_BAD:
        lines += [f"  and {more} more; --json has all"] if more > 0 else []
    return lines


def _rest(state: State, passed: float) -> float | None:
    """Return the seconds that a run still takes, by audio where its length is known."""
    if state.length and state.audio:
        return passed * max(0.0, state.length - state.audio) / state.audio
    now = state.done - state.before
    return passed / now * state.left if now else None


def _shards(states: list[State]) -> dict[int, list[State]]:
    """Return the shards by how many there are of their kind; a whole run is none."""
    found: dict[int, list[State]] = {}
    for each in states:
        if each.shard:
            found.setdefault(int(each.shard.partition("/")[2]), []).append(each)
    return found


def _unheard(states: list[State]) -> dict[int, list[str]]:
    """Return the shards of which nothing was heard, by how many there are of their kind."""
    return {
        count: sorted({f"{k}/{count}" for k in range(count)} - {each.shard for each in found})
        for count, found in _shards(states).items()
    }


def _sums(states: list[State]) -> list[str]:
    """Return what shards are together: other runs into the folder may have had the same songs."""
    lines = []
    for count, missing in _unheard(states).items():
        found = _shards(states)[count]
        tracks, done = (sum(getattr(each, name) for each in found) for name in ("tracks", "done"))
        bad = sum(len(each.bad) for each in found)
        lines += [f"shard {each}: nothing was heard of it" for each in missing]
        if len(found) > 1:
            lines.append(f"all shards: {done} of {tracks} done" + (f", {bad} not" if bad else ""))
    return lines
