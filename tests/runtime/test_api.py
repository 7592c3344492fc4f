"""The Python API: arrays and files in, stems by name out."""

import ast
import os
import re
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import sep_models
import sep_runtime
from sep_protocol import errors
from sep_protocol.errors import AudioError


@pytest.fixture
def model(tiny):
    return sep_runtime.load("tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]), device="cpu")


def test_array_and_file_give_the_same(model, tmp_path, noise):
    mix = noise(2, 40000)
    soundfile.write(tmp_path / "x.wav", mix.T, 44100, "FLOAT")
    told = []
    stems = model.separate(mix, 44100, progress=lambda done, total: told.append((done, total)))
    assert tuple(stems) == model.stems
    assert told[-1] == (40000, 40000)
    again = model.separate(tmp_path / "x.wav")
    for name, stem in stems.items():
        assert stem.dtype == np.float32
        assert stem.shape == (2, 40000)
        assert np.array_equal(stem, again[name])
    assert model.device == "cpu"


@pytest.fixture(scope="module")
def bundled():
    return sep_runtime.load("mdx23c-mini", device="cpu")


def test_the_bundled_model_hears_quiet_drums_as_loud_ones(bundled):
    mix, rate = soundfile.read(sep_models.golden_clip(), dtype="float32")
    loud = bundled.separate(mix.T, rate)
    quiet = bundled.separate(mix.T * np.float32(0.01), rate)
    for name, stem in loud.items():
        assert stem.any()
        error = np.square(100 * quiet[name] - stem).sum() / np.square(stem).sum()
        assert error < 1e-6


@pytest.mark.parametrize("samples", [1, 64, 4097, 15872, 15873])
def test_the_bundled_model_takes_any_length(bundled, samples, noise):
    mix = 0.1 * noise(2, samples)
    stems = bundled.separate(mix, 44100)
    assert np.abs(sum(stems.values()) - mix).max() < 1e-5


def test_mono_vector(model, noise):
    stems = model.separate(noise(1, 5000)[0], 22050)
    assert stems["kick"].shape == (1, 5000)


def test_arrays_need_a_rate(model):
    with pytest.raises(ValueError, match="sample_rate"):
        model.separate(np.zeros((2, 100), np.float32))


@pytest.mark.parametrize("mix", [np.zeros((2, 0)), np.full((2, 10), np.nan), np.zeros((3, 10))])
def test_arrays_that_are_no_mix(model, mix):
    with pytest.raises(AudioError):
        model.separate(mix.astype(np.float32), 44100)


@pytest.mark.parametrize(
    ("mix", "told"),
    [
        (np.zeros((2, 10), np.int16), "int16"),
        (np.zeros((2, 10), bool), "bool"),
        (np.zeros((2, 10), complex), "complex"),
        (np.zeros((0, 10), np.float32), "shape"),
        (np.zeros((1, 2, 10), np.float32), "shape"),
        (np.zeros((100, 2), np.float32), "transposed"),
        (np.zeros((100, 1), np.float32), "transposed"),
        (np.zeros((100, 6), np.float32), "transposed"),
    ],
)
def test_arrays_of_another_form(model, mix, told):
    with pytest.raises(ValueError, match=told) as caught:
        model.separate(mix, 44100)
    assert isinstance(caught.value, errors.SepError)
    if told == "transposed":
        assert caught.value.hint == "pass x.T"


@pytest.mark.parametrize("mix", [None, 3 + 2j, "x", {"a": 1}, np.array(["a"]), [None]])
def test_what_is_no_mix_at_all(model, mix):
    with pytest.raises((TypeError, ValueError, AudioError)) as caught:
        model.separate(mix, *([] if isinstance(mix, str) else [44100]))
    assert "torch" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", [np.float16, np.float64, ">f4", "turned", "frozen", "transposed of [T, 2]"]
)
def test_floats_of_any_kind(model, noise, kind):
    mix = noise(2, 3000).astype(np.float16).astype(np.float32)
    given = mix
    if kind == "turned":
        mix, given = mix[:, ::-1].copy(), mix[:, ::-1]
    elif kind == "frozen":
        given.flags.writeable = False
    elif kind == "transposed of [T, 2]":
        given = np.ascontiguousarray(mix.T).T
    else:
        given = mix.astype(kind)
    expected = model.separate(mix.copy(), 44100)
    for name, stem in model.separate(given, 44100).items():
        assert np.array_equal(stem, expected[name])
        assert stem.dtype == np.float32


X = np.zeros((2, 100), np.float32)


@pytest.mark.parametrize(
    ("kind", "told", "call"),
    [
        (ValueError, "sample_rate must be from 4000", lambda m: m.separate(X, 0)),
        (ValueError, "sample_rate must be from 4000", lambda m: m.separate(X, -44100)),
        (ValueError, "sample_rate must be from 4000", lambda m: m.separate(X, 10**9)),
        (TypeError, "sample_rate must be a whole", lambda m: m.separate(X, "44100")),
        (TypeError, "sample_rate must be a whole", lambda m: m.separate(X, 44100.0)),
        (TypeError, "sample_rate must be a whole", lambda m: m.separate(X, True)),
        (ValueError, "its own sample rate", lambda m: m.separate("x.wav", 44100)),
        (TypeError, "list of names", lambda m: m.separate(X, 44100, stems="kick")),
        (TypeError, "list of names", lambda m: m.separate(X, 44100, stems=3)),
        (TypeError, "downmix must be True or", lambda m: m.separate(X, 44100, downmix="no")),
        (
            TypeError,
            "residual must be",
            lambda m: m.open(sample_rate=44100, channels=2, residual=1),
        ),
        (TypeError, "a name in stems", lambda m: m.separate(X, 44100, stems=[3])),
        (ValueError, "stems names none", lambda m: m.separate(X, 44100, stems=[])),
        (ValueError, "makes no stem", lambda m: m.separate(X, 44100, stems=["voice"])),
        (TypeError, "channels", lambda m: m.open(sample_rate=44100, channels="2")),
        (ValueError, "channels", lambda m: m.open(sample_rate=44100, channels=0)),
        (ValueError, "sample_rate", lambda m: m.open(sample_rate=1, channels=2)),
    ],
)
def test_calls_of_a_model_that_are_wrong(model, kind, told, call):
    with pytest.raises(kind, match=told) as caught:
        call(model)
    assert kind is TypeError or isinstance(caught.value, errors.UsageError)


@pytest.mark.parametrize(
    ("kind", "told", "arguments"),
    [
        (ValueError, "batch must be from 1", {"batch": 0}),
        (ValueError, "batch must be from 1", {"batch": 1025}),
        (TypeError, "batch must be a whole", {"batch": 1.5}),
        (TypeError, "batch must be a whole", {"batch": True}),
        (ValueError, "overlap must be at least 1", {"overlap": 0.5}),
        (ValueError, "overlap must be at least 1", {"overlap": float("nan")}),
        (ValueError, "overlap must be at least 1", {"overlap": float("inf")}),
        (TypeError, "overlap must be a number", {"overlap": "2"}),
        (TypeError, "device must be a text", {"device": 0}),
        (TypeError, "precision must be a text", {"precision": 16}),
        (ValueError, "no precision 'half'", {"precision": "half"}),
        (ValueError, "no device 'gpu'", {"device": "gpu"}),
        (TypeError, "name must be a text", {"name": 3}),
        (ValueError, "is no name of a model", {"name": "mine.ckpt"}),
        (ValueError, "is no name of a model", {"name": "/mine"}),
        (errors.ModelError, "no model called 'nope'", {"name": "nope"}),
        (ValueError, "settings belong to a checkpoint", {"settings": "x.yaml"}),
        (ValueError, "folder is for models", {"folder": "x", "checkpoint": "x.ckpt"}),
        (TypeError, "checkpoint must be a text", {"checkpoint": 3}),
        (TypeError, "folder must be a text", {"folder": b"x"}),
        (ValueError, "checkpoint is an empty path", {"checkpoint": ""}),
        (errors.ModelError, "nope.ckpt cannot be read", {"checkpoint": "nope.ckpt"}),
    ],
)
def test_calls_of_load_that_are_wrong(kind, told, arguments):
    with pytest.raises(kind, match=told):
        sep_runtime.load(**{"device": "cpu", **arguments})


def test_numbers_of_numpy_are_numbers(tiny, noise):
    model = sep_runtime.load(
        checkpoint=tiny[0], settings=tiny[1], device="cpu", batch=np.int64(2), overlap=np.float32(4)
    )
    assert (model.running.precision, model.running.batch) == ("fp32", 2)
    stems = model.separate(noise(2, 500), np.int64(44100))
    assert type(stems.sample_rate) is int


def test_a_checkpoint_has_the_name_of_its_file(tiny):
    model = sep_runtime.load(checkpoint=tiny[0], settings=tiny[1], device="cpu")
    assert model.name == model.loaded.manifest.name == "tiny"
    assert repr(model) == "<Model tiny on cpu: kick, snare, toms, hihat, cymbals>"


def test_only_some_stems_by_any_of_their_names(model, noise):
    mix = noise(2, 2000)
    every = model.separate(mix, 44100)
    some = model.separate(mix, 44100, stems=["HH", "kick"])
    assert list(some) == ["kick", "hihat"]
    assert all(np.array_equal(some[name], every[name]) for name in some)


def test_more_channels_become_two_where_they_may(model, tmp_path, noise):
    mix = noise(6, 3000)
    soundfile.write(tmp_path / "x.wav", mix.T, 44100, "FLOAT")
    for given in ((tmp_path / "x.wav",), (mix, 44100)):
        with pytest.raises(AudioError, match="6 channels") as caught:
            model.separate(*given)
        assert caught.value.hint == "downmix=True makes stereo of them"
        assert model.separate(*given, downmix=True)["kick"].shape == (2, 3000)


def test_what_people_should_know_of_a_file_is_a_warning(model, tmp_path, noise):
    soundfile.write(tmp_path / "x.wav", noise(2, 3000).T, 44100)
    with (tmp_path / "x.wav").open("ab") as file:
        file.write(bytes(9000))
    with pytest.warns(UserWarning, match=r"x\.wav: .* left out") as caught:
        model.separate(tmp_path / "x.wav")
    assert caught[0].filename == __file__


def test_a_model_is_loaded_by_name_from_where_it_was_pulled_to(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("SEP_HOME", str(tmp_path))
    with pytest.raises(errors.ModelError, match=f"larsnet is not installed.*{tmp_path}") as caught:
        sep_runtime.load("larsnet", device="cpu")
    assert "sep models pull larsnet" in caught.value.hint
    with pytest.raises(errors.ModelError) as caught:  # there is no place that it is known to be at
        sep_runtime.load("bs-roformer-sw", device="cpu")
    assert "BS-Rofo-SW-Fixed.ckpt" in caught.value.hint
    pulled = tmp_path / "models" / "mdx23c-mini"
    shutil.copytree(sep_models.folder_of("mdx23c-mini"), pulled)
    whole = (pulled / sep_models.WEIGHTS).read_bytes()
    (pulled / sep_models.WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(errors.ModelError, match="damaged"):  # it is this one that was read
        sep_runtime.load("mini", device="cpu")


def test_a_job_looks_into_no_home(tmp_path, monkeypatch):
    from sep_protocol import Model
    from sep_runtime.models import separators

    monkeypatch.setenv("SEP_HOME", str(tmp_path))
    (tmp_path / "models" / "larsnet").mkdir(parents=True)
    (tmp_path / "models" / "larsnet" / sep_models.WEIGHTS).write_bytes(b"x")
    with pytest.raises(errors.ModelError, match="not installed"):
        separators.load(Model(name="larsnet"), torch.device("cpu"))


def test_blocks_of_a_pass(model, noise):
    mix = noise(2, 5000)
    expected = np.stack(list(model.separate(mix, 44100).values()))
    blocks = [mix[:, :3000].astype(np.float64), mix[:, 3000:4999], mix[:, 4999:]]
    opened = model.open(sample_rate=44100, channels=2)
    assert np.array_equal(np.concatenate(list(opened.run(blocks)), -1), expected)
    with pytest.raises(ValueError, match="one mix"):
        next(opened.run(blocks))
    for block, told in ((mix.T, "transposed"), (mix[:1], "shape"), (mix.astype(int), "int64")):
        with pytest.raises(ValueError, match=told):
            list(model.open(sample_rate=44100, channels=2).run([block]))


def test_a_model_that_hears_a_mix_twice_is_given_it_twice(tiny, tmp_path, noise):
    import json

    raw = json.loads(tiny[1].read_text())
    raw["inference"] = {"normalize": True}
    (tmp_path / "x.yaml").write_text(json.dumps(raw))
    model = sep_runtime.load(checkpoint=tiny[0], settings=tmp_path / "x.yaml", device="cpu")
    with pytest.raises(ValueError, match="twice"):
        model.open(sample_rate=44100, channels=2)
    mix = noise(2, 500)
    opened = model.open(sample_rate=44100, channels=2, level=[mix])
    stems = np.concatenate(list(opened.run([mix])), -1)
    assert np.array_equal(stems[0], model.separate(mix, 44100)["kick"])


def test_threads_share_a_model(model, noise):
    mixes = [noise(2, 40000, seed) for seed in range(3)]
    expected = [model.separate(mix, 44100)["kick"] for mix in mixes]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda mix: model.separate(mix, 44100)["kick"], mixes))
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("use", ["separate", "load"])
def test_a_forked_process_is_told_instead_of_hanging(model, use):
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # ends it where it hangs all the same
        try:
            sep_runtime.load() if use == "load" else model.separate(X, 44100)
        except ValueError as fault:
            os._exit(7 if "spawn" in fault.hint else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_too_little_memory_has_a_name(model, noise, monkeypatch):
    def short(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 G")

    monkeypatch.setattr(type(model.loaded.runner.network), "forward", short)
    with pytest.raises(errors.MemoryLimitError, match="out of memory") as caught:
        model.separate(noise(2, 500), 44100)
    assert "batch=1" in caught.value.hint


def test_a_traceback_ends_with_the_hint(model):
    with pytest.raises(ValueError, match="transposed") as caught:
        model.separate(X.T, 44100)
    assert traceback.format_exception(caught.value)[-1] == "pass x.T\n"


def words_of_the_command_line(tree):
    """Every text of a module that is one for the command line and not said to be one."""
    said = {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "command"
        for part in ast.walk(keyword.value)
    }
    return [
        part.value
        for part in ast.walk(tree)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and id(part) not in said
        and re.search(r"--[a-z]|\bsep (setup|doctor|run|route|models list)\b", part.value)
    ]


def test_no_words_of_the_command_line_for_programs():
    """Of modules that a call of the API reaches; `command=` is what Jobs say in its place."""
    runtime = Path(sep_runtime.__file__).parent
    files = [*runtime.rglob("*.py"), *Path(sep_models.__file__).parent.glob("*.py")]
    beyond = {"__main__.py", "separate.py", "track.py", "tracks.py", "shared.py", "bench.py"}
    for path in files:
        if path.name not in beyond:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert words_of_the_command_line(tree) == [], path


def test_importing_the_package_loads_no_torch():
    code = "import sys, sep_runtime, sep_runtime.__main__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_the_package_shows():
    code = "import sys, sep_runtime; print(*dir(sep_runtime)); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = done.stdout.split()
    assert shown == sorted(sep_runtime.__all__)
    assert {"load", "load_chain", "Model", "Stems", "errors", "__version__"} == set(shown)
    assert all(getattr(sep_runtime, name) for name in shown)
    with pytest.raises(AttributeError):
        _ = sep_runtime.nope
