"""A Ray cluster for one run: one that is there, or one that is started on this machine alone."""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from sep_launcher.engines.ray import access, package
from sep_launcher.engines.ray.engine import RayEngine
from sep_launcher.engines.ray.guard import guarded
from sep_launcher.engines.ray.package import Needs
from sep_launcher.machine import probe
from sep_protocol.errors import DeviceError, EngineError, NoRouteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sep_launcher.engines.ray.package import Node
    from sep_launcher.planning.cluster import ClusterWish

CPU_THREADS = 2  # of a worker without a GPU: more workers do more than more threads
MOST_THREADS = 8  # of one with a GPU, which reads and writes audio with them
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Cluster:
    """A context; within it there are workers. A cluster that it started has ended after it.

    `name` is of this run: its workers are `<name>-0` and so on.
    """

    def __init__(self, wish: ClusterWish, log: Callable[[str], None] | None = None) -> None:
        self.name = f"sep-{secrets.token_hex(4)}"
        self.dashboard = ""  # its address, where this started one
        self._wish = wish
        self._log = log or (lambda _: None)
        self._made: list[RayEngine] = []
        self._end = ExitStack()

    def __enter__(self) -> Self:
        """Connect or start.

        Raises NotReadyError where Ray is not installed, EngineError where a cluster cannot be
        reached, used or started, UsageError for an address of another kind.
        """
        package.check()
        address = self._wish.address
        if address is None:
            address = os.environ.get("RAY_ADDRESS") or None
        with ExitStack() as undone:
            if address is not None:
                self._join(checked(address, sys.platform), undone)
            else:
                self._start(undone)
            self._end = undone.pop_all()
        return self

    def _join(self, address: str, undone: ExitStack) -> None:
        given = access.for_foreign(address, insecure=self._wish.insecure)
        undone.enter_context(package.variables(given, without=("RAY_ADDRESS",)))
        package.connect(address, self._log)
        undone.callback(package.end)

    def _start(self, undone: ExitStack) -> None:
        token = access.token_file()
        undone.enter_context(guarded(token))
        given = access.for_own(token)
        undone.enter_context(package.variables(given, without=access.NOT_OWN))
        self.dashboard = package.start(
            str(token.parent / "ray"),
            cpus=max(1, int(probe.cores())),
            dashboard=self._wish.dashboard,
            log=self._log,
        )
        undone.callback(package.end)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers, and the cluster if it is ours."""
        with self._end:
            ending = [threading.Thread(target=each.close, daemon=True) for each in self._made]
            for each in ending:
                each.start()
            for each in ending:
                each.join()
            self._made = []

    def engines(
        self,
        log: Callable[[str, str], None] | None = None,
        may_commit: Callable[[str, int], bool] | None = None,
    ) -> list[RayEngine]:
        """Return the workers; those that have no room yet wait for it in their `ready`.

        `log` gets a worker's name and a line of its runtime's stderr. Raises DeviceError where GPUs
        were named and there are none, NoRouteError where no node has room for any worker.
        """
        count, needs = places(package.nodes(), self._wish)

        def log_of(name: str) -> Callable[[str], None] | None:
            return (lambda line: log(name, line)) if log else None

        names = [f"{self.name}-{index}" for index in range(count)]
        self._made += (RayEngine(name, needs, log_of(name), may_commit) for name in names)
        return list(self._made)


def checked(address: str, system: str) -> str:
    """Return HOST:PORT; raise UsageError for another kind, EngineError where Ray has no cluster."""
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is of Ray's client, which sep does not use",
            hint="run sep on a node of the cluster, with --address HOST:PORT of its head",
        )
    if not re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):[0-9]{1,5}", address):
        raise UsageError(f"{address!r} is no address", hint="--address HOST:PORT of the head")
    host = address.rpartition(":")[0]
    if system in ("darwin", "win32") and host not in LOOPBACK:
        name = {"darwin": "macOS", "win32": "Windows"}[system]
        raise EngineError(
            f"Ray has no clusters of several machines with {name}",
            hint="run sep on a Linux node of the cluster, or leave out --address",
        )
    return address


def places(nodes: Sequence[Node], wish: ClusterWish) -> tuple[int, Needs]:
    """Return how many workers there will be, and what each takes of its node. Pure."""
    gpus = [each for each in nodes if each.gpus >= 1]
    named = wish.workers is not None
    if wish.device == "cuda" and not gpus and not named:
        raise DeviceError("no node of the Ray cluster has a GPU", hint="ray status shows them")
    if wish.device != "cpu" and (gpus or wish.device == "cuda"):
        fits = sum(int(each.gpus) * wish.gpu_share for each in gpus)
        shares = [each.cpus // (int(each.gpus) * wish.gpu_share) for each in gpus]
        # Of nodes that an autoscaler is still to begin nothing is known.
        cpus = wish.cpus or int(min([*shares, MOST_THREADS] if shares else [CPU_THREADS]))
        # Ray counts in ten-thousandths: three thirds must not be more than one.
        share = 1.0 if wish.gpu_share == 1 else int(10000 / wish.gpu_share) / 10000
        return wish.workers or fits, Needs(cpus=cpus, gpus=share)
    sizes = [int(each.cpus) for each in nodes if each.cpus >= 1]
    cpus = wish.cpus or min([*sizes, CPU_THREADS])
    fits = sum(size // cpus for size in sizes)
    if not fits and not named:
        raise NoRouteError(
            f"no node of the Ray cluster has {cpus} CPUs for a worker",
            hint="`ray status` shows what the nodes have",
        )
    return wish.workers or fits, Needs(cpus=cpus)
