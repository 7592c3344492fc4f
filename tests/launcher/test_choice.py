"""Which models a run takes: one, or several together, and what each of them must be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sep_launcher.machine import facts
from sep_launcher.planning.choice import choose
from sep_launcher.planning.request import Request
from sep_protocol.errors import ModelError, PathError, UsageError


def request_of(**options):
    return Request(files=("x",), out=Path("/out"), **options)


def one(request):
    """The only model that is taken."""
    chosen = choose(request)
    assert (len(chosen.mean), chosen.first) == (1, None)
    return chosen.mean[0].model


def test_models_are_found_by_name_alias_and_file(home, tiny):
    def chosen(**options):
        (pick,) = choose(request_of(**options)).mean
        return pick.model, pick.manifest

    model, manifest = chosen()
    assert (model.name, model.folder, manifest.bundled) == ("mdx23c-mini", None, True)
    with pytest.raises(ModelError, match="no model called"):
        chosen(model="nope")
    checkpoint, settings = tiny
    model, manifest = chosen(model=str(checkpoint), model_config=settings)
    assert (model.name, manifest) == ("tiny", None)
    with pytest.raises(PathError):
        chosen(model="/nowhere/x.ckpt")
    with pytest.raises(UsageError, match="--model-config"):
        chosen(model_config=settings)


def test_installed_model_of_best_rank_is_the_default(home):
    folder = home / "sep" / "models" / "mdx23c-drumsep-5stem"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    model = one(request_of())
    assert (model.name, model.folder) == ("mdx23c-drumsep-5stem", str(folder))


def test_what_is_no_readable_file_is_never_opened(home, tmp_path, tiny):
    """A pipe would be waited for, for ever."""
    checkpoint, _ = tiny
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "folder").mkdir()

    def refused(**options):
        with pytest.raises(PathError) as caught:
            choose(request_of(**options))
        return caught.value.message

    for name in ("pipe", "pipe.ckpt", "folder"):
        assert "not a file" in refused(model=str(tmp_path / name))
        assert "not a file" in refused(model=str(checkpoint), model_config=tmp_path / name)
    assert "a device" in refused(model="/dev/zero")
    assert "no file" in refused(model="./nope")
    assert "cannot be read" in refused(model="./" + "n" * 300)
    assert "cannot be read" in refused(model="./a\0b.ckpt")


def test_a_folder_of_a_models_name_does_not_hide_the_model(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    model = one(request_of(model="mini"))
    assert model.name == "mdx23c-mini"


def test_the_noted_hash_goes_with_the_model(home):
    folder = home / "sep" / "models" / "larsnet"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    request = request_of(model="larsnet")
    assert one(request).sha256 is None  # nobody noted it
    facts.write(facts.Facts(weights=(facts.Converted(model="larsnet", sha256="ab" * 32),)))
    assert one(request).sha256 == "ab" * 32
    assert one(request_of(model="mini")).sha256 is None


WITHOUT_RIGHTS = ("setpriv", "--inh-caps=-dac_override,-dac_read_search",
                  "--bounding-set=-dac_override,-dac_read_search")  # fmt: skip
CHOOSE = """
import sys
from pathlib import Path
from sep_launcher.planning import choice
from sep_launcher.planning.request import Request
from sep_protocol.errors import SepError
try:
    chosen = choice.choose(Request(files=("x",), out=Path("/o"), model=sys.argv[1] or None))
    print(chosen.called)
except SepError as fault:
    print(int(fault.code), fault.message)
"""


@pytest.mark.skipif(
    not shutil.which("setpriv") or os.geteuid() != 0, reason="rights are taken away by setpriv"
)
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("", "mdx23c-mini"),
        ("mini", "mdx23c-mini"),
        ("larsnet", "3 {home}/models/larsnet cannot be searched: Permission denied"),
        ("{home}/x.ckpt", "3 {home}/x.ckpt cannot be read: Permission denied"),
        ("{home}/x", "3 {home}/x cannot be read: Permission denied"),
    ],
)
def test_a_home_of_someone_else(tmp_path, model, told):
    locked = tmp_path / "home"
    locked.mkdir(mode=0o000)
    done = subprocess.run(
        [*WITHOUT_RIGHTS, sys.executable, "-P", "-c", CHOOSE, model.format(home=locked)],
        env={**os.environ, "SEP_HOME": str(locked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == told.format(home=locked)
