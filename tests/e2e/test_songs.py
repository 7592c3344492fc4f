"""Whole songs by real commands: a song's drums, their parts, and what they leave of it."""

import json

import numpy as np
import pytest
import soundfile

KIT = ("kick", "snare", "toms", "hihat", "cymbals")
SONG = ("drums", "bass", "other", "vocals")
CHAIN = ("--from-mix", "--model", "toy-kit")


@pytest.fixture
def song(tmp_path, noise, toys):
    """A song of a second and a half, in float: then no stem is rounded or clipped."""
    mix = noise(2, 66000).T
    soundfile.write(tmp_path / "song.wav", mix, 44100, subtype="FLOAT")
    return mix


def made(folder):
    found = {each.stem: soundfile.read(each)[0] for each in folder.glob("*.wav")}
    return found, json.loads((folder / "sep.json").read_text())


def decibels(off, of):
    return 20 * np.log10(max(np.abs(off).max(), 1e-12) / np.abs(of).max())


@pytest.mark.slow
def test_a_song_comes_apart_and_together(sep, song, tmp_path):
    said = sep("run", "song.wav", *CHAIN).stderr
    assert ", drums by toy-song, their parts by toy-kit\n" in said
    stems, report = made(tmp_path / "separated" / "song")
    assert set(stems) == {*KIT, "rest"}
    assert decibels(sum(stems.values()) - song, song) <= -90
    assert report["model"]["name"] == "toy-song then toy-kit"
    assert [each["role"] for each in report["models"]] == ["from-mix", "model"]
    # The same by the drums in a file of their own: nothing was done between the two models.
    sep("run", "song.wav", "-m", "toy-song", "--stems", "drums", "-o", "first")
    sep("run", "first/song/drums.wav", "-m", "toy-kit", "-o", "second")
    parts, _ = made(tmp_path / "second" / "drums")
    assert set(parts) == set(KIT)
    for name, samples in parts.items():
        assert decibels(samples - stems[name], samples) <= -90, name


def test_all_stems_of_the_first_are_kept(sep, song, tmp_path):
    sep("run", "--from-mix", "song.wav", "-m", "toy-kit", "--keep-intermediate", "--stems", "hh")
    stems, _ = made(tmp_path / "separated" / "song")
    assert set(stems) == {"hihat", *SONG}
    listed = sep("run", "song.wav", *CHAIN, "--keep-intermediate", "--dry-run", "-o", "x").stderr
    files = [*KIT, *SONG, "rest"]
    assert "  ".join(f"{each}.wav" for each in files) in listed
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_batch_of_songs_is_resumed_by_the_same_models_alone(sep, song, tmp_path, noise):
    soundfile.write(tmp_path / "two.flac", noise(1, 30000).T, 44100)
    run = ("run", "song.wav", "two.flac", "--format", "flac", "--bit-depth", "16")
    said = sep(*run, *CHAIN, "--name", "{track} by {model}/{stem}").stderr
    assert "2 tracks: " in said
    folder = tmp_path / "separated" / "two by toy-song then toy-kit"
    assert len(list(folder.glob("*.flac"))) == 6
    named = ("--name", "{track} x/{stem}")
    sep(*run, *CHAIN, *named)
    again = sep(*run, *CHAIN, *named, "--resume").stderr
    assert again.count("done before") == 3
    for other, told in (
        (("--from-mix", "-m", "toy-kit-2"), "stems of another model"),
        ((*CHAIN, "--shifts", "2"), "made with shifts 1, not 2"),
        ((*CHAIN, "--keep-intermediate"), "made with stems kick"),
    ):
        refused = sep(*run, *other, *named, "--resume", check=1).stderr
        assert refused.count(told) == 4, refused  # of each as it failed, and at the end


@pytest.mark.slow
def test_a_mean_of_two_models(sep, song, tmp_path):
    for name in ("toy-kit", "toy-kit-2"):
        sep("run", "song.wav", "-m", name, "-o", name)
    said = sep("run", "song.wav", "-m", "toy-kit,toy-kit-2", "--weights", "3,1", "-v").stderr
    assert ", models toy-kit and toy-kit-2 (for drums)\n" in said
    assert "weights        3, 1" in said
    stems, report = made(tmp_path / "separated" / "song")
    one, _ = made(tmp_path / "toy-kit" / "song")
    other, _ = made(tmp_path / "toy-kit-2" / "song")
    for name in KIT:
        wanted = 0.75 * one[name] + 0.25 * other[name]
        assert decibels(stems[name] - wanted, wanted) <= -90, name
    assert report["model"]["name"] == "toy-kit+toy-kit-2"
    shares = [each["weight"] for each in report["models"]]
    assert shares[0] == 3 * shares[1]


@pytest.mark.slow
def test_shifts_are_repeatable(sep, song, tmp_path):
    for out in ("a", "b"):
        sep("run", "song.wav", "-m", "toy-kit", "--shifts", "3", "-o", out)
    sep("run", "song.wav", "-m", "toy-kit", "-o", "c")
    a, b, c = (made(tmp_path / each / "song") for each in "abc")
    assert (a[1]["settings"]["shifts"], c[1]["settings"]["shifts"]) == (3, 1)
    assert all((a[0][name] == b[0][name]).all() for name in KIT)
    assert any((a[0][name] != c[0][name]).any() for name in KIT)
    assert a[1]["chunks"] > 2 * c[1]["chunks"]


def test_the_largest_overlap_is_that_of_every_model(sep, song):
    told = sep("run", "song.wav", *CHAIN, "--overlap", "40000", check=2).stderr
    assert "--overlap can be 32256 at most for toy-kit" in told


def test_a_checkpoint_for_songs_that_needs_settings(sep, song, imported):
    checkpoint = imported.parent / "song.ckpt"
    told = sep("run", "song.wav", "--from-mix", checkpoint, "-m", "toy-kit", check=2).stderr
    assert "needs its settings" in told
    assert "sep models import FILE --config YAML" in told


def test_without_a_model_for_songs(sep, tmp_path, noise):
    soundfile.write(tmp_path / "song.wav", noise(1, 9000).T, 44100)
    line = "sep models pull htdemucs-ft-drums (84 MB, licence: research use"
    told = sep("run", "song.wav", "--from-mix", check=16).stderr
    assert line in told
    assert "--yes" in told
    told = sep("run", "song.wav", "--from-mix", "--offline", "--yes", check=16).stderr
    assert line in told
    assert "--yes" not in told
    told = sep("run", "song.wav", "--from-mix", "--dry-run", "--yes", check=16).stderr
    assert "drums by htdemucs-ft-drums, their parts by mdx23c-mini" in told
    assert "rest.wav" in told
    assert line in told
    assert [each.name for each in tmp_path.iterdir() if each.name != "home"] == ["song.wav"]
