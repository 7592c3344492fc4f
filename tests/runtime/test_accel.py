"""Faster ways give what the plain operators give, or are not used."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from sep_protocol.errors import DeviceError, MemoryLimitError, UsageError
from sep_runtime import memory
from sep_runtime.accel import caches, cuda, hardware, operators, tuning
from sep_runtime.models import precision
from sep_runtime.models.placing import placed
from sep_runtime.models.running import Runner
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape
from sep_runtime.nets.unet import UNet

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def table(tmp_path, monkeypatch):
    made = tuning.Tuning(lambda: tmp_path / "cache")
    monkeypatch.setattr(tuning, "TABLE", made)
    return made


def relative(found, true):
    return float((found - true).abs().max() / true.abs().max())


def drawn(layer):
    for value in layer.parameters():
        nn.init.normal_(value)
    return layer.eval()


@pytest.mark.parametrize("act", [nn.GELU(), nn.ReLU(), nn.ELU(0.5)], ids=["gelu", "relu", "elu"])
@pytest.mark.parametrize(
    "norm",
    [nn.InstanceNorm2d(6, affine=True), nn.BatchNorm2d(6), nn.GroupNorm(3, 6), nn.Identity()],
    ids=["instance", "batch", "group", "none"],
)
def test_norm_and_activation(norm, act):
    x = torch.randn(2, 6, 9, 5) * 3 + 7
    before = x.clone()
    assert relative(operators.norm_act(x, drawn(norm), act), act(norm(x))) < 1e-5
    assert torch.equal(x, before)


def test_what_adds_in_place_adds():
    x, y, weight = torch.randn(3, 4, 8, 6), torch.randn(3, 5, 8, 6), torch.randn(5, 4, 1, 1)
    true = y + torch.nn.functional.conv2d(x, weight)
    assert relative(operators.conv1x1_add_(y.clone(), x, weight), true) < 1e-5
    turned = y.clone().transpose(-1, -2).contiguous().transpose(-1, -2)
    assert relative(operators.conv1x1_add_(turned, x, weight), true) < 1e-5
    narrow, wide = torch.randn(2, 6), torch.randn(6, 2)
    inner = operators.frequency(y, narrow)
    true = y + torch.nn.functional.linear(torch.nn.functional.linear(y, narrow), wide)
    assert relative(operators.frequency_add_(y.clone(), inner, wide), true) < 1e-5
    assert relative(operators.frequency_add_(turned * 0 + y, inner, wide), true) < 1e-5


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("channels", [(3, 5), (8, 2)])
def test_every_way_of_a_transposed_convolution(items, channels):
    conv = drawn(nn.ConvTranspose2d(*channels, 5, stride=2, padding=2, output_padding=1))
    x = torch.randn(items, channels[0], 12, 10)
    quarters = operators._plain3x3(x, operators._quarters(conv.weight))
    assert relative(operators._between(quarters, conv.bias), conv(x)) < 1e-5
    assert relative(operators.double(x, conv), conv(x)) < 1e-5
    weight = torch.randn(channels[0], 4, 2, 3)
    true = torch.nn.functional.conv_transpose2d(x, weight, stride=(2, 3))
    assert relative(operators._up_by_gemm(x, weight), true) < 1e-5


@pytest.mark.parametrize("items", [1, 2])
def test_nnpack_where_torch_has_it(items):
    if not torch._nnpack_available():
        pytest.skip("this torch has no NNPACK")
    x, weight = torch.randn(items, 16, 64, 64), torch.randn(16, 16, 3, 3)
    true = torch.nn.functional.conv2d(x, weight, padding=1)
    assert relative(operators._nnpack(x, weight), true) < 1e-4


SHAPE = TfcTdfShape(
    stems=2, n_fft=512, hop=128, dim_f=256, channels=16, growth=8, scales=2, subbands=2
)


@pytest.mark.parametrize("output", ["mapping", "mask"])
def test_a_network_is_the_plain_one(output, table):
    network = TfcTdf(replace(SHAPE, output=output)).eval()
    mix = torch.randn(2, 2, SHAPE.chunk(16)) * 0.1
    fast = network(mix)
    with operators.plain():
        plain = network(mix)
    with torch.enable_grad():
        trained = network(mix.clone())
    assert relative(fast, plain) < 1e-4
    assert torch.equal(plain, trained)


def test_a_network_can_be_trained():
    with torch.inference_mode(mode=False), torch.enable_grad():
        network = TfcTdf(SHAPE)
        network(torch.randn(1, 2, SHAPE.chunk(4))).square().mean().backward()
        assert all(each.grad is not None for each in network.parameters())
        unet = UNet()
        unet(torch.rand(1, 2, 2048, 512)).mean().backward()
        assert unet.enc1.conv.weight.grad is not None


def ways(**others):
    return lambda: {"plain": lambda: torch.ones(3), **others}


def slow(value):
    return lambda: (sum(range(200_000)), value)[1]


def test_the_faster_way_that_is_right_is_taken_and_remembered(table, tmp_path):
    plain = slow(torch.ones(3))
    asked = {"plain": plain, "fast": lambda: torch.ones(3) + 1e-6}
    assert table.way("op", "3", CPU, lambda: asked) == "fast"
    row = table.used()[0]
    assert row.ms < row.plain_ms
    assert 0 < row.error < 1e-4
    table.keep()
    again = tuning.Tuning(lambda: tmp_path / "cache")
    assert again.way("op", "3", CPU, lambda: pytest.fail("it was measured again")) == "fast"


def test_another_machine_measures_anew(table, tmp_path, monkeypatch):
    table.way("op", "3", CPU, ways())
    table.keep()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    asked = []
    again = tuning.Tuning(lambda: tmp_path / "cache")
    again.way("op", "3", CPU, lambda: asked.append(1) or ways()())
    assert asked


@pytest.mark.parametrize("wrong", [2.0, float("nan"), float("inf")])
def test_a_way_that_is_wrong_is_not_taken(table, wrong):
    asked = {"plain": slow(torch.ones(3)), "fast": lambda: torch.ones(3) * wrong}
    assert table.way("op", "3", CPU, lambda: asked) == "plain"


@pytest.mark.parametrize("fault", [RuntimeError, AttributeError, TypeError])
def test_a_way_whose_means_are_missing_is_not_taken(table, fault):
    def missing():
        raise fault("no such operator")

    assert table.way("op", "3", CPU, ways(fast=missing)) == "plain"


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"way": 3}]', "null", "[" * 100_000])
def test_a_damaged_file_is_measured_anew(table, tmp_path, text):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / tuning.FILE).write_text(text)
    assert table.way("op", "3", CPU, ways()) == "plain"
    table.keep()
    assert len(json.loads((tmp_path / "cache" / tuning.FILE).read_text())) == 1


@pytest.mark.parametrize("where", [lambda path: path / "file" / "x", lambda _: None])
def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, where):
    (tmp_path / "file").write_text("in the way")
    table = tuning.Tuning(lambda: where(tmp_path))
    assert table.way("op", "3", CPU, ways()) == "plain"
    table.keep()
    table.keep()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_cache_is_in_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SEP_HOME", str(tmp_path))
    assert caches.folder() == tmp_path / "cache" / "sep" / "accel"


def test_no_kernels_of_ours_off_nvidia():
    x = torch.randn(1, 8, 4, 4, dtype=torch.float16)
    assert cuda.norm_gelu(x, nn.InstanceNorm2d(8, affine=True)) is None
    assert not cuda.is_used()


class Short:
    """A network that has memory for `most` items, on the device that it pretends to be on."""

    def __init__(self, most):
        self.most, self.seen = most, []

    def __call__(self, x):
        if len(x) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has 1 KiB.")
        self.seen.append(len(x))
        return x * 2


def test_the_batch_halves_until_it_fits():
    network, told = Short(2), []
    runner = Runner(lambda *_: network, CPU, batch=8)
    runner.tell = told.append
    x = torch.randn(11, 3)
    assert torch.equal(runner(x), x * 2)
    assert network.seen == [2, 2, 2, 2, 2, 1]
    assert [(each.was, each.now) for each in told] == [
        ("batch 8", "batch 4"),
        ("batch 4", "batch 2"),
    ]
    assert told[0].reason == "CUDA out of memory. Tried to allocate 40.00 MiB"
    assert runner.batch == 2


def test_of_one_item_memory_is_short():
    runner = Runner(lambda *_: Short(0), CPU, batch=2)
    with pytest.raises(MemoryLimitError, match=r"out of memory: CUDA out of memory\. Tried"):
        runner(torch.randn(2, 3))


@pytest.mark.parametrize("to_cpu", [True, False])
def test_after_one_item_the_cpu_goes_on_where_it_may(to_cpu):
    """The GPU is a fake: a device of torch without hardware, and a network that lacks memory."""
    there, told = torch.device("meta"), []
    networks = {there: Short(0), CPU: Short(9)}
    runner = Runner(lambda device, _: networks[device], there, batch=2, to_cpu=to_cpu)
    runner.tell = told.append
    x = torch.randn(2, 3)
    if not to_cpu:
        with pytest.raises(MemoryLimitError):
            runner(x)
        return
    # What was sent to the fake has no values: the next items show that the CPU does them.
    runner(x)
    assert [each.now for each in told] == ["batch 1", "cpu"]
    assert (runner.device, runner.precision) == (CPU, "fp32")
    assert torch.equal(runner(x), x * 2)


def test_other_faults_are_not_taken_for_short_memory():
    def broken(_):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Runner(lambda *_: broken, CPU, batch=2, to_cpu=True)(torch.randn(2, 3))


def test_what_is_short_is_told_in_two_sentences():
    fault = RuntimeError("CUDA out of memory. Tried 4.00 MiB. GPU 0 has 3.5 GiB.\nmore")
    assert memory.brief(fault) == "CUDA out of memory. Tried 4.00 MiB"


NETWORK = TfcTdf(SHAPE).eval().requires_grad_(requires_grad=False)
FACTS = precision.Facts(
    key="x",
    shape=(2, SHAPE.chunk(8)),
    example=lambda: precision.golden(SHAPE.chunk(8)),
    bytes_of=lambda _: 1,
)


def make(device, dtype):
    return placed(NETWORK, lambda: TfcTdf(SHAPE), device, dtype)


def decided(wanted, device=CPU):
    return precision.runner(make, FACTS, device, wanted=wanted, batch=None, to_cpu=False)


@pytest.mark.parametrize("wrong", [{2}, {1, 2, 3}])
def test_a_device_that_is_wrong_now_and_then_is_refused(wrong, table):
    """As it is said of one network on Metal; here the CPU stands in for the device."""

    class Errs(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return NETWORK(x) * (1.1 if self.calls in wrong else 1.0)

    made = iter((NETWORK, NETWORK, Errs()))
    with pytest.raises(DeviceError, match="wrongly on cpu: 20 dB"):
        precision.prove(lambda *_: next(made), FACTS, CPU)
    with pytest.raises(DeviceError, match="wrongly"):  # what was found is kept
        precision.prove(make, FACTS, CPU)


def test_a_device_that_is_right_is_taken(table):
    precision.prove(make, FACTS, CPU)


@pytest.mark.parametrize("wanted", ["auto", "fp32"])
def test_a_cpu_computes_in_fp32(wanted, table):
    runner, snr = decided(wanted)
    assert (runner.precision, runner.batch, snr) == ("fp32", 1, None)
    assert runner.network is NETWORK


def test_a_cpu_computes_in_bf16_by_name_and_says_how_exact_that_is(table, monkeypatch):
    monkeypatch.setattr(hardware, "has_bf16", lambda: True)
    runner, snr = decided("bf16")
    assert runner.precision == "bf16"
    assert 10 < snr < 60
    found = runner(FACTS.example())
    assert found.dtype == torch.float32
    assert 10 < -20 * torch.log10(torch.tensor(relative(found, NETWORK(FACTS.example())))) < 80
    row = next(each for each in table.used() if each.operator == "network in bf16")
    assert row.error > 0


def test_a_cpu_has_no_fp16_and_not_always_bf16(table, monkeypatch):
    with pytest.raises(UsageError, match="not compute in fp16"):
        decided("fp16")
    monkeypatch.setattr(hardware, "has_bf16", lambda: False)
    with pytest.raises(UsageError, match="not compute in bf16"):
        decided("bf16")
    assert decided("auto")[0].precision == "fp32"


def test_a_precision_without_numbers_is_refused_by_name(table, monkeypatch):
    monkeypatch.setattr(hardware, "has_bf16", lambda: True)
    broken = tuning.Found(way="bf16", plain_ms=2.0, ms=1.0, error=float("inf"))
    monkeypatch.setattr(precision, "_compared", lambda *_: broken)
    with pytest.raises(DeviceError, match="no numbers in bf16"):
        decided("bf16")


@pytest.mark.parametrize(
    ("error", "ms", "taken"),
    [(0.005, 1.0, "fp16"), (0.02, 1.0, "fp32"), (0.005, 3.0, "fp32"), (float("inf"), 1.0, "fp32")],
)
def test_auto_takes_what_passes_and_is_faster(error, ms, taken, table, monkeypatch):
    """On a GPU that is a fake: nothing is computed, the measurement is given."""
    found = tuning.Found(way="fp16", plain_ms=2.0, ms=ms, error=error)
    monkeypatch.setattr(precision, "_compared", lambda *_: found)
    monkeypatch.setattr(tuning, "machine", lambda _: "a GPU")
    chosen, snr = precision._precision(make, FACTS, torch.device("mps"), "auto")
    assert precision.NAMES[chosen] == taken
    assert (snr is None) == (taken == "fp32")


@pytest.mark.parametrize(("free", "batch"), [(4, 2), (1, 1), (0, 1), (1 << 20, 4)])
def test_a_batch_fits_the_free_memory_and_is_the_fastest(free, batch, table, monkeypatch):
    """On a fake GPU with so much free memory, where four at once are the fastest."""
    fastest = tuning.Found(way="4", plain_ms=2.0, ms=1.0, error=0.0)
    monkeypatch.setattr(precision, "free", lambda _: free)
    monkeypatch.setattr(precision, "_fastest", lambda *_: fastest)
    monkeypatch.setattr(tuning, "machine", lambda _: "a GPU")
    found = precision._batch(make, FACTS, torch.device("mps"), torch.float16)
    assert found == batch
