"""The native engine against real child processes that do what a runtime should not."""

import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine.host import Host, Native
from sep_launcher.planning.files import Found
from sep_launcher.planning.plan import plan
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import choose
from sep_protocol import Done, Hello, Model, dump_event
from sep_protocol.errors import NotReadyError, RuntimeFailedError

HELLO = dump_event(Hello(job="x"))
DONE = dump_event(Done(done=1, failed=0, seconds=1.0))


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
            model=Model(name="mdx23c-mini"),
            manifest=None,
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
    events = run(engine_of(f"print('''{HELLO}''')\nprint('''{DONE}''')"))
    assert [type(event) for event in events] == [Hello, Done]
    assert not list((home / "sep" / "cache" / "sep" / "jobs").iterdir())


def test_unknown_events_are_passed_over(engine_of):
    assert (
        len(
            run(
                engine_of(
                    f"print('''{HELLO}''')\nprint('{{\"event\": \"new\"}}')\nprint('''{DONE}''')"
                )
            )
        )
        == 2
    )


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
    code = f"import sys\nsys.stderr.write('x' * 300000)\nprint('''{HELLO}\n{DONE}''')"
    assert len(run(engine_of(code))) == 2
