"""A run that many workers share: how much it is, its ledger, its pool."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sep_launcher import following
from sep_launcher.library import clusters, ledger, pool, speeds, survey
from sep_launcher.library.shelf import shelf_of
from sep_launcher.planning import names
from sep_protocol.errors import ExitCode, PathError, SepError

if TYPE_CHECKING:
    from sep_launcher.following import Over
    from sep_launcher.library.pool import Make
    from sep_launcher.planning.plan import Plan
    from sep_launcher.planning.request import Request
    from sep_launcher.show.screen import Screen


def on_cluster(request: Request, plan: Plan, over: Over, screen: Screen) -> None:
    """Let the workers of a Ray cluster do what is left of the plan."""
    if request.cluster is not None:
        with clusters.joined(request.cluster, plan, screen) as (workers, make):
            share(request, replace(plan, workers=workers), over, screen, make)


def share(request: Request, plan: Plan, over: Over, screen: Screen, make: Make) -> None:
    """Let many workers do what is left of the plan, and keep a ledger of it."""
    plan = survey.survey(plan, over, screen)
    screen.route(plan)
    hang = pool.hang_seconds()
    kept = _ledger(request, plan, over)
    code: int = ExitCode.INTERRUPTED
    try:
        engine = pool.Pool(make, kept, known=kept.known(), alike=not plan.elsewhere, hang=hang)
        following.tell(over, screen)
        following.sweep(plan, following.left_over(plan.job.tracks), screen)
        following.follow(plan, engine, screen, over)
        code = screen.report.exit_code
    except SepError as fault:
        code = fault.code
        raise
    finally:
        kept.close(code)
        speeds.note(kept.state)


def note(request: Request, plan: Plan, over: Over, screen: Screen) -> None:
    """Note a run that had nothing to do: all was done before, whatever the last one noted.

    One that works there at this moment notes it itself.
    """
    with suppress(PathError):
        _ledger(request, plan, over).close(screen.report.exit_code)


def _ledger(request: Request, plan: Plan, over: Over) -> ledger.Ledger:
    return ledger.begin(
        shelf_of(plan.root, names.NOTES),
        plan.job,
        over,
        shard=str(request.shard or ""),
        work=speeds.work(plan),
        length=sum(size for index, size in enumerate(plan.sizes) if index not in over),
        take_over=request.take_over,
        retry=request.retry_quarantined or not request.output.resume,
    )
