"""Workers on the nodes of a Ray cluster, as a run's workers."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sep_launcher.machine import storage
from sep_launcher.planning.names import NOTES
from sep_launcher.planning.route import ELSEWHERE
from sep_launcher.planning.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sep_launcher.engines import Engine
    from sep_launcher.library.pool import Make
    from sep_launcher.planning.cluster import ClusterWish
    from sep_launcher.planning.plan import Plan
    from sep_launcher.show.screen import Screen

LOGS = "logs"


@contextmanager
def joined(
    wish: ClusterWish, plan: Plan, screen: Screen
) -> Iterator[tuple[tuple[Worker, ...], Make]]:
    """Give the workers of a cluster, which is left, or has ended, afterwards, and their engines.

    Raises what `Cluster` raises.
    """
    from sep_launcher.engines.ray.cluster import Cluster  # noqa: PLC0415 (few runs need it)
    from sep_launcher.engines.ray.tails import Tails  # noqa: PLC0415

    local = not storage.is_url(plan.root)
    tails = Tails(Path(plan.root, NOTES, LOGS)) if local else None

    screen.meter("joining the Ray cluster" if wish.address else "starting a Ray cluster")
    with Cluster(wish, screen.log) as cluster:
        names: dict[str, str] = {}

        def log(engine: str, line: str) -> None:
            name = names.get(engine, engine)
            screen.log(f"{name}: {line}")
            if tails:
                tails(name, line)

        made = cluster.engines(log)
        names |= {each.name: f"worker-{number}" for number, each in enumerate(made, 1)}
        engines = {names[each.name]: each for each in made}
        workers = tuple(_worker(name, plan) for name in engines)
        screen.meter_end()
        if cluster.dashboard:
            screen.say(f"     Ray's page: http://{cluster.dashboard}")

        def make(worker: Worker, may_store: Callable[[str, int], bool]) -> Engine:
            engine = engines[worker.name]
            engine.may_commit = may_store
            return engine

        yield workers, make


def _worker(name: str, plan: Plan) -> Worker:
    return Worker(
        name=name,
        device=plan.job.device,
        route=ELSEWHERE,
        place="on a Ray cluster",
        precision=plan.job.precision,
        environment={},
    )
