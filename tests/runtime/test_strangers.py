"""Files that people and strangers give as weights: loaded rightly, or refused in plain words."""

import argparse
import collections
import gzip
import io
import pathlib
import pickle
import random
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from sep_protocol import Job, Model, Track, dump_job, load_event
from sep_protocol.errors import ModelError, UsageError
from sep_runtime.models import separators, settings, weights
from sep_runtime.models.adopt import adopted
from sep_runtime.models.prepared import shape_of
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape

CPU = torch.device("cpu")
SETTINGS = yaml.safe_load("""
audio: {chunk_size: 496, dim_f: 16, hop_length: 16, n_fft: 64, num_channels: 2, sample_rate: 44100}
model: {act: gelu, bottleneck_factor: 2, growth: 2, norm: InstanceNorm, num_blocks_per_scale: 1,
        num_channels: 4, num_scales: 1, num_subbands: 2, scale: [2, 2]}
training: {instruments: [kick, snare], target_instrument: null}
""")


def drawn(seed):
    torch.manual_seed(seed)
    shape = shape_of(TfcTdfShape, settings.manifest_of(SETTINGS, "x").network, 2)
    return {key: value.clone() for key, value in TfcTdf(shape).state_dict().items()}


STATE = drawn(0)
OTHER = drawn(1)


@pytest.fixture
def yaml_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


@pytest.fixture
def load(yaml_file):
    """Load a checkpoint and return its weights as the network has them."""

    def loaded(path):
        model = Model(name="mine", checkpoint=str(path), settings=str(yaml_file))
        return separators.load(model, CPU).runner.network.state_dict()

    return loaded


def is_state(found, state=STATE):
    return all(torch.equal(found[key], state[key]) for key in state)


def saved(held, **options):
    buffer = io.BytesIO()
    torch.save(held, buffer, **options)
    return buffer.getvalue()


def zipped_again(data, change=lambda name, part: part, kind=zipfile.ZIP_DEFLATED):
    """Return a checkpoint's zip as another program would write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", kind) as new:
        for each in old.infolist():
            new.writestr(each.filename, change(each.filename, old.read(each)))
    return out.getvalue()


CHECKPOINT = saved(STATE)
LEGACY = saved(STATE, _use_new_zipfile_serialization=False)
SAFE = safetensors.torch.save(STATE)


@pytest.mark.parametrize(
    "name", ["x.ckpt", "x.safetensors", "x.SAFETENSORS", "x.pth", "x", "\udce9"]
)
@pytest.mark.parametrize(
    "data",
    [CHECKPOINT, LEGACY, SAFE, zipped_again(CHECKPOINT)],
    ids=["zip", "old", "safe", "packed"],
)
def test_the_first_bytes_decide_and_not_the_name(load, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert is_state(load(tmp_path / name))


def archive(names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, b"something")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"PK\x03", "3 bytes"),
        (bytes(5000), "zeros"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"\xef\xbb\xbf\n <html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1234\n", "Git LFS"),
        (b'{"error": "Repository not found"}', "a text"),
        (yaml.safe_dump(SETTINGS).encode(), "a text"),
        ("見つかりません".encode(), "a text"),
        ("audio:\n chunk_size: 1\n".encode("utf-16"), "a text"),
        (b"\x08\x07\x12\x07pytorch" + bytes(range(200)), "ONNX"),
        (b"GGUF\x03" + bytes(50), "GGUF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"\x93NUMPY\x01\x00v\x00", "NumPy"),
        (gzip.compress(CHECKPOINT), "gzip"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(30), "7z"),
        (b"Rar!\x1a\x07\x01\x00\x00\x00", "rar"),
        (b"x.ckpt" + bytes(251) + b"ustar" + bytes(300), "tar"),
        (archive(["model.ckpt", "model.yaml"]), "zip archive, but no checkpoint"),
        (archive(["a.npy"]), "NumPy"),
        (archive(["x/constants.pkl", "x/data.pkl", "x/code/x.py"]), "TorchScript"),
        (b"PK\x05\x06" + bytes(18), "empty zip"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio"),
        (b"fLaC\x00\x00\x00\x22" + bytes(40), "audio"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(40), "audio"),
        (pickle.dumps({"a": 1}, 2), "none that PyTorch wrote"),
        (random.Random(0).randbytes(1000), "neither"),
        (CHECKPOINT[: len(CHECKPOINT) // 2], "end is missing"),
        (CHECKPOINT[:-30], "end is missing"),
        (LEGACY[: len(LEGACY) // 2], "damaged"),
        (SAFE[: len(SAFE) // 2], "cut off"),
        (SAFE[:100], "end is missing"),
    ],
)
def test_what_is_no_weights_is_called_by_its_name(load, tmp_path, data, told):
    path = tmp_path / "model.ckpt"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=told) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    for word in ("mmap", "torch.", "weights_only", "pickle.", "unpickl", "\n"):
        assert word not in caught.value.message


def test_what_is_no_weights_needs_no_settings(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_text("<html>")
    with pytest.raises(ModelError, match="damaged"):  # too short for a page
        separators.load(Model(name="x", checkpoint=str(path)), CPU)
    path.write_bytes(CHECKPOINT)
    with pytest.raises(UsageError, match="settings"):
        separators.load(Model(name="x", checkpoint=str(path)), CPU)


def test_a_folder_and_a_pipe_are_not_opened(load, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.ckpt")
    for path in (tmp_path, tmp_path / "pipe.ckpt", tmp_path / "nope.ckpt"):
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


def test_a_bit_that_turned_over_is_seen(load, tmp_path):
    with zipfile.ZipFile(io.BytesIO(CHECKPOINT)) as file:
        parts = [each for each in file.infolist() if "/data/" in each.filename]
        large = max(parts, key=lambda each: each.file_size)
        with file.open(large) as opened:
            begin = opened._orig_compress_start
    turned = bytearray(CHECKPOINT)
    turned[begin + 3] ^= 4
    (tmp_path / "x.ckpt").write_bytes(turned)
    with pytest.raises(ModelError, match=r"damaged: .* checksum"):
        load(tmp_path / "x.ckpt")


def test_a_checkpoint_without_checksums_is_none_the_worse(load, tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save(STATE, tmp_path / "x.ckpt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert is_state(load(tmp_path / "x.ckpt"))


def test_a_zip_that_grows_without_bound_is_refused_before_it_does(load, tmp_path):
    (tmp_path / "x.ckpt").write_bytes(zipped_again(CHECKPOINT))
    with (
        zipfile.ZipFile(tmp_path / "x.ckpt", "a", zipfile.ZIP_DEFLATED) as bomb,
        bomb.open("archive/data/99", "w", force_zip64=True) as part,
    ):
        for _ in range(1100):
            part.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="would become"):
        load(tmp_path / "x.ckpt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


PREFIXES = ["module.", "_orig_mod.", "model.", "ema_model.", "generator.", "net.", "network."]


@pytest.mark.parametrize(
    "prefix", [*PREFIXES, "_orig_mod.module.", "module.net.model._orig_mod.", "separator.core."]
)
def test_prefixes_that_all_keys_share_are_taken_off(load, tmp_path, prefix):
    torch.save({prefix + key: value for key, value in STATE.items()}, tmp_path / "x.ckpt")
    assert is_state(load(tmp_path / "x.ckpt"))


def under(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "held",
    [
        {"ema": STATE, "model": OTHER},
        {"model": OTHER, "ema": STATE},
        {"state_dict": OTHER, "ema_state_dict": STATE, "epoch": 3},
        {"params": OTHER, "params_ema": STATE},
        {"ema": {"first_conv.weight": torch.zeros(2)}, "model": STATE},
        {"ema": {"model": STATE, "step": 3}, "generator": OTHER},
        {"state_dict": {"net": {"weights": STATE}}},
        {"best_model": STATE, "state": OTHER},
        {"model": "MDX23C", "network": STATE, "optimizer": {"state": {0: {"exp_avg": OTHER}}}},
        {**under(OTHER, "online_model."), **under(STATE, "ema_model."), "step": torch.tensor(3)},
        {"state_dict": {**under(STATE, "generator."), **under({"a.b": torch.ones(1)}, "model.")}},
        {**under(STATE, "module."), "n_averaged": torch.tensor(9)},
        {**under(STATE, "ema_model."), "initted": torch.tensor(True), "step": torch.tensor(3)},
        {**STATE, "stft.window_fn": torch.hann_window(64), "istft.window": torch.ones(3)},
        {**STATE, "first_norm.num_batches_tracked": torch.tensor(7)},
        {key: torch.nn.Parameter(value) for key, value in STATE.items()},
        collections.OrderedDict(STATE),
    ],
)
def test_the_networks_own_weights_are_found(load, tmp_path, held):
    torch.save(held, tmp_path / "x.ckpt")
    assert is_state(load(tmp_path / "x.ckpt"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision(load, tmp_path, kind):
    torch.save(
        {"model": {key: value.to(kind) for key, value in STATE.items()}}, tmp_path / "x.ckpt"
    )
    found = load(tmp_path / "x.ckpt")
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert is_state(found, {key: value.to(kind).float() for key, value in STATE.items()})


LACKING = {key: value for key, value in STATE.items() if key != "first_conv.weight"}


@pytest.mark.parametrize("other", ["teacher.", "discriminator.", "pretrained.", "val_sdr."])
def test_of_two_networks_the_one_that_tools_call_the_model_is_taken(load, tmp_path, other):
    zeros = {key: value * 0 for key, value in STATE.items()}
    torch.save({**under(STATE, "model."), **under(zeros, other)}, tmp_path / "x.ckpt")
    taken = load(tmp_path / "x.ckpt")
    assert torch.equal(taken["first_conv.weight"], STATE["first_conv.weight"])


def test_two_networks_of_which_none_is_known_are_refused(load, tmp_path):
    torch.save({**under(STATE, "left."), **under(STATE, "right.")}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError):
        load(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (LACKING, "'first_conv.weight'"),
        ({**STATE, "lora.weight": torch.ones(2)}, "1 unknown, first 'lora.weight'"),
        ({**under(STATE, "model."), "lora.a": torch.ones(2)}, "unknown"),
        ({"a.lora_A.weight": torch.ones(2), "a.lora_B.weight": torch.ones(2)}, "LoRA adapter"),
        ({"layers.0.to_qkv.weight": torch.ones(3)}, "'layers.0.to_qkv.weight'"),
        ({**STATE, "first_conv.weight": torch.ones(3, 3)}, "of other shape|do not belong"),
        ({**STATE, "first_conv.weight": STATE["first_conv.weight"].to(torch.int32)}, "other type"),
        ({**STATE, "first_conv.weight": STATE["first_conv.weight"] > 0}, "other type"),
        ({**STATE, "first_conv.weight": STATE["first_conv.weight"] + 1j}, "other type"),
        ({**STATE, "\x1b[31mred\n\u202e": torch.ones(1)}, r"'\\x1b\[31mred\\n\\u202e'"),
    ],
)
def test_weights_of_another_network_are_told_by_their_first_differences(load, tmp_path, held, told):
    torch.save(held, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match=told) as caught:
        load(tmp_path / "x.ckpt")
    assert caught.value.hint
    assert caught.value.message.isprintable()


WEIGHT = STATE["first_conv.weight"]


@pytest.mark.parametrize(
    "held",
    [
        *([], {}, {"state_dict": {}}, [STATE], WEIGHT, 3, None, "text", {"a": 3}, {3: WEIGHT}),
        *({None: WEIGHT}, {(1, 2): WEIGHT}, {"epoch": 3, "args": ["a"]}),
    ],
)
def test_what_holds_no_weights(load, tmp_path, held):
    torch.save(held, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="holds no state dict"):
        load(tmp_path / "x.ckpt")


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of its own old kinds of tensors
@pytest.mark.parametrize(
    "odd",
    [
        WEIGHT.to_sparse,
        WEIGHT[:, :, 0, 0].to_sparse_csr,
        lambda: WEIGHT.to("meta"),
        lambda: torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.zeros(1).expand(WEIGHT.shape),
        lambda: torch.zeros(1).expand(1 << 20, 1 << 20),
    ],
    ids=["sparse", "csr", "meta", "quantised", "nested", "expanded", "huge"],
)
def test_odd_tensors_are_refused(load, tmp_path, odd):
    torch.save({**STATE, "first_conv.weight": odd()}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError):
        load(tmp_path / "x.ckpt")


def test_what_refers_to_itself_ends(load, tmp_path):
    held = {"epoch": 3}
    for name in ("model", "net", "state", "ema"):
        held[name] = held
    torch.save(held, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="no state dict"):
        load(tmp_path / "x.ckpt")


def test_notes_of_a_training_run_do_no_harm(load, tmp_path):
    notes = {
        "best_metric": np.float64(9.1),
        "scores": np.arange(4.0),
        "kind": np.dtype("float32"),
        "type": np.float32,
        "args": argparse.Namespace(lr=1e-3, out=pathlib.Path("/tmp/x")),  # noqa: S108
        "paths": [pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("b")],
        "losses": collections.defaultdict(list, {"sdr": [1.0, 2.0]}),
        "last": collections.deque([1, 2], maxlen=3),
        "counts": collections.Counter("abba"),
    }
    torch.save({"model_state_dict": STATE, **notes}, tmp_path / "x.ckpt")
    assert is_state(load(tmp_path / "x.ckpt"))
    torch.save(collections.defaultdict(dict, {"state_dict": STATE}), tmp_path / "x.ckpt")
    assert is_state(load(tmp_path / "x.ckpt"))


def test_both_names_that_numpy_gave_its_own_are_known(load, tmp_path):
    """numpy 1 wrote numpy.core, numpy 2 writes numpy._core: a file may be of either."""
    both = (b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
    data = saved({"state_dict": STATE, "best": np.float64(1.0), "all": np.arange(3)})
    for new in both:

        def renamed(name, part, new=new):
            for old in both:
                part = part.replace(old, new) if name.endswith("data.pkl") else part
            return part

        (tmp_path / "x.ckpt").write_bytes(zipped_again(data, renamed, zipfile.ZIP_STORED))
        assert is_state(load(tmp_path / "x.ckpt"))


def test_the_stand_ins_are_gone_afterwards_and_never_the_real_things(load, tmp_path):
    torch.save({"state_dict": STATE, "best": np.float64(1.0)}, tmp_path / "x.ckpt")
    before = torch.serialization.get_safe_globals()
    load(tmp_path / "x.ckpt")
    assert set(torch.serialization.get_safe_globals()) == set(before)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.ckpt", weights_only=True)


class Bomb:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    ("call", "args", "named"),
    [
        (print, ("this must never run",), "print"),
        (eval, ("print('this must never run')",), "eval"),
        (subprocess.Popen, (["true"],), "Popen"),
        (pathlib.Path.write_text, (pathlib.Path("x"), "y"), "getattr"),
        (np.fromfile, ("/etc/hostname",), "numpy.fromfile"),
        (torch.load, ("/etc/hostname",), "torch.serialization.load"),
    ],
)
def test_what_would_run_is_refused_by_name(load, tmp_path, capsys, call, args, named):
    torch.save({"state_dict": {**STATE, "x": Bomb(call, *args)}}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match=f"more than weights.*{named}") as caught:
        load(tmp_path / "x.ckpt")
    assert "safetensors" in caught.value.hint
    assert "never run" not in capsys.readouterr().out


def test_a_whole_network_of_a_tool_is_refused_by_name(load, tmp_path):
    torch.save(TfcTdf(TfcTdfShape(stems=2, channels=4, growth=2, scales=1)), tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="TfcTdf"):
        load(tmp_path / "x.ckpt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("data", [CHECKPOINT, LEGACY, SAFE], ids=["zip", "old", "safetensors"])
def test_mutations_of_a_checkpoint_load_or_are_refused(load, tmp_path, data):
    """Within the pickle too: a zip's checksums are made anew around the harm."""
    path, refused = tmp_path / "x.ckpt", 0
    for seed in range(150):
        chance = random.Random(seed)

        def harmed(part, chance=chance):
            part = bytearray(part)
            for _ in range(chance.choice((1, 1, 3, 20))):
                part[chance.randrange(len(part))] = chance.randrange(256)
            return bytes(part[: chance.choice((len(part), len(part), chance.randrange(len(part))))])

        if data is CHECKPOINT and seed % 3:
            path.write_bytes(
                zipped_again(
                    data, lambda name, part: harmed(part) if name.endswith("data.pkl") else part
                )
            )
        else:
            path.write_bytes(harmed(data[:2000]) + data[2000:] if seed % 2 else harmed(data))
        try:
            load(path)
        except ModelError as fault:
            refused += 1
            assert fault.message.isprintable()
    assert refused > 50


def test_weights_that_changed_on_the_disk_are_not_used(tmp_path):
    state = {f"{stem}.x": torch.ones(1) for stem in ("kick", "snare")}
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path)
    noted = weights.digest(path)
    turned = bytearray(path.read_bytes())
    turned[-1] ^= 1
    path.write_bytes(turned)
    with pytest.raises(ModelError, match=r"damaged: .*SHA-256 is not the one noted") as caught:
        separators.load(Model(name="larsnet", folder=str(tmp_path), sha256=noted), CPU)
    assert caught.value.command == "sep models pull larsnet"


def test_a_network_is_compared_before_it_takes_memory():
    shape = TfcTdfShape(stems=32, channels=2048, growth=2048, blocks=16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="missing"):
        adopted(lambda: TfcTdf(shape), [STATE])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("megabytes", [100, 300])
def test_too_little_memory_to_load_libraries_is_told_as_that(tmp_path, yaml_file, megabytes):
    (tmp_path / "x.ckpt").write_bytes(CHECKPOINT)
    model = Model(name="x", checkpoint=str(tmp_path / "x.ckpt"), settings=str(yaml_file))
    track = Track(audio=str(tmp_path / "x.wav"), out=str(tmp_path / "out" / "x"))
    (tmp_path / "job.json").write_text(dump_job(Job(id="00000001", tracks=(track,), model=model)))
    limit = megabytes << 20
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_runtime", str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 14, done.stderr
    assert load_event(done.stdout.splitlines()[-1]).error == "MemoryLimitError"
