"""Metal without a Mac: fakes of its tensors, and torch's own list of what has kernels there.

Separation runs on fake tensors that say they are on an Apple GPU, which have shapes, types and
devices and no numbers. That shows operators, mix-ups of devices and types that Metal has not; it
does not show that a kernel computes the right thing. That is for `sep doctor --deep` on a Mac.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchgen
import yaml
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import sep_models
from sep_runtime import device as devices
from sep_runtime.models import adopt, larsnet
from sep_runtime.models.running import Runner
from sep_runtime.nets.hdemucs import HDemucs, HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucs, HTDemucsShape
from sep_runtime.nets.roformer import Roformer, RoformerShape
from sep_runtime.nets.scnet import Scnet, ScnetShape
from sep_runtime.nets.stft import Stft
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape
from sep_runtime.nets.unet import UNet
from sep_runtime.streams.overlap import Chunking, OverlapAdd, open_stream

MPS = torch.device("mps")
LIST = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
NOT_ON_METAL = (torch.float64, torch.complex128)


class Moves(TorchFunctionMode):
    """What a torch without Metal refuses even to fakes: copies, which keep or name a device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = args[0] if args else None
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            named = [each for each in (*args[1:], *kwargs.values()) if _is_device(each)]
            target = torch.device(
                "cpu" if func is torch.Tensor.cpu else (named or [given.device])[0]
            )
            types = [each for each in args[1:] if isinstance(each, torch.dtype)]
            kind = types[0] if types else given.dtype
            if target.type == given.device.type and kind == given.dtype:
                return given
            return torch.empty(given.shape, dtype=kind, device=target)
        if func in (torch.Tensor.contiguous, torch.Tensor.clone):
            return torch.empty(given.shape, dtype=given.dtype, device=given.device)
        if func is torch.Tensor.copy_:
            assert given.device == args[1].device
            return given
        if func is torch.nn.functional.scaled_dot_product_attention:
            # Which of its ways is taken cannot be asked of a torch without Metal.
            query, key, value = args[:3]
            assert query.device == key.device == value.device
            assert query.dtype == key.dtype == value.dtype
            shape = (*query.shape[:-1], value.shape[-1])
            return torch.empty(shape, dtype=query.dtype, device=query.device)
        if func in (torch.conv1d, torch.conv_transpose1d):
            return _by_images(func, *args)  # as Metal does it
        if func is torch.Tensor.__getitem__ and isinstance(args[1], int):
            return given.select(0, args[1])
        return func(*args, **kwargs)


def _by_images(func, x, weight, bias=None, stride=1, *more):
    """Convolve signals as images of one row."""
    sizes = [each if isinstance(each, int) else each[0] for each in (stride, *more)]
    x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    if func is torch.conv1d:
        padding, dilation, groups = (*sizes[1:], *(0, 1, 1)[len(sizes) - 1 :])
        steps = ((1, sizes[0]), (0, padding), (1, dilation), groups)
        return torch.conv2d(x, weight, bias, *steps).squeeze(2)
    assert sizes[1:] == [0, 0, 1, 1]
    return torch.conv_transpose2d(x, weight, bias, (1, sizes[0])).squeeze(2)


def _is_device(value):
    return isinstance(value, torch.device) or (isinstance(value, str) and value in ("cpu", "mps"))


class Watch(TorchDispatchMode):
    """Notes every operator that touches the device, and the types that it makes there."""

    def __init__(self):
        super().__init__()
        self.operators = set()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((made, args)) if isinstance(each, torch.Tensor)]
        if func.namespace == "aten" and any(each.device.type == "mps" for each in tensors):
            self.operators.add(func)
            self.types |= {each.dtype for each in tensors if each.device.type == "mps"}
        return made


def run(make):
    """Make a separator on the fake device and give it a mix; returns what was seen."""
    watch = Watch()
    with FakeTensorMode(), Moves(), watch, torch.no_grad():
        stream, samples = make()
        mean, deviation = 0.1, 0.5  # as the pipeline does it
        done = [stream.push((torch.zeros(2, samples) - mean) / deviation), stream.finish()]
        for stems in done:
            assert stems.device.type == "mps"
            assert (stems * deviation + mean).mean(1, keepdim=True).dtype == torch.float32
    return watch


def on_metal(*classes):
    with torch.device(MPS), adopt.Uninitialised():
        return [each().eval() for each in classes]


def network(dtype=torch.float32, **options):
    def make():
        shape = TfcTdfShape(**options)
        (built,) = on_metal(lambda: TfcTdf(shape))
        chunk = shape.chunk(4)
        cut = Chunking(chunk=chunk, hop=chunk // 2, batch=2)
        # As `placed` does it: all but the norms in the network's type.
        state = {
            key: torch.empty(value.shape, dtype=dtype, device=MPS) if value.dim() > 1 else value
            for key, value in built.state_dict().items()
        }
        built.load_state_dict(state, assign=True)
        runner = Runner(lambda *_: built, MPS, dtype)
        stream = OverlapAdd(runner, cut, stems=shape.stems, channels=2, device=MPS)
        return stream, chunk * 2

    return make


def song(architecture, *, dtype=torch.float32, chunk=12000, scheme="msst", **options):
    """A small network of songs, as its Separator runs it."""

    def make():
        kind, network = SONGS[architecture]
        shape = kind(stems=2, **options)
        (built,) = on_metal(lambda: network(shape))
        exact = {name for name, module in built.named_modules() if getattr(module, "exact", False)}
        state = {
            key: value
            if key.rpartition(".")[0] in exact or not value.is_floating_point()
            else torch.empty(value.shape, dtype=dtype, device=MPS)
            for key, value in built.state_dict().items()
        }
        built.load_state_dict(state, assign=True)
        cut = Chunking(chunk=chunk, hop=chunk // 2, batch=2, scheme=scheme)
        runner = Runner(lambda *_: built, MPS, dtype)
        return open_stream(runner, cut, stems=2, channels=2, device=MPS), chunk * 2

    return make


def short_mix():
    stream, _ = network(**SMALL)()
    return stream, 1000


def larsnet_(wiener):
    def make():
        built = on_metal(UNet, UNet)
        masks = larsnet.Masks(built, wiener=wiener)
        runner = Runner(lambda *_: masks, MPS)
        model = larsnet.LarsNet(runner, replace(sep_models.find("larsnet"), stems=("a", "b")))
        return model.stream(), 600_000

    return make


def bundled():
    manifest = sep_models.find("mdx23c-mini")
    return {**manifest.network, "stems": len(manifest.stems)}


SMALL = {"stems": 2, "n_fft": 512, "hop": 128, "dim_f": 256, "channels": 8, "growth": 8,
         "scales": 2, "blocks": 2, "subbands": 4, "bottleneck": 4}  # fmt: skip
ROFORMER = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "n_fft": 512, "win": 512, "hop": 128}
BANDS = {**ROFORMER, "bands": (57, 100, 100)}
HYBRID = {"chunk": 2000, "channels": 8, "nfft": 256, "depth": 4}
SCNET = {
    "chunk": 3000,
    "dims": (4, 8, 16, 32),
    "nfft": 1024,
    "win_size": 1024,
    "hop_size": 256,
    "num_dplayer": 2,
}
SONGS = {
    "roformer": (RoformerShape, Roformer),
    "htdemucs": (HTDemucsShape, HTDemucs),
    "hdemucs": (HDemucsShape, HDemucs),
    "scnet": (ScnetShape, Scnet),
}
SEPARATORS = {
    "mdx23c-mini": network(**bundled()),
    "mdx23c": network(**SMALL),
    "mdx23c batchnorm": network(**SMALL, norm="BatchNorm", act="relu"),
    "mdx23c groupnorm": network(**SMALL, norm="GroupNorm4", act="elu0.5"),
    "mdx23c short": short_mix,
    "mdx23c fp16": network(torch.float16, **SMALL),
    "bs-roformer": song("roformer", **BANDS),
    "bs-roformer fp16": song("roformer", dtype=torch.float16, **BANDS),
    "bs-roformer pope": song("roformer", **BANDS, pope=True),
    "bs-roformer linear, skip": song("roformer", **BANDS, linear_depth=1, skip=True),
    "bs-roformer shared bias": song("roformer", **BANDS, shared_bias=True),
    "mel-band-roformer": song("roformer", **ROFORMER, mel_bands=12),
    "htdemucs": song("htdemucs", scheme="demucs", channels=8, bottom_channels=32),
    "htdemucs fp16": song("htdemucs", dtype=torch.float16, scheme="demucs", channels=8),
    "htdemucs short": song("htdemucs", scheme="demucs", channels=8, segment=16000),
    "hdemucs": song(
        "hdemucs", scheme="demucs", **HYBRID, norm_starts=2, dconv_lstm=2, dconv_attn=2
    ),
    "hdemucs fp16": song("hdemucs", dtype=torch.float16, scheme="demucs", **HYBRID),
    "scnet": song("scnet", **SCNET),
    "scnet fp16": song("scnet", dtype=torch.float16, **SCNET),
    "scnet masked": song("scnet", **SCNET, masked=True),
    "scnet whitened": song("scnet", **SCNET, whiten=True),
    "scnet tran": song(
        "scnet", **SCNET, tran_heads=2, tran_dim_head=16, tran_rotary_embedding_dim=16
    ),
    "larsnet": larsnet_(None),
    "larsnet wiener": larsnet_(1.5),
}


USUAL = (
    "mdx23c-mini",
    "mdx23c fp16",
    "mdx23c short",
    "bs-roformer",
    "htdemucs",
    "scnet fp16",
    "larsnet",
)


@pytest.fixture(scope="module")
def smoke():
    watch = Watch()
    with (
        FakeTensorMode(),
        Moves(),
        watch,
        pytest.raises(Exception, match=r"item|data.dependent|_local"),
    ):
        devices.smoke(MPS)  # up to where it looks at a number, which a fake has not
    return watch


@pytest.fixture(scope="module")
def kernels():
    """What torch's own list says: operator with overload to its dispatch."""
    entries = yaml.load(LIST.read_text(), Loader=yaml.CSafeLoader)
    return {each["func"].partition("(")[0]: each for each in entries}


def way(name, kernels):
    """Say how an operator gets to Metal; empty where it does not."""
    entry = kernels.get(name.removesuffix(".default"))
    if entry is None:
        return ""
    dispatch = dict(entry.get("dispatch") or {})
    if delegate := entry.get("structured_delegate"):
        dispatch |= kernels[delegate].get("dispatch") or {}
    keys = {key.strip() for each in dispatch for key in each.split(",")}
    if "MPS" in keys:
        return "a kernel of its own"
    if not dispatch:
        return "made of others (implicit)"
    composite = sorted(each for each in keys if each.startswith("Composite"))
    return f"made of others ({composite[0]})" if composite else ""


def name_of(func):
    return str(func).removeprefix("aten.")


@pytest.mark.parametrize(
    "separator",
    [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in SEPARATORS],
)
def test_every_operator_and_type_gets_to_metal(separator, kernels):
    seen = run(SEPARATORS[separator])
    ways = {name_of(each): way(name_of(each), kernels) for each in seen.operators}
    assert len(ways) > 10
    for name, told in sorted(ways.items()):
        print(f"{name:35}{told or 'NOTHING'}")
    assert [name for name, told in ways.items() if not told] == []
    assert torch.float32 in seen.types
    assert not seen.types & set(NOT_ON_METAL)


def test_the_smoke_operation_gets_to_metal(smoke, kernels):
    names = {name_of(each) for each in smoke.operators}
    assert {"convolution.default", "_fft_r2c.default", "_fft_c2r.default"} <= names
    assert [name for name in names if not way(name, kernels)] == []


def test_copies_that_the_fakes_cannot_make_get_to_metal(kernels):
    for name in ("clone", "copy_", "_to_copy", "contiguous"):
        assert way(name, kernels), name


def test_attention_has_the_kernel_that_it_is_made_of(kernels):
    assert way("_scaled_dot_product_attention_math_for_mps", kernels) == "a kernel of its own"


def test_convolutions_have_the_kernels_that_they_are_made_of(kernels):
    for name in ("_mps_convolution", "_mps_convolution_transpose"):
        assert way(name, kernels) == "a kernel of its own"


def test_an_operator_without_a_kernel_would_be_found(kernels):
    assert way("linalg_eig", kernels) == ""
    assert way("no_such_operator", kernels) == ""


def test_a_type_that_metal_has_not_would_be_found():
    def doubled():
        stream, samples = network(**SMALL)()
        stream._window = stream._window.double()
        return stream, samples

    assert torch.float64 in run(doubled).types


def test_a_mix_up_of_devices_would_be_found():
    def forgotten():
        stream, samples = network(**SMALL)()
        stream._window = torch.ones(stream._window.shape, device="cpu")
        return stream, samples

    with pytest.raises(FakeTensorDeviceMismatchError):
        run(forgotten)


def test_the_transform_follows_its_input():
    """Its cache of envelopes is kept by device."""
    with FakeTensorMode(), Moves(), torch.no_grad():
        with torch.device(MPS):
            transform = Stft(512, 128)
        spectrum = transform(torch.zeros(2, 4096, device=MPS))
        assert transform.inverse(spectrum).device.type == "mps"
