"""A real runtime process on a Job."""

import json
import os
import subprocess
import sys

import pytest
import torch

from sep_protocol import Job, Model, Track, dump_job, escaped, load_event

# Imports torch once and forks for every job: starting Python anew takes ten times as long as the
# job does. It has run nothing before it forks, so no thread is lost in the child.
FORKS = """
import json, os, sys
import sep_runtime.separate
from sep_runtime import __main__
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in enumerate(order["standard"]):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["sep_runtime", *order["argv"]]
        code = 1
        try:
            code = __main__.main(sys.argv[1:])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session", autouse=True)
def kept(tmp_path_factory):
    """What is tuned stays in a home of the tests; every worker of them has one thread.

    Small networks on two of each wait for each other far longer than they compute.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEP_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def forks():
    """Run `python -m sep_runtime ARGUMENTS`; returns exit code, standard output and stderr."""
    command = [sys.executable, "-P", "-c", FORKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def run(folder, *argv):
            standard = [os.devnull, str(folder / "events"), str(folder / "log")]
            server.stdin.write(json.dumps({"argv": argv, "standard": standard}) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            return code, (folder / "events").read_text(), (folder / "log").read_text()

        yield run
        server.stdin.close()


@pytest.fixture
def runtime(tmp_path, tiny, forks):
    """Run a Job on the tiny network in a real process."""

    def run(*audio, code=0, argv=(), model=None, shared=False, **options):
        model = model or Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]))
        tracks = tuple(
            Track(
                audio=str(path),
                out=str(tmp_path / "out" if shared else tmp_path / "out" / path.stem),
                shared=shared,
                stem_name=escaped(path.stem) + " {stem}" if shared else "{stem}",
            )
            for path in audio
        )
        job = Job(id="00001234", tracks=tracks, model=model, **options)
        (tmp_path / "job.json").write_text(dump_job(job))
        ended, out, err = forks(tmp_path, *argv, str(tmp_path / "job.json"))
        assert ended == code, err + out
        assert code in (15, 70) or "Traceback" not in err
        return [load_event(line) for line in out.splitlines()]

    return run
