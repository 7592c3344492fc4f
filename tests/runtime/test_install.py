"""Published weights become a model's one file, or nothing."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import sep_models
from sep_protocol import Install, Job, Model, Published, dump_job
from sep_protocol.errors import ModelError
from sep_runtime.models import stored
from sep_runtime.models.install import install

LARSNET = Model(name="larsnet")


def order(files, folder):
    published = tuple(Published(file=str(path), stem=stem) for stem, path in files.items())
    return Install(files=published, folder=str(folder))


def test_larsnet_keeps_weights_alone(larsnet_files, tmp_path):
    install(order(larsnet_files, tmp_path / "models"), LARSNET)
    found = load_file(tmp_path / "models" / "weights.safetensors")
    assert {key.partition(".")[0] for key in found} == set(larsnet_files)
    assert not [key for key in found if "exp_avg" in key]
    assert len(list((tmp_path / "models").iterdir())) == 1


@pytest.mark.parametrize("harm", ["a stem missing", "another network", "not weights", "cut off"])
def test_what_is_not_the_model_leaves_nothing(larsnet_files, tmp_path, harm):
    files = dict(larsnet_files)
    bad = tmp_path / "bad.pth"
    if harm == "a stem missing":
        del files["toms"]
    else:
        files["toms"] = bad
    if harm == "another network":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, bad)
    elif harm == "not weights":
        torch.save({"model_state_dict": object}, bad)
    elif harm == "cut off":
        bad.write_bytes(larsnet_files["toms"].read_bytes()[:100_000])
    with pytest.raises(ModelError):
        install(order(files, tmp_path / "models"), LARSNET)
    assert not (tmp_path / "models").exists()


def test_a_folder_that_cannot_be_written(larsnet_files, tmp_path):
    from sep_protocol.errors import PathError

    (tmp_path / "file").touch()
    with pytest.raises(PathError, match="cannot be written"):
        install(order(larsnet_files, tmp_path / "file" / "models"), LARSNET)


def test_a_full_disk_is_told_as_that(larsnet_files, small):
    """It is safetensors that writes, and it tells in words alone."""
    from sep_protocol.errors import PathError

    with pytest.raises(PathError, match="the disk is full"):
        install(order(larsnet_files, small / "models"), LARSNET)
    assert not list((small / "models").iterdir())


def test_nothing_is_written_through_a_link(larsnet_files, tmp_path):
    import os

    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "precious").write_text("mine")
    (folder / f".weights.safetensors.{os.getpid()}").symlink_to(tmp_path / "precious")
    (folder / "weights.safetensors").symlink_to(tmp_path / "precious")
    install(order(larsnet_files, folder), LARSNET)
    assert (tmp_path / "precious").read_text() == "mine"
    assert [each.name for each in folder.iterdir()] == ["weights.safetensors"]
    assert not (folder / "weights.safetensors").is_symlink()


def test_it_is_a_job(larsnet_files, tmp_path):
    import subprocess
    import sys

    job = Job(
        id="0000000a",
        tracks=(),
        model=Model(name="larsnet"),
        install=order(larsnet_files, tmp_path / "models"),
    )
    (tmp_path / "job.json").write_text(dump_job(job))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_runtime", tmp_path / "job.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "done"
    assert (tmp_path / "models" / "weights.safetensors").is_file()


def checkpoint(folder, tiny):
    path, settings = tiny
    return Model(name="mine", checkpoint=str(path), settings=str(settings)), Install(
        files=(), folder=str(folder)
    )


def test_a_checkpoint_becomes_weights_and_what_they_are(tiny, tmp_path):
    model, order = checkpoint(tmp_path / "models", tiny)
    install(order, model)
    manifest = sep_models.of_folder(tmp_path / "models")
    written = tmp_path / "models" / sep_models.WEIGHTS
    assert manifest.sha256 == hashlib.sha256(written.read_bytes()).hexdigest()
    assert manifest.sources[0].sha256 == hashlib.sha256(tiny[0].read_bytes()).hexdigest()
    assert manifest.sources[0].bytes == tiny[0].stat().st_size
    assert (manifest.name, manifest.bundled, manifest.imported[:2]) == ("mine", False, "20")
    assert len(list((tmp_path / "models").iterdir())) == 2
    found, given = load_file(written), torch.load(tiny[0])["state_dict"]
    assert found.keys() == given.keys()
    assert all((found[key] == given[key]).all() for key in found)


@pytest.mark.parametrize("wrapped", [False, True])
def test_only_what_is_the_networks_is_kept(tiny, tmp_path, wrapped):
    """In its keys and its own type, whatever tools wrote before and beside it."""
    state = torch.load(tiny[0])["state_dict"]
    half = {f"module.{key}": value.half() for key, value in state.items()}
    more = {"state_dict": half, "optimizer": {"state": {0: torch.zeros(1000)}}, "epoch": 3}
    torch.save(more if wrapped else half, tmp_path / "half.ckpt")
    model, order = checkpoint(tmp_path / "models", (tmp_path / "half.ckpt", tiny[1]))
    install(order, model)
    found = load_file(tmp_path / "models" / sep_models.WEIGHTS)
    assert found.keys() == state.keys()
    assert {value.dtype for value in found.values()} == {torch.float16}


def test_settings_of_another_network_leave_nothing(tiny, tmp_path):
    other = json.loads(tiny[1].read_text())
    other["model"]["growth"] += 4
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    model, order = checkpoint(tmp_path / "models", (tiny[0], tmp_path / "other.yaml"))
    with pytest.raises(ModelError):
        install(order, model)
    assert not (tmp_path / "models").exists()


def test_a_folder_without_a_record_is_no_model(tmp_path):
    for text in (None, "[]", "{", '{"name": "x"}', "[" * 100_000):
        if text is not None:
            (tmp_path / sep_models.RECORD).write_text(text)
        with pytest.raises(ModelError, match="cannot be read"):
            sep_models.of_folder(tmp_path)


TYPES = sorted(stored.NAMES, key=str)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_any_tensor_comes_back(dtype, tmp_path):
    drawn = torch.randn(4, 6) * 100
    state = {
        "plain": drawn.to(dtype),
        "scalar": drawn[0, 0].to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "turned": drawn.to(dtype).T,
        "é": torch.zeros(3, dtype=torch.uint8),
    }
    sha256 = stored.write(tmp_path / "w", state)
    found = load_file(tmp_path / "w")
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
        assert torch.equal(found[key], value)
    assert sha256 == hashlib.sha256((tmp_path / "w").read_bytes()).hexdigest()


def test_the_file_is_the_one_that_the_library_writes(tmp_path):
    state = {"b": torch.randn(3, 5), "a": torch.arange(7), "c": torch.ones(2, dtype=torch.bool)}
    stored.write(tmp_path / "ours", state)
    save_file(state, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_tensors_may_share_memory(tmp_path):
    """A Roformer's layers have one table of positions; the library refuses that."""
    table = torch.randn(32)
    stored.write(tmp_path / "w", {"a": table, "b": table, "c": table[8:]})
    found = load_file(tmp_path / "w")
    assert torch.equal(found["b"], table)
    assert torch.equal(found["c"], table[8:])
