"""What of the container engine needs no daemon: lines from frames, errors from words, commands."""

import json
import shlex
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sep_launcher.engines import (
    LOG_DRIVER,
    LOG_SIZE,
    PROCESSES,
    SHARED,
    TMP,
    GpuRefusedError,
    Spec,
)
from sep_launcher.engines.docker import container, daemon, docker_run, frames
from sep_launcher.engines.listener import Listener
from sep_launcher.planning.request import bytes_of
from sep_protocol import Hello, Job, Model, dump_event
from sep_protocol.errors import (
    EngineError,
    MemoryLimitError,
    NotReadyError,
    RuntimeFailedError,
    UsageError,
)

SPEC = Spec(
    image="sha256:0123",
    command=("--watch-stdin", "/app/job/job.json"),
    binds=(("/m u/a, 'b\"", "/app/in/0", False), ("/out:x", "/app/out/0", True)),
    environment={"OMP_NUM_THREADS": "2"},
    labels={},
    user="1000:1000",
    groups=(24,),
    gpu=True,
    memory=1 << 30,
)


class _Frames:
    def __init__(self, chunks):
        self.chunks = chunks

    def frames(self):
        yield from self.chunks


@given(
    st.lists(st.tuples(st.booleans(), st.text(st.characters(blacklist_characters="\n\r")))),
    st.randoms(use_true_random=False),
)
def test_lines_whatever_the_chunking(lines, random):
    """Two streams of lines, cut at any byte, even within a character, come out as they were."""
    chunks = []
    for is_out, line in lines:
        data = f"{line}\n".encode("utf-8", "surrogatepass")
        while data:
            size = random.randint(1, len(data))
            chunks.append((is_out, data[:size]))
            data = data[size:]
    heard = []
    frames.pump(_Frames(chunks), heard.append)
    assert heard.pop() is None
    for is_out in (True, False):
        said = [
            line.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
            for each, line in lines
            if each is is_out
        ]
        assert [line for each, line in heard if each is is_out] == said


def test_lines_without_an_end_come_in_pieces():
    chunks = [(True, b"x" * (1 << 20))] * 10 + [(False, b"y" * (1 << 20))] * 2 + [(False, b"\nz")]
    heard = []
    frames.pump(_Frames(chunks), heard.append)
    for is_out, most, text in ((True, 4 << 20, "x" * (10 << 20)), (False, 64 << 10, "")):
        said = [line for each, line in heard[:-1] if each is is_out]
        assert max(map(len, said)) <= most
        assert "".join(said) == (text or "y" * (2 << 20) + "z")


def test_who_goes_away_does_not_hold_the_reader():
    """A listener that stops in the middle leaves no thread behind that waits to be heard."""
    import threading

    lines = frames.lines(_Frames([(True, b"x\n")] * 1000))
    assert next(lines) == (True, "x")
    lines.close()
    for each in threading.enumerate():
        if each is not threading.current_thread() and "pump" in each.name:
            each.join(10)
            assert not each.is_alive()


@pytest.mark.parametrize(
    ("state", "fault", "told", "hint"),
    [
        (
            {"code": 137, "out_of_memory": True, "memory": 1 << 30},
            MemoryLimitError,
            "its limit is 1.0 GiB",
            "--memory",
        ),
        (
            {"code": 137, "out_of_memory": True, "memory": 0},
            MemoryLimitError,
            "the container ran out of memory",
            "--batch 1",
        ),
        (
            {"code": 137, "out_of_memory": False, "memory": 1 << 30},
            RuntimeFailedError,
            "ended by signal 9",
            "may have run out of memory",
        ),
        ({"code": 3, "out_of_memory": False, "memory": 0}, RuntimeFailedError, "code 3", ""),
    ],
)
def test_out_of_memory_is_said_where_it_is_known(state, fault, told, hint):
    """A kill may be anybody's: no limit is made up for it."""
    job = Job(id="0000000a", tracks=(), model=Model(name="m"))
    listener = Listener(job, "who", "mend")
    listener.event(dump_event(Hello(job="x")))
    found = container.vanished(daemon.State(**state), listener)
    assert type(found) is fault
    assert told in found.message
    assert hint in found.hint
    assert ("GiB" in found.message) == (state["out_of_memory"] and bool(state["memory"]))


def test_frames_of_a_real_socket():
    import socket

    ours, theirs = socket.socketpair()
    for stream, body in ((1, b'{"event"'), (2, b"log\n"), (1, b': "x"}\n'), (1, b"")):
        theirs.sendall(struct.pack(">BxxxL", stream, len(body)) + body)
    theirs.close()
    found = list(daemon.Attached(ours).frames())
    assert b"".join(data for is_out, data in found if is_out) == b'{"event": "x"}\n'
    ours.close()


# The words are those of real daemons and hooks, as their users have reported them.
@pytest.mark.parametrize(
    ("said", "fault", "hint"),
    [
        (
            'could not select device driver "" with capabilities: [[gpu]]',
            GpuRefusedError,
            "nvidia-ctk",
        ),
        (
            "nvidia-container-cli: initialization error: nvml error: driver not loaded",
            GpuRefusedError,
            "nvidia-ctk",
        ),
        ("unresolvable CDI devices nvidia.com/gpu=all: unknown", GpuRefusedError, "nvidia-ctk"),
        (
            'invalid mount config for type "bind": bind source path does not exist: /x',
            EngineError,
            "another machine",
        ),
        (
            "Mounts denied: The path /Volumes/x is not shared from the host",
            EngineError,
            "File sharing",
        ),
        ("write /var/lib/docker/x: no space left on device", EngineError, "prune"),
        ("exec /opt/sep/bin/python: exec format error", NotReadyError, "sep setup"),
        ('exec: "/opt/sep": stat /opt/sep: no such file or directory', NotReadyError, "sep setup"),
        ("something new", EngineError, "docker info"),
    ],
)
def test_what_a_daemon_says_is_classified(said, fault, hint):
    found = daemon.of_daemon(said)
    assert type(found) is fault
    assert hint in found.hint
    assert said in found.message or fault is not GpuRefusedError


def test_the_line_for_bash_is_quoted():
    line = docker_run.in_bash(SPEC, ["/out:x"])
    make, run = line.split(" && ")
    assert shlex.split(make) == ["mkdir", "-p", "/out:x"]
    words = shlex.split(run)
    assert 'type=bind,"source=/m u/a, \'b""",target=/app/in/0,readonly' in words
    assert words[-7:-5] == ["--entrypoint", "/opt/sep/bin/python"]
    assert words[-5:] == ["sha256:0123", "-P", "-m", "sep_runtime", "/app/job/job.json"]
    for flag in ("--read-only", "--init", "--gpus", "--group-add", "--memory", "--user"):
        assert flag in words


def test_the_line_for_powershell_is_quoted():
    spec = Spec(
        image="sha256:0123",
        command=(),
        binds=(("C:\\Bob's Music", "/app/in/0", False),),
        environment={},
        labels={},
    )
    line = docker_run.in_powershell(spec, ["C:\\out"])
    assert line.startswith("New-Item -ItemType Directory -Force -Path C:\\out | Out-Null; & docker")
    assert "'type=bind,source=C:\\Bob''s Music,target=/app/in/0,readonly'" in line
    import tree_sitter
    import tree_sitter_powershell

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    assert not parser.parse(line.encode()).root_node.has_error


def test_owners():
    import os

    assert container.owner_of(rootless=False, desktop=False) == f"{os.getuid()}:{os.getgid()}"
    # A rootless engine's root is the user; any other number is somebody who can write nothing.
    assert container.owner_of(rootless=True, desktop=False) == "0:0"
    assert container.owner_of(rootless=False, desktop=True) is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4g", 4 << 30), ("512m", 512 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30)],
)
def test_sizes(size, expected):
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "four", "-1g", "4 t", "100", "5m", "9" * 400 + "g"])
def test_what_is_no_size(size):
    with pytest.raises(UsageError):
        bytes_of(size)


def test_options_of_the_engine_are_named_once():
    """The printed line and the real container come from the same numbers."""
    text = json.dumps(docker_run.arguments(SPEC))
    for value in (TMP, str(PROCESSES), SHARED, LOG_DRIVER, f"max-size={LOG_SIZE}"):
        assert value in text
