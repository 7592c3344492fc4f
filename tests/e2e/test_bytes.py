"""Names that are no UTF-8, from end to end: old archives, FAT disks, foreign shares."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

CAFE = os.fsdecode(b"caf\xe9")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="no such names there"),
]


@pytest.fixture
def music(tmp_path, noise):
    """`caf\\xe9.wav`, beside a folder of that name with `in.wav` and `caf\\xe9.wav` in it."""
    (tmp_path / CAFE).mkdir()
    for name in (f"{CAFE}.wav", f"{CAFE}/in.wav", f"{CAFE}/{CAFE}.wav"):
        soundfile.write(os.fsencode(tmp_path / name), noise(2, 8000).T, 44100)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "cwd", "folders"),
    [
        ([f"{CAFE}.wav"], "", [f"separated/{CAFE}"]),
        ([f"{CAFE}.wav", "-o", f"{CAFE}/out"], "", [f"{CAFE}/out/{CAFE}"]),
        ([CAFE], "", ["separated/in", f"separated/{CAFE}"]),
        (["c*.wav"], "", [f"separated/{CAFE}"]),
        ([f"{CAFE}/*.wav"], "", ["separated/in", f"separated/{CAFE}"]),
        (["in.wav"], CAFE, [f"{CAFE}/separated/in"]),
        ([f"{CAFE}.wav", "--name", "{track}/{track} {stem}"], "", [f"separated/{CAFE}"]),
    ],
)
def test_they_are_separated(sep, music, with_tiny, args, cwd, folders):
    done = sep("run", *args, "--json", *with_tiny, cwd=music / cwd)
    assert done.stdout.isascii()
    found = json.loads(done.stdout)
    outs = sorted(str(music / each) for each in folders)
    assert sorted(each["out"] for each in found["tracks"]) == outs
    for out in map(Path, outs):
        assert len(list(out.iterdir())) == 6
        report = (out / "sep.json").read_bytes()
        assert report.isascii()
        mix = json.loads(report)["mix"]["path"]
        assert Path(mix).exists()
    assert ("caf\\xe9" in done.stderr) == (not cwd)  # from there it is not named
    again = sep("run", *args, "--resume", "--events", *with_tiny, cwd=music / cwd)
    assert again.stdout.isascii()
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert [each["resumed"] for each in events if each["event"] == "track-done"] == [True] * len(
        folders
    )
    if len(folders) > 1:  # once is enough for each way of naming folders
        sep("run", *args, "--overwrite", *with_tiny, cwd=music / cwd)


def test_a_dry_run_can_be_pasted(sep, music, with_tiny):
    """Also where the job's file is in such a folder."""
    where = {"SEP_HOME": str(music / CAFE / "home")}
    done = sep("run", f"{CAFE}.wav", "-o", CAFE, *with_tiny, "--dry-run", "-v", env=where)
    assert done.stdout.isascii()
    subprocess.run(
        ["bash", "-c", done.stdout], capture_output=True, stdin=subprocess.DEVNULL, check=True
    )
    assert (music / CAFE / CAFE / "kick.wav").exists()


@pytest.mark.parametrize("encoding", ["cp1252:strict", "ascii:strict", "utf-16"])
@pytest.mark.parametrize("option", ["", "--json", "--events", "--dry-run -v"])
def test_any_encoding_of_the_streams_will_do(sep, music, with_tiny, encoding, option):
    (music / f"{CAFE}.wav").rename(music / "曲.wav")
    said = {"text": False, "env": {"PYTHONIOENCODING": encoding}}
    done = sep("run", "曲.wav", *with_tiny, *option.split(), **said)
    text = done.stdout.decode(encoding.partition(":")[0])
    if option in ("--json", "--events"):
        assert [json.loads(line) for line in text.splitlines()]
    assert (music / "separated" / "曲").exists() == ("--dry-run" not in option)


def test_the_system_may_know_ascii_alone(sep, music, with_tiny):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    sep("run", f"{CAFE}.wav", *with_tiny, "--json", env=plain)
    assert (music / "separated" / CAFE / "kick.wav").exists()
