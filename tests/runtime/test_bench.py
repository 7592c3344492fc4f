"""The baselines are what they say they are: exact with an identity network, and dear."""

import json

import pytest
import soundfile
import torch

import sep_runtime
from sep_protocol import Bench, Job, Model
from sep_protocol.errors import PathError, UsageError
from sep_runtime import profiling, quality
from sep_runtime.baselines import demix, uvr
from sep_runtime.bench import bench
from sep_runtime.streams.overlap import Chunking, OverlapAdd

CPU = torch.device("cpu")


def identity(x):
    return x.unsqueeze(1)


@pytest.mark.parametrize("samples", [900, 1000, 1001, 5000, 12345])
@pytest.mark.parametrize("overlap", [2, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_demix_gives_an_identity_back(samples, overlap, batch):
    mix = torch.randn(2, samples)
    found, count = demix(identity, mix, 1000, 1000 // overlap, batch=batch, device=CPU)
    assert found.shape == (1, 2, samples)
    # Its fades begin at zero: where one chunk alone covers a sample, the field divides 0 by 0.
    wrong = (found[0] - mix).abs() > 1e-4
    assert wrong.sum() <= 2 * count
    assert count >= samples // (1000 // overlap)


@pytest.mark.parametrize("samples", [1000, 1001, 5000, 12345])
def test_uvr_gives_an_identity_back(samples):
    mix = torch.randn(2, samples)
    found, count = uvr(identity, mix, 1000)
    assert (found[0] - mix).abs().max() < 1e-5
    assert count > 8 * (samples // 1000)


def test_ours_needs_the_fewest_chunks():
    mix = torch.randn(2, 30 * 1000)
    stream = OverlapAdd(
        identity, Chunking(chunk=1000, hop=500), stems=1, channels=2, device=torch.device("cpu")
    )
    stream.push(mix)
    stream.finish()
    assert (
        stream.chunks
        < demix(identity, mix, 1000, 500, batch=1, device=CPU)[1]
        < uvr(identity, mix, 1000)[1]
    )


def job_of(tiny, **wanted):
    checkpoint, settings = map(str, tiny)
    return Job(
        id="0a1b2c3d",
        tracks=(),
        model=Model(name="tiny", checkpoint=checkpoint, settings=settings),
        device="cpu",
        bench=Bench(**{"seconds": 1.0, "runs": 1, "baselines": False, "snr": False, **wanted}),
    )


@pytest.fixture
def model(tiny):
    return sep_runtime.load("tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]), device="cpu")


@pytest.mark.slow
def test_a_bench_measures_every_scheme(tiny, model):
    told = []
    job = job_of(tiny, seconds=2.0, baselines=True)
    found = bench(model, job, told.append, phases={"import": 1.5})
    assert [each.detail for each in told] == [
        *("", "sep, run 1 of 1", "demix, run 1 of 1", "uvr, run 1 of 1")
    ]
    assert [each.scheme for each in found.measured] == ["sep", "demix", "uvr"]
    ours = found.measured[0]
    assert ours.ratio == 1
    assert ours.real_time == pytest.approx(2.0 / ours.seconds)


def test_a_bench_says_where_the_time_and_the_memory_go(tiny, model):
    found = bench(model, job_of(tiny), print, phases={"import": 1.5})
    assert [each.scheme for each in found.measured] == ["sep"]
    assert list(found.phases) == ["import", "first", "decode", "network"]
    assert found.phases["import"] == 1.5
    assert 0 < found.phases["network"] <= found.measured[0].seconds
    assert found.peak_memory > 1 << 20
    assert found.gpu_memory == 0
    assert found.threads == torch.get_num_threads()
    assert (found.snr, found.profile, found.tuning) == (None, None, ())


def test_stems_are_compared_with_those_of_the_plain_cpu(tiny, model):
    job = job_of(tiny, snr=True)
    assert bench(model, job, print, phases={}).snr > 100  # dB: rounding, of fast ways
    network = model.loaded.runner.network
    weight = network.final_conv[2].weight
    with torch.no_grad():
        weight.mul_(1.01)
    assert quality.snr(model, quality.plain(job)) == pytest.approx(40, abs=0.5)
    with torch.no_grad():
        weight.zero_()
    assert quality.snr(model, quality.plain(job)) == pytest.approx(0, abs=0.01)
    # Nothing that plays, nothing to compare.
    assert quality.snr(quality.plain(job), model) is None


def test_the_audio_is_left_for_whole_commands(tiny, model, tmp_path):
    bench(model, job_of(tiny, mix=str(tmp_path / "mix.wav")), print, phases={})
    assert soundfile.info(tmp_path / "mix.wav").frames == 44100
    with pytest.raises(PathError, match="no such folder"):
        bench(model, job_of(tiny, mix=str(tmp_path / "no such folder" / "x")), print, phases={})


def test_a_profile_groups_operators(tiny, model, tmp_path):
    job = job_of(tiny, profile=True, trace=str(tmp_path / "trace.json"))
    found = bench(model, job, print, phases={}).profile
    assert found.side == "cpu"
    shares = {each.group: each.share for each in found.groups}
    assert {"convolutions", "norms and activations", "Fourier transforms"} <= set(shares)
    assert profiling.BETWEEN in shares
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1, abs=0.02)
    assert len(found.operators) <= profiling.LISTED
    assert all(each.group == profiling.group_of(each.name) for each in found.operators)
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert any("conv" in str(each.get("name")) for each in trace["traceEvents"])
    assert not set(profiling.PRIVATE) & set(trace)
    assert [each.name for each in tmp_path.iterdir()] == ["trace.json"]
    job = job_of(tiny, profile=True, trace=str(tmp_path / "no such folder" / "trace.json"))
    with pytest.raises(PathError, match="trace"):
        bench(model, job, print, phases={})


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("aten::mkldnn_convolution", "convolutions"),
        ("aten::_nnpack_spatial_convolution", "convolutions"),
        ("void cudnn::ops::nchwToNhwcKernel<__half, __half, float>", "copies and layout"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_nhwckrsc_nhwc", "convolutions"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s16816fprop_optimized>", "convolutions"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm_f16_64x64>", "linear layers"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTN", "linear layers"),
        ("aten::addmm", "linear layers"),
        ("aten::mm", "linear layers"),
        ("void regular_fft<4096u, EPT<16u>, 256u, 1u>", "Fourier transforms"),
        ("aten::_fft_c2r", "Fourier transforms"),
        (
            "void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>",
            "norms and activations",
        ),
        ("void at::native::batch_norm_collect_statistics_kernel", "norms and activations"),
        (
            "void at::native::vectorized_elementwise_kernel<8, CUDAFunctor_add<c10::Half>>",
            "sums and products",
        ),
        ("Memcpy DtoH (Device -> Pinned)", "copies and layout"),
        ("void at::native::CatArrayBatchedCopy<...>", "copies and layout"),
        ("void at::native::direct_copy_kernel_cuda", "copies and layout"),
        ("aten::div", "sums and products"),
        ("aten::cat", "copies and layout"),
        ("void foldedNhwcToNchwKernel<float, float, float, true>", "copies and layout"),
        ("void nchwToFoldedNhwcKernel<float, float, float, true>", "copies and layout"),
        ("void at::native::RowwiseMomentsCUDAKernel<float>", "norms and activations"),
        ("void at::native::ComputeFusedParamsCUDAKernel<float>", "norms and activations"),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_execute_kernel__5x_cublas", "linear layers"),
        ("sm80_xmma_dgrad_implicit_gemm_indexed_tf32f32", "convolutions"),
        ("void vector_fft_symm_c2r<2048u, EPT<16u>, (padding_t)70>", "Fourier transforms"),
        (
            "void vectorized_elementwise_kernel<4, FillFunctor<float>>",
            "copies and layout",
        ),
        (
            "void reduce_kernel<512, 1, ReduceOp<float, sum_functor>>",
            "sums and products",
        ),
        ("Memset (Device)", "copies and layout"),
        ("aten::constant_pad_nd", "copies and layout"),
        ("aten::empty", "other"),
        ("aten::view", "other"),
    ],
)
def test_operators_and_kernels_are_told_apart(name, group):
    assert profiling.group_of(name) == group


def test_kernels_that_run_beside_each_other_count_once():
    assert profiling._union([(0, 2), (1, 3), (5, 6), (5.5, 5.75)]) == 4
    assert profiling._union([]) == 0


def test_larsnet_has_no_such_baselines(tmp_path):
    import safetensors.torch

    import sep_models
    from sep_runtime.nets.unet import UNet

    state = {
        f"{stem}.{key}": value.clone()
        for stem in sep_models.find("larsnet").stems
        for key, value in UNet().state_dict().items()
    }
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    model = sep_runtime.load("larsnet", folder=str(tmp_path), device="cpu")
    job = Job(
        id="0a1b2c3d", tracks=(), model=Model(name="larsnet"), bench=Bench(seconds=0.1, runs=1)
    )
    with pytest.raises(UsageError, match="no baselines"):
        bench(model, job, print, phases={})
