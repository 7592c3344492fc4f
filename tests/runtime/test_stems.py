"""What Model.separate gives, as files: whole, at the wanted depth, over nothing of others."""

import pickle

import numpy as np
import pytest
import soundfile

import sep_models
import sep_runtime
from sep_protocol import errors


@pytest.fixture
def stems(noise):
    """Two stems whose samples any depth holds exactly."""
    made = {
        name: np.round(noise(2, 3000, seed) * 128) / 128
        for seed, name in enumerate(("kick", "snare"))
    }
    return sep_runtime.Stems(made, 48000)


@pytest.mark.parametrize(
    ("file_format", "depth", "is_float", "subtype"),
    [
        ("wav", None, True, "FLOAT"),
        ("wav", None, False, "PCM_24"),
        ("wav", 16, True, "PCM_16"),
        ("wav", "float", False, "FLOAT"),
        ("wav", 32, False, "FLOAT"),
        ("flac", None, True, "PCM_24"),
        ("flac", "16", True, "PCM_16"),
        ("mp3", None, True, "MPEG_LAYER_III"),
        ("ogg", None, True, "VORBIS"),
    ],
)
def test_save(stems, tmp_path, file_format, depth, is_float, subtype):
    stems.is_float = is_float
    folder = tmp_path / "deep" / "er"
    paths = stems.save(folder, format=file_format, bit_depth=depth)
    assert paths == {name: folder / f"{name}.{file_format}" for name in ("kick", "snare")}
    assert sorted(folder.iterdir()) == sorted(paths.values())
    for name, path in paths.items():
        with soundfile.SoundFile(path) as file:
            assert (file.subtype, file.samplerate, file.channels) == (subtype, 48000, 2)
            read = file.read(dtype="float32").T
        if subtype in ("FLOAT", "PCM_24"):
            assert np.array_equal(read, stems[name])


def test_depth_is_that_of_the_file_that_was_separated(tiny, tmp_path, noise):
    model = sep_runtime.load(checkpoint=tiny[0], settings=tiny[1], device="cpu")
    for subtype, kept in (("FLOAT", "FLOAT"), ("PCM_16", "PCM_24")):
        soundfile.write(tmp_path / "x.wav", noise(2, 500).T, 22050, subtype)
        found = model.separate(tmp_path / "x.wav")
        assert found.sample_rate == 22050
        saved = found.save(tmp_path / subtype)
        assert list(saved) == list(model.stems)
        assert soundfile.info(saved["kick"]).subtype == kept


def test_nothing_is_replaced_unless_told(stems, tmp_path):
    (tmp_path / "snare.wav").write_text("mine")
    with pytest.raises(errors.PathError, match=r"snare\.wav exists already") as caught:
        stems.save(tmp_path)
    assert "overwrite=True" in caught.value.hint
    assert [each.name for each in tmp_path.iterdir()] == ["snare.wav"]
    assert (tmp_path / "snare.wav").read_text() == "mine"
    stems.save(tmp_path, overwrite=True)
    assert soundfile.info(tmp_path / "snare.wav").frames == 3000
    assert {each.name for each in tmp_path.iterdir()} == {"kick.wav", "snare.wav"}


def test_a_folder_is_never_replaced(stems, tmp_path):
    (tmp_path / "snare.wav").mkdir()
    with pytest.raises(errors.PathError, match="is a folder"):
        stems.save(tmp_path, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ["snare.wav"]


def test_what_fails_in_the_middle_leaves_nothing(stems, tmp_path, monkeypatch):
    from sep_runtime.audio.encode import StemFile

    closed = []

    def full(file):
        closed.append(file)
        if len(closed) > 1:
            raise OSError(28, "No space left on device")
        real(file)

    real = StemFile.close
    monkeypatch.setattr(StemFile, "close", full)
    (tmp_path / "kick.wav").write_text("mine")
    with pytest.raises(errors.PathError, match="cannot be written: no space left"):
        stems.save(tmp_path, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ["kick.wav"]
    assert (tmp_path / "kick.wav").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "told", "options"),
    [
        (errors.UsageError, "no format 'aiff'", {"format": "aiff"}),
        (errors.UsageError, "no bit depth 8", {"bit_depth": 8}),
        (errors.UsageError, "empty path", {"folder": ""}),
        (TypeError, "folder must be a text", {"folder": 3}),
        (errors.UsageError, "no bit depth '8'", {"bit_depth": "8"}),
        (errors.UsageError, "flac cannot hold float", {"format": "flac", "bit_depth": "float"}),
        (errors.UsageError, "mp3 has no bit depth", {"format": "mp3", "bit_depth": 24}),
    ],
)
def test_what_cannot_be_asked_for(stems, tmp_path, kind, told, options):
    with pytest.raises(kind, match=told) as caught:
        stems.save(**{"folder": tmp_path / "new", **options})
    assert "--" not in getattr(caught.value, "hint", "")
    assert not (tmp_path / "new").exists()


def test_a_rate_that_the_format_cannot_hold(stems, tmp_path):
    stems.sample_rate = 96000
    with pytest.raises(errors.AudioError, match="mp3 cannot hold 96000 Hz"):
        stems.save(tmp_path / "new", format="mp3")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("../out", np.zeros((2, 9), np.float32), "cannot be called"),
        ("kick", np.zeros((9, 2), np.float32), "transposed"),
        ("kick", np.full((2, 9), np.nan, np.float32), "not numbers"),
        ("kick", np.zeros((2, 9), np.int16), "full scale"),
    ],
)
def test_stems_that_were_changed_are_looked_at_again(stems, tmp_path, name, array, told):
    stems[name] = array
    with pytest.raises(errors.SepError, match=told):
        stems.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_rest_and_mono_can_be_saved(stems, tmp_path):
    stems[sep_models.RESIDUAL] = stems["kick"][0]
    saved = stems.save(tmp_path)
    assert soundfile.info(saved["residual"]).channels == 1


def test_what_is_no_stems(tmp_path, noise):
    for made, kind in (({}, errors.UsageError), ({3: noise(2, 9)}, TypeError)):
        with pytest.raises(kind):
            sep_runtime.Stems(made, 44100).save(tmp_path / "new")
    with pytest.raises(errors.UsageError, match="sample_rate"):
        sep_runtime.Stems({}, 1)
    assert not (tmp_path / "new").exists()


def test_a_file_where_the_folder_would_be(stems, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(errors.PathError, match="cannot be written"):
        stems.save(tmp_path / "x")


def test_clipped_samples_are_told(stems, tmp_path):
    stems["kick"][0, :7] = 1.5
    with pytest.warns(UserWarning, match="samples clipped: kick 7;") as caught:
        stems.save(tmp_path, bit_depth=24)
    assert caught[0].filename == __file__
    stems.save(tmp_path, overwrite=True)  # float keeps them


def test_they_go_through_a_pool_of_processes(stems):
    again = pickle.loads(pickle.dumps(stems))  # noqa: S301 (of our own)
    assert (again.sample_rate, list(again)) == (48000, ["kick", "snare"])
    assert np.array_equal(again["kick"], stems["kick"])


@pytest.mark.parametrize(
    ("kind", "folder", "more"),
    [
        (TypeError, None, {}),
        (TypeError, "x", {"overwrite": "no"}),
        (ValueError, "a\0b", {}),
        (ValueError, "", {}),
    ],
)
def test_saving_where_nobody_meant(stems, tmp_path, monkeypatch, kind, folder, more):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind):
        stems.save(folder, **more)
    assert not list(tmp_path.iterdir())
