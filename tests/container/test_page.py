"""The page drives the container: the same flow, the same stems, nothing left after a cancel."""

import shutil
import time

import pytest
import soundfile
from serving import Served

pytest.importorskip("starlette", reason="the extra `ui` is not installed")


@pytest.fixture
def served(built, environment, tmp_path):
    made = Served(tmp_path, "--port", "0", **environment)
    yield made
    made.end()


def test_a_song_by_the_page_and_one_that_is_cancelled(served, sep, clip, song, tmp_path, seen):
    shutil.copy(clip, tmp_path / "clip.flac")
    options = {"engine": "container", "out": str(tmp_path / "paged"), "bit_depth": "float"}
    task = served.wait(served.run(tmp_path / "clip.flac", **options), "done", within=120)
    assert task["route"] == "container cpu"
    assert task["device"]["device"] == "cpu"
    sep(
        "run",
        tmp_path / "clip.flac",
        "--engine",
        "container",
        "-o",
        "typed",
        "--bit-depth",
        "float",
    )
    for path in (tmp_path / "typed" / "clip").glob("*.wav"):
        one, _ = soundfile.read(path)
        two, _ = soundfile.read(tmp_path / "paged" / "clip" / path.name)
        assert ((one - two) ** 2).sum() <= 1e-9 * (one**2).sum(), path.name
    name = served.run(song, **options)
    seen.until(lambda: any(each["done"] for each in served.task(name)["songs"]), 120)
    begun = time.monotonic()
    served.ask("POST", f"/api/jobs/{name}/cancel")
    served.wait(name, "cancelled", within=30)
    assert time.monotonic() - begun < 20
    seen.nothing_left(tmp_path / "paged")
    assert served.interrupt() == 130
