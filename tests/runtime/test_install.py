"""Published weights become a model's one file, or nothing."""

import json

import pytest
import torch
from safetensors.torch import load_file

from sep_protocol import Install, Job, Model, Published, dump_job
from sep_protocol.errors import ModelError
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
