"""The power goes at any step of a commit: the disk has the old track or the new one, never neither.

A real ext4 on a loop device, whose backing file is copied at every step: what the kernel had not
written by then is not in the copy. Each copy is mounted, and the next run begins on it.
"""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sep_runtime.tracks import Workspace, sweep

STEPS = ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (os, "fsync"), (os, "rmdir"))


def loop_devices():
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return bool(subprocess.check_output(["losetup", "--find"], stderr=subprocess.DEVNULL))
    return False


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (hasattr(os, "getuid") and os.getuid() == 0 and shutil.which("mkfs.ext4")),
        reason="mounting a disk needs root and mkfs.ext4",
    ),
    pytest.mark.skipif(not loop_devices(), reason="there is no free loop device here"),
]


@contextlib.contextmanager
def mounted(image, place):
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def lasting(path, text):
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def names(folder):
    return {path.name for path in folder.iterdir()}


def make(out, text, job, *, report=""):
    """A track in a folder of its own, or with `report` in a shared one."""
    kick = "Song kick.wav" if report else "kick.wav"
    work = Workspace(out, job, 0, report=report)
    lasting(work.new / kick, text)
    settings, stems = {"stem_name": "Song {stem}"}, {"kick": {"file": kick}}
    said = {"made": text, "settings": settings, "stems": stems}
    assert work.commit(said, [kick], replace=True) == ""
    assert work.discard() is None


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("report", ["", "Song sep.json"], ids=["own", "shared"])
def test_power_cut_at_every_step(tmp_path, monkeypatch, before, report):
    image, copies = tmp_path / "disk", []
    kick, ours = ("Song kick.wav", report) if report else ("kick.wav", "sep.json")
    image.write_bytes(b"")
    os.truncate(image, 24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    def cut():
        copies.append(tmp_path / f"copy{len(copies)}")
        subprocess.run(["cp", "--sparse=always", str(image), str(copies[-1])], check=True)

    with mounted(image, tmp_path / "disk.d") as disk:
        if before or report:
            (disk / "song").mkdir()
        if before:
            make(disk / "song", "old", "00000001", report=report)
            lasting(disk / "song" / "notes.txt", "mine")
        os.sync()
        with monkeypatch.context() as patched:
            for owner, name in STEPS:
                real = getattr(owner, name)

                def step(*args, real=real, **options):
                    found = real(*args, **options)
                    cut()
                    return found

                patched.setattr(owner, name, step)
            make(disk / "song", "new", "00000002", report=report)
        cut()
        os.sync()
        cut()

    seen = []
    for copy in copies:
        with mounted(copy, tmp_path / "copy.d") as disk:
            song = disk / "song"
            assert sweep(song if report else disk) == []
            mine = {"notes.txt"} if before else set()
            if before or (song / ours).exists():
                assert names(song) == {kick, ours} | mine
                made = json.loads((song / ours).read_text())["made"]
                assert (song / kick).read_text() == made
                seen.append(made)
            else:
                assert not song.exists() or names(song) == set()
            make(song, "again", "00000003", report=report)
            assert names(disk) - {"lost+found"} == {"song"}
            assert names(song) == {kick, ours} | mine
            assert not before or (song / "notes.txt").read_text() == "mine"
        copy.unlink()
    assert "new" in seen
    assert ("old" in seen) == before
    print(
        f"\n{len(copies)} power cuts: {seen.count('old')} old tracks, {seen.count('new')} new ones"
    )
