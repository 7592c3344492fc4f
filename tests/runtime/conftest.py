"""A real runtime process on a Job."""

import subprocess
import sys

import pytest

from sep_protocol import Job, Model, Track, dump_job, escaped, load_event


@pytest.fixture
def runtime(tmp_path, tiny):
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
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sep_runtime", *argv, str(tmp_path / "job.json")],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        assert code in (15, 70) or "Traceback" not in done.stderr
        return [load_event(line) for line in done.stdout.splitlines()]

    return run
