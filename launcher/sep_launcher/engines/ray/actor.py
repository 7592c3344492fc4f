"""What runs on a node: parents the runtime there, speaks Job and Event with it, knows no tensors.

Ray makes an actor of it; nothing here imports Ray. Each node uses its own sep: its Python with
torch, its models. The actor is restarted by Ray, its runtime by itself.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

import sep_models
import sep_protocol.errors as known
from sep_launcher.engines import native, staging
from sep_launcher.engines.ray.work import load_work
from sep_launcher.engines.serving import Serving
from sep_launcher.engines.staged import Staged
from sep_launcher.machine import probe as probes
from sep_launcher.machine import storage
from sep_launcher.planning import models, places, precisions
from sep_launcher.planning.environment import environment
from sep_launcher.planning.plan import Plan
from sep_launcher.planning.route import Kind, Route, Wanted
from sep_protocol import Progress, code, dump_event
from sep_protocol.errors import ModelError, NotReadyError, PathError, RuntimeFailedError, SepError
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sep_launcher.engines import Engine
    from sep_launcher.engines.ray.work import Work
    from sep_launcher.machine.host import Host
    from sep_protocol import Event, Model

MARK = "SEP_RAY_WORKER"  # whose runtime a process is, in its environment
LEFT_SECONDS = 3.0  # that a dead actor's runtime may take to end by itself
LOOK_SECONDS = 0.5  # between two looks at the parent
PROGRESS_SECONDS = 1.0
Kinds = Literal["event", "log", "ask", "fault"]
Item = tuple[Kinds, str]  # an Event, a line of the log, a wish to commit, an error; as text


class Actor:
    """One worker's end on a node; `gpu` says that Ray gave it one, `cpus` are its threads.

    `where` gives Ray's name of the node.
    """

    def __init__(self, name: str, *, gpu: bool, cpus: int, where: Callable[[], str]) -> None:
        os.environ.pop("RAY_AUTH_TOKEN", None)  # no child needs it
        self._name = name
        self._gpu = gpu
        self._cpus = cpus
        self._where = where
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._busy = threading.Lock()
        self._granted: dict[tuple[str, int], bool] = {}
        self._answered = threading.Condition()
        self._ended = False  # whether nobody waits for the driver any more
        self._raylet = os.getppid()
        self._host: Host | None = None
        self._runtime = Serving(self._log, group=False)
        self._engine: Engine = self._runtime  # or what is around it where stores are
        self._room = ExitStack()  # where their mixes and stems are staged
        clear(name)
        threading.Thread(target=self._watch, daemon=True).start()

    def describe(self) -> dict[str, str]:
        """Return who this is."""
        return {
            "version": __version__,
            "protocol": str(PROTOCOL),
            "code": code.digest(),
            "host": platform.node(),
            "node": self._where(),
            "pid": str(os.getpid()),
        }

    def work(self, text: str) -> Iterator[Item]:
        """Do a `Work`; yield what happens, the last is an error or the runtime's last word."""
        items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        with self._busy:  # a driver that lost us may come back before the last Job has ended
            self._items = items
            threading.Thread(target=self._do, args=(text, items), daemon=True).start()
            while (item := items.get()) is not None:
                yield item

    def stop(self) -> None:
        """End the runtime, gently first."""
        self._ask_no_more()
        self._engine.stop()

    def kill(self) -> None:
        """End it now."""
        self._ask_no_more()
        self._engine.kill()

    def _ask_no_more(self) -> None:
        """Let go of who waits for the driver's word, until the next Job."""
        with self._answered:
            self._ended = True
            self._answered.notify_all()

    def leave(self) -> None:
        """End the runtime now; nothing of this worker is left on the node's disk."""
        self.kill()
        self._room.close()

    def commit(self, lease: str, track: int, *, granted: bool) -> None:
        """Take the driver's word on whether a lease's track may be committed."""
        with self._answered:
            self._granted[lease, track] = granted
            self._answered.notify_all()

    def may_commit(self, lease: str, track: int) -> bool:
        """Ask the driver, and wait; an attempt that was given up gets a no, or no answer at all."""
        self._items.put(("ask", json.dumps([lease, track])))
        with self._answered:
            # Without an end: a driver at rest answers late, and no answer is no no.
            self._answered.wait_for(lambda: self._ended or (lease, track) in self._granted)
            return self._granted.pop((lease, track), False)

    def _do(self, text: str, items: queue.SimpleQueue[Item | None]) -> None:
        if sys.platform != "win32":  # Ray blocks it, a child inherits that, and would not stop
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._ended = False
        try:
            thin = Thin()
            plan = self._plan(load_work(text))
            for event in self._engine_of(plan).start(plan):
                if thin.passes(event):
                    items.put(("event", dump_event(event)))
        except SepError as fault:
            self._fail(items, fault)
        except Exception as fault:  # noqa: BLE001 (told to the driver, whatever it is)
            self._fail(items, RuntimeFailedError(f"unexpected {type(fault).__name__}: {fault}"))
        else:
            items.put(None)

    def _fail(self, items: queue.SimpleQueue[Item | None], fault: SepError) -> None:
        """Tell an error; but a runtime that ends with the node says nothing of its track."""
        if not self._is_cut_off():
            items.put(("fault", dump_fault(fault)))
            items.put(None)

    def _log(self, line: str) -> None:
        self._items.put(("log", line))

    def _engine_of(self, plan: Plan) -> Engine:
        """Return the engine for a plan.

        Raises NotReadyError where this node cannot reach stores, PathError where it has no room.
        """
        if not plan.is_remote or self._engine is not self._runtime:
            return self._engine
        _check_stores(plan)
        share = min(1.0, self._cpus / probes.cores())  # the node's other workers have the rest
        room = self._room.enter_context(staging.held(plan.stage, plan.stage_limit, share=share))
        self._engine = Staged(self._runtime, room, may_commit=self.may_commit)
        return self._engine

    def _plan(self, work: Work) -> Plan:
        """Return the Plan of this node; raise NotReadyError or ModelError where it cannot do it."""
        if self._host is None:
            self._host = probes.probe(ask_torch=self._gpu)
        host, job = self._host, work.job
        if host.native is None:
            self._host = None  # somebody may set it up meanwhile
            raise NotReadyError(
                f"no Python environment with torch is set up on {platform.node()}",
                hint="run there: sep setup --engine native",
            )
        native.check_python(host.native.python)
        device: Kind = "cpu"
        if self._gpu:
            device = "mps" if host.apple_gpu else "cuda"
        route = Route(engine="native", device=device, reason="Ray placed it", ready=True)
        variables = {**environment(host, route, self._cpus), MARK: self._name}
        if not self._gpu:
            variables["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all of them to see
        return Plan(
            job=replace(
                job,
                host=platform.node(),
                device=device,
                model=_here(job.model),
                beside=tuple(map(_here, job.beside)),
                from_mix=_here(job.from_mix) if job.from_mix else None,
                precision=precisions.resolved(job.precision, host, route),
            ),
            route=route,
            expects="",
            place=places.place(host, route, Wanted(device=device)),
            stems=work.stems,
            sources={each.url: each for each in work.sources},
            stage=work.stage,
            stage_limit=work.stage_limit,
            environment=variables,
            python=host.native.python,
            isolated=host.native.source == "setup",
        )

    def _is_cut_off(self) -> bool:
        return sys.platform != "win32" and os.getppid() != self._raylet

    def _watch(self) -> None:
        """End with the raylet: cut off from the cluster, we would work on for its other node."""
        if sys.platform == "win32":
            return
        while not self._is_cut_off():
            time.sleep(LOOK_SECONDS)
        threading.Timer(LEFT_SECONDS, os._exit, (1,)).start()  # whatever keeps us
        try:
            self.leave()
        finally:
            os._exit(1)


class Thin:
    """Lets one Progress a second pass, and every other event."""

    def __init__(self) -> None:
        self._last = -PROGRESS_SECONDS

    def passes(self, event: Event) -> bool:
        """Say whether an event is to be told."""
        if not isinstance(event, Progress):
            return True
        now = time.monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return False
        self._last = now
        return True


def dump_fault(fault: SepError) -> str:
    """Return an error as JSON, by the nearest class that other machines know."""
    kind = next(each for each in type(fault).__mro__ if hasattr(known, each.__name__))
    told = {
        "error": kind.__name__,
        "message": fault.template,
        "hint": fault.hint,
        "path": fault.path,
        "command": fault.command,
    }
    return json.dumps(told)


def load_fault(text: str) -> SepError:
    """Return the error that `dump_fault` wrote."""
    told = json.loads(text)
    kind: type[SepError] = getattr(known, told["error"])
    return kind(told["message"], told["hint"], told["path"], command=told["command"])


def clear(name: str) -> None:
    """End the runtime of a worker of this name that died on this node: it may hold the GPU."""
    left = [each for each in psutil.process_iter() if _is_of(each, name)]
    _, alive = psutil.wait_procs(left, timeout=LEFT_SECONDS)
    for each in alive:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(alive, timeout=LEFT_SECONDS)


def _is_of(process: psutil.Process, name: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == name
    except (psutil.Error, OSError):  # another user's, or gone
        return False


def _check_stores(plan: Plan) -> None:
    """Raise NotReadyError where this node cannot reach a plan's stores: every track would fail."""
    urls = [url for each in plan.job.tracks for url in (each.audio, each.out)]
    try:
        for bucket in {"/".join(each.split("/")[:3]) for each in urls if storage.is_url(each)}:
            storage.check_bucket(bucket)
    except PathError as fault:
        told = f"on {platform.node()} {fault.message}"
        raise NotReadyError(told, hint=fault.hint) from fault


def _here(model: Model) -> Model:
    """Return the model with where it lies on this node; raise ModelError where it does not."""
    if model.checkpoint is not None:
        files = [Path(each) for each in (model.checkpoint, model.settings) if each]
        try:
            models.check_readable(*files)
        except PathError as fault:
            raise ModelError(
                f"on {platform.node()} {fault.message}",
                hint="put it where all nodes see it, or import it on each: sep models import",
            ) from fault
        return model
    if model.folder is None:
        return model
    with suppress(ModelError):
        if own := models.folder(models.known(model.name)):
            return replace(model, folder=str(own))
    if Path(model.folder, sep_models.WEIGHTS).is_file():
        return model
    raise ModelError(
        f"the model {model.name} is not installed on {platform.node()}",
        hint=f"run there: sep models pull {model.name}, or bring the file that it was imported of",
    )
