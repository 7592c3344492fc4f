"""The native engine against real child processes that do what a runtime should not."""

import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import paths
from sep_launcher.machine.host import Host, Native
from sep_launcher.planning.choice import only
from sep_launcher.planning.naming import Found
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import choose
from sep_protocol import (
    Bench,
    Done,
    Failed,
    Hello,
    Model,
    ModelLoaded,
    Phase,
    TrackDone,
    TrackFailed,
    Warned,
    dump_event,
)
from sep_protocol.errors import DeviceError, NotReadyError, RuntimeFailedError

HELLO = dump_event(Hello(job="x"))
FAILED_TRACK = dump_event(TrackFailed(track=0, error="AudioError", message="m"))
DONE = dump_event(Done(done=0, failed=1, seconds=1.0))
LAST = f"print('''{FAILED_TRACK}\n{DONE}''', flush=True)\nraise SystemExit(1)"
TRACK = TrackDone(
    track=0,
    out="/",
    stems={},
    frames=1,
    sample_rate=44100,
    chunk=1,
    hop=1,
    chunks=1,
    seconds=1.0,
)


@pytest.fixture
def engine_of(home, tmp_path):
    """An engine whose Python runs the given code instead of the runtime, and its plan."""

    def make(code):
        script = tmp_path / "python"
        body = tmp_path / "body.py"
        body.write_text(code)
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {body} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        host = Host(system="linux", native=Native(python=str(script), source="own"))
        found = Found(path=Path("/music/song.wav"), name=PurePath("song"))
        request = Request(files=("x",), out=tmp_path / "out")
        made = plan(
            request,
            host,
            choose(host),
            found=[found],
            chosen=only(Model(name="mdx23c-mini")),
        )
        return NativeEngine(), made

    return make


def run(engine_and_plan):
    engine, made = engine_and_plan
    try:
        return list(engine.start(made))
    finally:
        engine.stop()


def test_events_come_through_and_the_job_is_gone_afterwards(engine_of, home):
    events = run(engine_of(f"print('''{HELLO}''')\n{LAST}"))
    assert [type(event) for event in events] == [Hello, TrackFailed, Done]
    assert not list(paths.jobs().iterdir())


def test_unknown_events_are_passed_over(engine_of):
    code = f"print('''{HELLO}''')\nprint('{{\"event\": \"new\"}}')\n{LAST}"
    assert len(run(engine_of(code))) == 3


@pytest.mark.parametrize(
    ("code", "fault", "told"),
    [
        ("print('hello')", RuntimeFailedError, "protocol"),
        (f"print('''{DONE}''')", RuntimeFailedError, "hello first"),
        (f"print('''{HELLO}''')", RuntimeFailedError, "code 0 without a last word"),
        ("import sys; sys.exit(3)", RuntimeFailedError, "code 3"),
        ("raise SystemExit('No module named sep_runtime')", NotReadyError, "cannot run sep"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            RuntimeFailedError,
            "signal 9",
        ),
        (
            f"print('''{HELLO.replace('0.1.0', '0.0.9')}''')",
            NotReadyError,
            "has sep 0.0.9",
        ),
    ],
)
def test_runtimes_that_fail_are_told_apart(engine_of, code, fault, told):
    with pytest.raises(fault, match=told):
        run(engine_of(code))


@pytest.mark.parametrize(
    ("wanted", "real", "fine"),
    [("auto", "fp16", True), ("fp16", "fp16", True), ("fp16", "fp32", False)],
)
def test_a_precision_that_was_named_is_never_replaced(engine_of, wanted, real, fine):
    loaded = dump_event(ModelLoaded(precision=real, batch=1))
    engine, made = engine_of(f"print('''{HELLO}\n{loaded}''')\n{LAST}")
    plan_of = engine, replace(made, job=replace(made.job, precision=wanted))
    if fine:
        assert ModelLoaded(precision=real, batch=1) in run(plan_of)
        return
    with pytest.raises(DeviceError, match="fp16 cannot be had: the runtime computes in fp32"):
        run(plan_of)


def test_a_python_that_is_not_there(engine_of):
    engine, made = engine_of("")
    with pytest.raises(NotReadyError, match="cannot be started"):
        list(engine.start(replace(made, python="/nowhere/python")))


def test_kill_signal_hints_at_memory(engine_of):
    with pytest.raises(RuntimeFailedError) as caught:
        run(engine_of("import os; os.kill(os.getpid(), 9)"))
    assert "memory" in caught.value.hint


def test_stop_ends_a_runtime_that_ignores_everything(engine_of, monkeypatch):
    monkeypatch.setattr(
        "sep_launcher.engines.native.STEPS", (("interrupt", 0.3), ("terminate", 0.3))
    )
    engine, made = engine_of(
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print('''{HELLO}''', flush=True)\n"
        "time.sleep(600)\n"
    )
    events = engine.start(made)
    next(events)
    begun = time.monotonic()
    engine.stop()
    assert time.monotonic() - begun < 30
    pid = engine._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_much_on_stderr_does_not_block(engine_of):
    code = f"import sys\nsys.stderr.write('x' * 300000)\nprint('''{HELLO}''')\n{LAST}"
    assert len(run(engine_of(code))) == 3


def said(*events, code=0):
    lines = [each if isinstance(each, str) else dump_event(each) for each in events]
    return f"print({chr(10).join([HELLO, *lines])!r}, flush=True)\nraise SystemExit({code})"


WRONG = TrackFailed(track=0, error="AudioError", message="m")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (said(Done(done=0, failed=0, seconds=1.0)), "reported 0 of 1 tracks"),
        (said(Done(done=1, failed=0, seconds=1.0)), "counts other tracks"),
        (said(TRACK, Done(done=0, failed=1, seconds=1.0), code=1), "counts other tracks"),
        (said(TRACK, TRACK, Done(done=2, failed=0, seconds=1.0)), "reported track 0 twice"),
        (said(WRONG, TRACK, Done(done=1, failed=1, seconds=1.0)), "reported track 0 twice"),
        (said(replace(TRACK, track=1)), "no track 1"),
        (said(Phase(name="separate", track=7)), "no track 7"),
        (said(Warned(message="m", track=7)), "no track 7"),
        (said(TRACK, Done(done=1, failed=0, seconds=1.0), TRACK), "after its last word"),
        (said(Failed(code=14, error="E", message="m"), HELLO, code=14), "after its last word"),
        (said(replace(TRACK, out="/nowhere/x")), "it is not there"),
        (said(TRACK, Done(done=1, failed=0, seconds=1.0), code=3), "code 3 after its last word"),
        (said(WRONG, Done(done=0, failed=1, seconds=1.0), code=0), "code 0 after its last word"),
        (said(Failed(code=14, error="E", message="m"), code=0), "code 0 after its last word"),
        (said('{"event": ' + "[" * 100000), "protocol"),
        (said(dump_event(TRACK).replace("44100", "0")), "protocol"),
        (said('{"event": "failed", "code": 256, "error": "E", "message": "m"}'), "protocol"),
        (said('{"event": "failed", "code": 0, "error": "E", "message": "m"}'), "protocol"),
    ],
)
def test_runtimes_that_say_what_cannot_be_are_refused(engine_of, code, told):
    with pytest.raises(RuntimeFailedError, match=told):
        run(engine_of(code))


def test_a_bench_that_measures_nothing_is_refused(engine_of):
    engine, made = engine_of(said(Done(done=0, failed=0, seconds=1.0)))
    made = replace(made, job=replace(made.job, tracks=(), bench=Bench()))
    with pytest.raises(RuntimeFailedError, match="measured nothing"):
        run((engine, made))


def test_a_line_without_an_end_does_not_fill_the_memory(engine_of):
    """200 MB on each stream cost a few, and the run ends."""
    endless = "import sys\nfor _ in range(200): sys.{}.write('x' * (1 << 20))\n"
    with pytest.raises(RuntimeFailedError, match="not JSON"):
        run(engine_of(f"print('''{HELLO}''')\n" + endless.format("stdout")))
    heard = []
    engine, made = engine_of(endless.format("stderr") + f"print('''{HELLO}''')\n{LAST}")
    engine._log = lambda line: heard.append(len(line))
    assert len(run((engine, made))) == 3
    assert sum(heard) == 200 << 20
    assert max(heard) <= 64 << 10
