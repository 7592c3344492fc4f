"""A runtime that is kept, against real children that do what one should not."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sep_launcher.engines.serving import Serving
from sep_launcher.machine.host import Host, Native
from sep_launcher.planning.choice import only
from sep_launcher.planning.naming import Found
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import choose
from sep_protocol import Done, Failed, Hello, Model, TrackDone, TrackFailed
from sep_protocol.errors import NotReadyError, RuntimeFailedError

spec = importlib.util.spec_from_file_location(
    "fake_runtime", Path(__file__).parent.parent / "fake_runtime.py"
)
fake_runtime = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_runtime)


@pytest.fixture
def engine(home):
    made = Serving()
    yield made
    made.stop()


@pytest.fixture
def plan_of(home, tmp_path, monkeypatch):
    """A plan for a track of a name, each with an id of its own."""
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("SEP_FAKE_NOTES", str(tmp_path / "notes"))
    python = fake_runtime.installed(tmp_path)

    def make(name):
        host = Host(system="linux", native=Native(python=python, source="own"))
        found = Found(path=tmp_path / f"{name}.wav", name=Path(name))
        request = Request(files=("x",), out=tmp_path / "out")
        return plan(
            request, host, choose(host), found=[found], chosen=only(Model(name="mdx23c-mini"))
        )

    return make


def kinds(events):
    return [type(each) for each in events if type(each) in (Hello, TrackDone, TrackFailed, Done)]


def test_one_process_does_many_plans_and_loads_once(engine, plan_of, tmp_path):
    for number in range(3):
        assert kinds(engine.start(plan_of(f"ok-{number}"))) == [Hello, TrackDone, Done]
    notes = [each["what"] for each in fake_runtime.notes(tmp_path / "notes")]
    assert notes.count("start") == 1
    assert notes.count("load") == 1


def test_a_track_that_fails_ends_nothing(engine, plan_of):
    assert kinds(engine.start(plan_of("fail"))) == [Hello, TrackFailed, Done]
    pid = engine.pid
    assert kinds(engine.start(plan_of("ok"))) == [Hello, TrackDone, Done]
    assert engine.pid == pid


def test_one_that_died_is_replaced(engine, plan_of):
    with pytest.raises(RuntimeFailedError, match="signal 9"):
        list(engine.start(plan_of("crash")))
    assert engine.pid is None
    assert kinds(engine.start(plan_of("ok"))) == [Hello, TrackDone, Done]


def test_one_that_died_between_two_plans_is_replaced(engine, plan_of):
    list(engine.start(plan_of("ok-1")))
    os.kill(engine.pid, signal.SIGKILL)
    while engine.pid is not None:  # a process whose threads still end is no dead one yet
        pass
    assert kinds(engine.start(plan_of("ok-2"))) == [Hello, TrackDone, Done]


def test_a_job_that_failed_ends_its_process(engine, plan_of):
    events = list(engine.start(plan_of("model")))
    assert isinstance(events[-1], Failed)
    assert events[-1].code == 16
    assert engine.pid is None
    assert kinds(engine.start(plan_of("ok"))) == [Hello, TrackDone, Done]


def test_who_does_not_listen_to_the_end_gets_another_process(engine, plan_of):
    heard = engine.start(plan_of("slow-20s"))
    next(heard)
    pid = engine.pid
    heard.close()
    assert kinds(engine.start(plan_of("ok"))) == [Hello, TrackDone, Done]
    assert engine.pid != pid
    assert not psutil.pid_exists(pid)


def test_an_idle_one_ends_at_once_and_a_busy_one_soon(engine, plan_of):
    list(engine.start(plan_of("ok")))
    pid = engine.pid
    engine.stop()
    assert not psutil.pid_exists(pid)
    heard = engine.start(plan_of("slow-20s"))
    next(heard)
    pid = engine.pid
    engine.stop()
    assert not psutil.pid_exists(pid)


def test_another_version_is_refused(engine, plan_of, monkeypatch):
    monkeypatch.setenv("SEP_FAKE_VERSION", "0.0.1")
    with pytest.raises(NotReadyError, match=r"0\.0\.1"):
        list(engine.start(plan_of("ok")))


def test_a_python_that_is_not_there(engine, plan_of):
    with pytest.raises(NotReadyError, match="cannot be started"):
        list(engine.start(replace(plan_of("ok"), python="/nowhere/python")))
