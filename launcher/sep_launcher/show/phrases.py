"""What a run says to people, as lines. Pure; whoever shows them makes them printable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.planning import places
from sep_launcher.show.layout import near, span, speed, table
from sep_protocol import TrackDone, TrackFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.preview import Action, Preview
    from sep_launcher.planning.route import Route
    from sep_launcher.show.report import Report

ACTIONS: dict[Action, str] = {
    "separate": "",
    "resume": "is there already: left if it is of the same song, model and settings",
    "replace": "is there already: would be replaced",
    "refuse": "is there already: would be refused",
}


def start(plan: Plan) -> str:
    """Return a run's first line."""
    tracks = plan.job.tracks
    what = Path(tracks[0].shown or tracks[0].audio).name if len(tracks) == 1 else ""
    return f"{what or f'{len(tracks)} tracks'}: {_place(plan)}, {_models(plan)}"


def _place(plan: Plan) -> str:
    """Return where it is done, and by how many."""
    if not plan.workers:
        return plan.place
    found = list(dict.fromkeys(each.place for each in plan.workers))
    many = f", {len(plan.workers)} tracks at once" if plan.workers[1:] else ""
    return f"{listed(found)}{many}"


def _models(plan: Plan) -> str:
    """Return who does what, as one clause or two."""
    job = plan.job
    mean = listed([each.name for each in (job.model, *job.beside)])
    if job.from_mix:
        return f"drums by {job.from_mix.name}, their parts by {mean}"
    expects = f" (for {plan.expects})" if plan.expects else ""
    return f"model{'s' * bool(job.beside)} {mean}{expects}"


def listed(names: Sequence[str]) -> str:
    """Return names with commas, and an "and" before the last one."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def reasons(route: Route) -> list[str]:
    """Return why this way was chosen, and a line for every one that was not."""
    return [f"{route.engine} {route.device}: {route.reason}", *alternatives(route)]


def alternatives(route: Route) -> list[str]:
    """Return a line for every way that was not chosen."""
    found = []
    for each in route.alternatives:
        why = each.refused or ("second choice" if each.ready else "not set up")
        found.append(f"not {each.engine} {each.device}: {why}")
    return found


def done(report: Report, event: TrackDone, seconds: float) -> list[str]:
    """Return what people want to know of a track; `seconds` is the time of the run so far."""
    if report.is_batch:
        number = f"{event.track + 1}/{report.count} "
        name = near(report.shown(event.track))
        if event.resumed:
            return [f"{number}done before: {name}"]
        return [f"{number}done: {name}, {_took(event.seconds, _audio([event]))}"]
    if event.resumed:
        return [f"done before: {near(event.out)}"]
    stems = _count(len(event.stems), "stem")
    took = f"{span(seconds)}{_device(report)} ({_speed(seconds, _audio([event]))})"
    files = "  ".join(Path(path).name for path in event.stems.values())
    return [f"done: {stems} in {took} -> {near(event.out)}", f"      {files}"]


def failed(report: Report, event: TrackFailed) -> str:
    """Return the line about a track that failed."""
    number = f"{event.track + 1}/{report.count} " if report.is_batch else ""
    return f"{number}failed: {_fault(report, event)}"


def _fault(report: Report, event: TrackFailed) -> str:
    """Return a track and what is wrong with it, its name once."""
    mix = near(report.shown(event.track))
    name = Path(report.shown(event.track)).name
    if event.message.startswith(f"{name} "):
        return mix + event.message.removeprefix(name)
    return f"{mix}: {event.message}"


def end(report: Report, seconds: float) -> list[str]:
    """Return the sum of a batch: what was done, how fast, where it is; and what was not."""
    tracks = report.tracks.values()
    whole = [each for each in tracks if isinstance(each, TrackDone)]
    faults = [each for each in tracks if isinstance(each, TrackFailed)]
    if not report.is_batch or not tracks:
        return []
    count = _count(report.count, "track")
    told = count if len(whole) == report.count else f"{len(whole)} of {count}"
    worked = [each for each in whole if not each.resumed]
    if worked:
        told += f" in {span(seconds)}{_device(report)} ({_speed(seconds, _audio(worked))})"
    if before := len(whole) - len(worked):
        told += f", {before} of them done before"
    folder = f" -> {near(report.folder)}" if whole and report.folder else ""
    lines = [f"done: {told}{folder}"]
    if faults:
        lines.append(f"failed: {len(faults)} of {count}")
        lines += [f"  {_fault(report, each)}" for each in faults]
    return lines


def details(report: Report) -> list[str]:
    """Return what engineers want to know of a run."""
    rows = []
    if device := report.device:
        rows.append(("device", f"{device.device} ({device.name}, torch {device.torch})"))
        rows.append(("", device.reason))
    for name, loaded in report.loaded.items():
        close = f", {loaded.snr:.0f} dB beside fp32" if loaded.snr is not None else ""
        how = f"{loaded.precision}{close}, {_at_once(loaded.batch)}"
        rows.append((name if report.is_joint else "precision", how))
        rows += [("", ", ".join(loaded.ways))] if loaded.ways else []
    if (plan := report.plan) and plan.job.shifts > 1:
        rows.append(("shifts", str(plan.job.shifts)))
    if plan and plan.job.weights:
        rows.append(("weights", ", ".join(f"{each:g}" for each in plan.job.weights)))
    phases = report.done.phases if report.done else {}
    rows += [(name, f"{seconds:.2f} s") for name, seconds in phases.items()]
    rows.append(("whole command", f"{report.seconds:.2f} s"))
    tracks = [each for each in report.tracks.values() if isinstance(each, TrackDone)]
    if worked := [each for each in tracks if not each.resumed]:
        first = worked[0]
        seen = sum(each.chunks for each in worked)
        cut = " of all models" if report.is_joint else f" of {first.chunk} samples, hop {first.hop}"
        rows.append(("chunks", f"{seen}{cut}"))
        seconds = sum(each.seconds for each in worked)
        rows.append(("without start", _took(seconds, _audio(worked))))
    return [f"     {line}" for line in table(rows)]


def previews(found: Sequence[Preview]) -> list[str]:
    """Return what a run would do, and where."""
    alike = len({each.files for each in found}) == 1
    lines = []
    for each in found:
        state = f" ({ACTIONS[each.action]})" if ACTIONS[each.action] else ""
        lines.append(f"{near(each.mix)} -> {near(each.out)}{state}")
        if not alike:
            lines.append(f"     {'  '.join(each.files)}")
    if alike:
        files = "  ".join(found[0].files) or "as many stems as the checkpoint has"
        lines.append(f"     {'in each: ' if len(found) > 1 else ''}{files}")
    return lines


def _took(seconds: float, audio: float) -> str:
    return f"{span(seconds)} ({_speed(seconds, audio)})"


def _speed(seconds: float, audio: float) -> str:
    return speed(audio / max(seconds, 1e-9))


def _audio(tracks: Iterable[TrackDone]) -> float:
    return sum(each.frames / each.sample_rate for each in tracks)


def _device(report: Report) -> str:
    """Return where it was done; how, only where that is not the plain way."""
    there = sum(each.device is not None for each in report.workers.values())
    if there > 1:
        return f" by {there} workers"
    told = f" on {places.device(report.device.device)}" if report.device else ""
    ways = list(report.loaded.values())
    used = list(dict.fromkeys(each.precision for each in ways))
    if not (told and used) or used == ["fp32"]:
        return told
    batch = ways[0].batch if len(ways) == 1 else 1
    return f"{told}, {listed(used)}" + (f", {_at_once(batch)}" * (batch > 1))


def _at_once(batch: int) -> str:
    return f"{_count(batch, 'piece')} at once"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
