"""A worker of a Ray cluster as an Engine."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sep_launcher.engines import LostError
from sep_launcher.engines.ray import package
from sep_launcher.engines.ray.actor import Actor, load_fault
from sep_launcher.engines.ray.work import dump_work
from sep_protocol import load_event
from sep_protocol.errors import EngineError, NoRouteError, NotReadyError, RuntimeFailedError
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sep_launcher.engines.ray.package import Needs, Node
    from sep_launcher.planning.plan import Plan
    from sep_protocol import Event

STOP_SECONDS = 20.0  # more than a runtime gets to end by itself
KILL_SECONDS = 5.0
STATUS = "`ray status` shows what the nodes have"
SAME = "install the same sep on every node"


class RayEngine:
    """An Engine whose runtime is on some node; Ray restarts the actor, on another one if need be.

    `log` gets the lines that the runtime there writes to its stderr, `may_commit` answers for a
    lease and its track whether stems may be put into an object store.
    """

    def __init__(
        self,
        name: str,
        needs: Needs,
        log: Callable[[str], None] | None = None,
        may_commit: Callable[[str, int], bool] | None = None,
    ) -> None:
        self.name = name
        self._needs = needs
        self._log = log or (lambda _: None)
        self.may_commit = may_commit or (lambda *_: False)
        self._node: Node | None = None  # where it was placed
        self._actor = self._made()

    @property
    def by(self) -> None:
        """One runtime says all that is heard at a time."""

    def _made(self) -> Any:  # noqa: ANN401 (Ray's own)
        gpu = self._needs.gpus > 0
        threads = max(1, self._needs.cpus)
        return package.made(Actor, self.name, self._needs, gpu=gpu, cpus=threads)

    def ready(self) -> str:
        """Wait until the actor is placed; return the node's name.

        Raises NotReadyError where that node has another sep or none, EngineError where the actor
        will never be, NoRouteError where it has left every node that it could be on.
        """
        try:
            told = package.placed(self._actor.describe, self._look)
        except package.GoneError as fault:
            raise _never(str(fault)) from fault
        if (told["version"], told["protocol"]) != (__version__, str(PROTOCOL)):
            raise NotReadyError(
                f"{told['host']} has sep {told['version']} (protocol {told['protocol']}), "
                f"this is {__version__} (protocol {PROTOCOL})",
                hint=SAME,
            )
        here = next((each for each in package.nodes() if each.id == told["node"]), None)
        self._node = here or self._node
        return here.host if here else told["host"]

    def _look(self) -> None:
        """Raise NoRouteError where no node is left but those that are avoided."""
        needs = self._needs
        fit = [n.id for n in package.nodes() if n.cpus >= needs.cpus and n.gpus >= needs.gpus]
        if needs.avoided and set(fit) <= set(needs.avoided):
            raise NoRouteError("no other node of the Ray cluster has room for it", hint=STATUS)

    def start(self, plan: Plan) -> Generator[Event, None, None]:
        """Yield the events; raise LostError where the actor or its node ends, and as `Engine`."""
        self.ready()
        try:
            for kind, text in package.stream(self._actor.work, dump_work(plan)):
                match kind:
                    case "event":
                        if event := load_event(text):
                            yield event
                    case "log":
                        self._log(text)
                    case "ask":
                        self._answer(text)
                    case _:
                        raise load_fault(text)
        except package.GoneError as fault:
            raise self._lost(fault) from fault

    def _answer(self, text: str) -> None:
        lease, track = json.loads(text)
        granted = self.may_commit(lease, track)
        with suppress(package.GoneError, TimeoutError):
            package.ask(self._actor.commit, lease, track, granted=granted, seconds=STOP_SECONDS)

    def _lost(self, fault: package.GoneError) -> RuntimeFailedError:
        """Return who is to blame: a node that lives while its worker was killed, or nobody."""
        where = self._node.host if self._node else "its node"
        if fault.preempted:
            return LostError(f"the node {where} was taken away", blame="nobody")
        if self._node and package.lives(self._node):
            return LostError(
                f"the worker on {where} was killed",
                hint="that node may have run out of memory",
                blame="node",
            )
        return LostError(f"the node {where} is gone", blame="nobody")

    def stop(self) -> None:
        """End the runtime, gently first; the actor stays."""
        self._tell("stop", STOP_SECONDS)

    def kill(self) -> None:
        """End the runtime now, and with it an actor that does not answer."""
        if not self._tell("kill", KILL_SECONDS):
            package.remove(self._actor, restart=True)

    def _tell(self, what: str, seconds: float) -> bool:
        """Say whether the actor did it; one that was never placed has nothing to do."""
        if self._node is None:
            return True
        try:
            package.ask(getattr(self._actor, what), seconds=seconds)
        except TimeoutError:
            return False
        except package.GoneError:
            pass  # and its runtime with it
        return True

    def pause(self) -> None:
        """Do nothing: other machines do not rest because a terminal does."""

    def go_on(self) -> None:
        """Do nothing."""

    def avoid(self) -> None:
        """Leave this node for the rest of the run; `ready` waits for another one."""
        if self._node is not None:
            avoided = (*self._needs.avoided, self._node.id)
            self._needs = package.Needs(
                cpus=self._needs.cpus, gpus=self._needs.gpus, avoided=avoided
            )
        self.close()
        self.name += "+"  # the old one's name may be taken for another moment
        self._node = None
        self._actor = self._made()

    def close(self) -> None:
        """Give the place back, with the runtime on it; a `ready` that waits ends with an error."""
        self._tell("leave", KILL_SECONDS)
        package.remove(self._actor)


def _never(why: str) -> NotReadyError | EngineError:
    if "No module named 'sep_" in why or "No module named 'psutil" in why:
        return NotReadyError("a node of the Ray cluster has no sep", hint=SAME)
    line = next((each for each in reversed(why.splitlines()) if each.strip()), "it has ended")
    return EngineError(f"the worker cannot be started: {line.strip()}")
