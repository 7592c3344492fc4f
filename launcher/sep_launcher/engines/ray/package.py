"""The one module that imports Ray; it knows Ray's words and the errors behind them."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sep_protocol.errors import EngineError, NotReadyError, SepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LEAST_STORE = 75 << 20  # bytes of the object store, the least that Ray takes: no audio is in it
PIP = f"{sys.executable} -m pip install 'ray[default]>=2.60,<3'"
LOOK_SECONDS = 5.0  # between two looks at a cluster in which there is no room
AGAIN = 0.2  # seconds between two questions to an actor that is being restarted
REACH_SECONDS = 3.0  # that a living node's raylet may take to answer
KEPT_LINES = 400


class GoneError(Exception):
    """The actor ended while it was asked; `preempted` says that its node was taken away."""

    def __init__(self, why: str, *, preempted: bool, final: bool) -> None:
        super().__init__(why)
        self.preempted = preempted
        self.final = final  # it will not be restarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that lives."""

    id: str
    host: str
    address: str
    port: int  # of its raylet
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a worker takes of its node; `avoided` are the ids of nodes that it must not be on."""

    cpus: int
    gpus: float = 0.0
    avoided: tuple[str, ...] = ()


@contextmanager
def variables(changes: Mapping[str, str], without: tuple[str, ...] = ()) -> Iterator[None]:
    """Have these variables in the environment of this process, which Ray's processes inherit."""
    before = {name: os.environ.get(name) for name in (*changes, *without)}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check() -> None:
    """Raise NotReadyError where Ray is not installed. Nothing is imported."""
    from importlib.util import find_spec  # noqa: PLC0415 (few runs need it)

    if find_spec("ray") is None or find_spec("grpc") is None:
        raise NotReadyError("Ray is not installed beside sep", hint=f"run: {PIP}")


def start(folder: str, *, cpus: int, dashboard: bool, log: Callable[[str], None]) -> str:
    """Start a cluster of this machine alone, and connect to it; raise EngineError.

    Returns the address of its dashboard, nothing without one.
    """
    with nullcontext() if dashboard else _no_usage_process():
        return _init(
            log,
            address="local",
            num_cpus=cpus,
            object_store_memory=LEAST_STORE,
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            _temp_dir=folder,
        )


@contextmanager
def _no_usage_process() -> Iterator[None]:
    """Have Ray start no process for a dashboard that is not wished.

    It does so for its reports of usage alone, and even where these are off that process asks the
    network in which cloud it is. What is returned instead is what a process that failed gives.
    """
    _ray()
    from ray._private import services  # noqa: PLC0415

    starts = getattr(services, "start_api_server", None)
    if starts is None:  # another version of Ray
        yield
        return
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = starts


def connect(address: str, log: Callable[[str], None]) -> None:
    """Connect to somebody's cluster; raise EngineError."""
    _init(log, address=address)


def _init(log: Callable[[str], None], **options: Any) -> str:  # noqa: ANN401 (Ray's own)
    ray = _ray()
    if ray.is_initialized():
        raise EngineError("this process is in a Ray cluster already")
    # What happens to workers is told by us; Ray would write it across the screen.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with suppress(ImportError):
        from ray._private import worker  # noqa: PLC0415

        if hasattr(worker, "print_to_stdstream"):
            worker.print_to_stdstream = lambda data, **_: _tell(data, log)
    try:
        context = ray.init(log_to_driver=False, configure_logging=False, **options)
    except Exception as fault:
        ray.shutdown()
        told = str(fault).strip().partition("\n")[0] or type(fault).__name__
        hint = _mend(str(fault), start=options["address"] == "local")
        raise EngineError(f"Ray: {told}", hint=hint) from fault
    return str(context.dashboard_url or "")


def _mend(told: str, *, start: bool) -> str:
    if "ersion mismatch" in told:
        return "Ray and Python must be of one version on all nodes (docs/cluster.md)"
    if start:
        return "docs/cluster.md says what Ray needs"
    return "sep must run on a node of the cluster: `ray start --address HOST:PORT` makes it one"


def _tell(data: Mapping[str, Any], log: Callable[[str], None]) -> None:
    for line in data.get("lines", ()):
        for each in str(line).splitlines()[:KEPT_LINES]:
            log(each)


def end() -> None:
    """Leave the cluster; one that we started ends with all of its processes."""
    _ray().shutdown()


def nodes() -> list[Node]:
    """Return the nodes that live; each has a name of its own."""
    found = []
    alive = [each for each in _ray().nodes() if each["Alive"]]
    hosts = [str(each["NodeManagerHostname"]) for each in alive]
    for each, host in zip(alive, hosts, strict=True):
        node = str(each["NodeID"])
        own = host if hosts.count(host) == 1 else f"{host}/{node[:6]}"
        resources = each["Resources"]
        found.append(
            Node(
                id=node,
                host=own,
                address=str(each["NodeManagerAddress"]),
                port=int(each["NodeManagerPort"]),
                cpus=float(resources.get("CPU", 0)),
                gpus=float(resources.get("GPU", 0)),
            )
        )
    return found


def lives(node: Node) -> bool:
    """Say whether a node does; Ray itself needs some fifteen seconds to miss one."""
    if all(each.id != node.id for each in nodes()):
        return False
    try:
        socket.create_connection((node.address, node.port), REACH_SECONDS).close()
    except OSError:
        return False
    return True


def made(kind: type, name: str, needs: Needs, **given: Any) -> Any:  # noqa: ANN401 (Ray's own)
    """Return the handle of a new actor, which is placed where there is room for it, or will be."""
    options: dict[str, Any] = {
        "num_cpus": needs.cpus,
        "num_gpus": needs.gpus,
        "max_restarts": -1,
        "max_task_retries": 0,  # what a lost Job costs, and whom, is not Ray's to say
        "max_concurrency": 4,  # `work`, and beside it `stop`, `kill` and `commit`
        "name": name,
    }
    if needs.avoided:
        options["label_selector"] = {"ray.io/node-id": f"!in({','.join(needs.avoided)})"}
    return _ray().remote(kind).options(**options).remote(name, where=here, **given)


def here() -> str:
    """Return the id of the node that this actor is on."""
    return str(_ray().get_runtime_context().get_node_id())


def ask(method: Any, *given: Any, seconds: float | None = None, **named: Any) -> Any:  # noqa: ANN401
    """Return an actor's answer; raise GoneError, and TimeoutError after `seconds`."""
    ray = _ray()
    try:
        return ray.get(method.remote(*given, **named), timeout=seconds)
    except ray.exceptions.GetTimeoutError as fault:
        raise TimeoutError from fault
    except Exception as fault:  # one that was removed is no RayError
        raise _gone(fault) from fault


def placed(method: Any, look: Callable[[], None]) -> Any:  # noqa: ANN401
    """Return an actor's answer, however long it takes until it is placed; raise GoneError.

    `look` is called now and then meanwhile, and may raise.
    """
    ray = _ray()
    while True:
        try:
            asked = method.remote()
            while not ray.wait([asked], timeout=LOOK_SECONDS)[0]:
                look()
            return ray.get(asked)
        except SepError:
            raise
        except Exception as fault:  # one that was removed is no RayError
            gone = _gone(fault)
            if gone.final:
                raise gone from fault
            time.sleep(AGAIN)


def stream(method: Any, *given: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield what an actor yields; raise GoneError where it ends before."""
    ray = _ray()
    try:
        for each in method.options(num_returns="streaming").remote(*given):
            yield ray.get(each)
    except Exception as fault:
        raise _gone(fault) from fault


def remove(actor: Any, *, restart: bool = False) -> None:  # noqa: ANN401
    """End an actor now."""
    with suppress(Exception):  # it has ended, or its cluster has
        _ray().kill(actor, no_restart=not restart)


def _gone(fault: Any) -> GoneError:  # noqa: ANN401
    exceptions = _ray().exceptions
    final = not isinstance(fault, exceptions.ActorUnavailableError)
    told = str(getattr(fault, "error_msg", "") or fault)
    return GoneError(told, preempted=bool(getattr(fault, "preempted", False)), final=final)


def _ray() -> Any:  # noqa: ANN401 (untyped where it is not installed)
    try:
        import ray  # noqa: PLC0415 (half a second, and few have it)
    except ImportError as fault:
        raise NotReadyError(f"Ray cannot be imported: {fault}", hint=f"run: {PIP}") from fault
    return ray
