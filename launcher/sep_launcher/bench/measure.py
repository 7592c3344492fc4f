"""One combination measured: a runtime of its own, and what it said."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sep_launcher import following, session
from sep_launcher.bench.document import Fault, Row, Whole, fault_of
from sep_launcher.engines import native
from sep_launcher.planning import choice
from sep_launcher.planning import plan as plans
from sep_launcher.planning import route as routes
from sep_launcher.planning.naming import Found
from sep_launcher.show.render import Style, Terminal
from sep_protocol import Benched, Hello, ModelLoaded, Output, TrackFailed
from sep_protocol.errors import RuntimeFailedError, SepError

if TYPE_CHECKING:
    from sep_launcher.bench.document import Nameless
    from sep_launcher.machine.host import Host
    from sep_launcher.planning.choice import Chosen
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.request import Request
    from sep_launcher.planning.workers import By
    from sep_protocol import Bench, Event
    from sep_protocol.job import Format

FORMATS: tuple[Format, ...] = ("wav", "flac")


class Watch(Terminal):
    """A screen that keeps what a bench wants to know."""

    def __init__(self, style: Style) -> None:
        super().__init__(style)
        self.code = ""
        self.loaded: ModelLoaded | None = None
        self.benched: Benched | None = None

    def event(self, event: Event, by: By | None = None) -> None:
        """Show one event, and keep it."""
        match event:
            case Hello():
                self.code = event.code
            case ModelLoaded():
                self.loaded = event
            case Benched():
                self.benched = event
            case _:
                pass
        super().event(event, by)

    @property
    def error(self) -> Fault | None:
        """What ended it."""
        return Fault(**self.report.error) if self.report.error else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bencher:
    """Measures requests, all in the same way."""

    host: Host
    measure: Bench
    whole: bool
    style: Style
    nameless: Nameless

    def row(self, request: Request) -> Row:
        """Return what was measured, or why it was not."""
        watch = Watch(self.style)
        wanted, row = request.wanted, asked(request)
        whole: tuple[Whole, ...] = ()
        try:
            models = choice.choose(request)
            choice.check_here(request, models)
            row = replace(row, model=models.called)
            choice.check(request, models)
            chosen = routes.choose(self.host, wanted)
            device = chosen.device if wanted.device == "auto" else wanted.device
            row = replace(row, engine=chosen.engine, device=device)
            whole = self._measured(request, models, chosen, watch)
        except SepError as fault:
            watch.fault(fault)
        watch.meter_end()
        return self._row(row, watch, whole)

    def _measured(
        self,
        request: Request,
        models: Chosen,
        chosen: routes.Route,
        watch: Watch,
    ) -> tuple[Whole, ...]:
        plan = self._plan(request, models, chosen)
        session.check_ready(plan)
        if chosen.engine == "native" and plan.python:
            native.check_python(plan.python)
        with TemporaryDirectory(prefix="sep-bench-") as folder:
            mix = Path(folder, "mix", "mix.wav")
            mix.parent.mkdir()
            bench = replace(self.measure, mix=str(mix)) if self.whole else self.measure
            plan = replace(plan, job=replace(plan.job, bench=bench))
            following.follow(plan, following.engine_of(plan, watch), watch)
            if not self.whole or watch.error:
                return ()
            return tuple(
                self._whole(request, models, chosen, watch, (mix, form)) for form in FORMATS
            )

    def _plan(
        self,
        request: Request,
        models: Chosen,
        chosen: routes.Route,
        mixes: tuple[Found, ...] = (),
    ) -> Plan:
        return plans.plan(request, self.host, chosen, found=mixes, chosen=models)

    def _whole(
        self,
        request: Request,
        models: Chosen,
        chosen: routes.Route,
        watch: Watch,
        work: tuple[Path, Format],
    ) -> Whole:
        """Return the times of whole commands that write one format; raise a SepError of one."""
        mix, form = work
        took: list[tuple[float, dict[str, float]]] = []
        for number in range(1, self.measure.runs + 1):
            watch.meter(f"whole command, {form}, run {number} of {self.measure.runs}")
            out = mix.parent.parent / f"{form}-{number}"
            asked = replace(request, out=out, output=Output(format=form))
            plan = self._plan(asked, models, chosen, (Found(path=mix, name=PurePath("mix")),))
            quiet = Watch(Style(quiet=True))
            quiet.route(plan)
            begun = time.perf_counter()
            following.follow(plan, following.engine_of(plan, watch), quiet)
            seconds = time.perf_counter() - begun
            _check(quiet)
            took.append((seconds, quiet.report.done.phases if quiet.report.done else {}))
        median, phases = sorted(took, key=lambda each: each[0])[(len(took) - 1) // 2]
        audio = self.measure.seconds
        return Whole(format=form, seconds=median, real_time=audio / median, phases=phases)

    def _row(self, row: Row, watch: Watch, whole: tuple[Whole, ...]) -> Row:
        text = self.nameless.text
        error, used = watch.error, watch.report.device
        return replace(
            row,
            code=watch.code,
            used=used and replace(used, reason=text(used.reason)),
            loaded=watch.loaded,
            bench=watch.benched,
            whole=whole,
            warnings=tuple(map(text, watch.report.warnings)),
            error=error and replace(error, message=text(error.message), hint=text(error.hint)),
        )


def asked(request: Request, fault: SepError | None = None) -> Row:
    """Return a row of which only is known what it is to be, or what stopped it."""
    return Row(
        engine=request.wanted.engine,
        device=request.wanted.device,
        model=PurePath(request.model or "").stem,
        overlap=request.overlap,
        precision=request.precision,
        batch=request.batch,
        error=fault_of(fault) if fault else None,
    )


def _check(watch: Watch) -> None:
    """Raise what ended a whole command, InterruptedJob where it was stopped."""
    if error := watch.error:
        known = {each.__name__: each for each in SepError.__subclasses__()}
        raise known.get(error.error, RuntimeFailedError)(error.message, hint=error.hint)
    for each in watch.report.tracks.values():
        if isinstance(each, TrackFailed):
            raise RuntimeFailedError(f"a whole command failed: {each.message}", hint=each.hint)
