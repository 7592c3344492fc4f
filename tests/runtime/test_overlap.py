"""Overlap-add is exact: an identity network gives its input back, whatever the lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sep_runtime.streams.overlap import Chunking, OverlapAdd, open_stream
from sep_runtime.streams.schemes import SCHEMES, hann

CPU = torch.device("cpu")


def run(network, mix, cut, block, stems=1, **how):
    stream = open_stream(network, cut, stems=stems, channels=mix.shape[0], device=CPU, **how)
    given_ = [stream.push(part) for part in mix.split(block, -1)] if mix.shape[-1] else []
    return torch.cat([*given_, stream.finish()], -1), stream


@settings(max_examples=300, deadline=None)
@given(
    samples=st.integers(0, 700),
    chunk=st.integers(1, 96),
    hop=st.integers(1, 96),
    batch=st.integers(1, 5),
    block=st.integers(1, 300),
    scheme=st.sampled_from(list(SCHEMES)),
    free=st.booleans(),
)
def test_identity(samples, chunk, hop, batch, block, scheme, free):
    cut = Chunking(chunk=chunk, hop=min(hop, chunk), batch=batch, scheme=scheme)
    mix = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    out, _ = run(lambda x: x.unsqueeze(1), mix, cut, block, free=free)
    assert out.shape == (1, 2, samples)
    # Float32 rounds at every addition: dozens of chunks over a sample are a test's, not a user's.
    most = 1e-6 * max(1.0, float(mix.abs().amax()) if samples else 0, cut.chunk / cut.hop / 8)
    assert samples == 0 or (out[0] - mix).abs().max() <= most


@pytest.mark.parametrize("overlap", [1, 1.5, 2, 3.7, 8])
def test_identity_at_real_size(overlap):
    cut = Chunking(chunk=130560, hop=round(130560 / overlap))
    for samples in (1, 130559, 130560, 130561, 400003):
        mix = torch.randn(1, samples)
        out, _ = run(lambda x: x.unsqueeze(1), mix, cut, 65536)
        assert (out[0] - mix).abs().max() <= 2e-6


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_result_does_not_depend_on_blocks_or_batch(scheme, free):
    mix = torch.randn(2, 5000)

    def network(x):  # depends on where in the chunk a sample is, as real networks do
        return (x * torch.linspace(0.5, 1.5, x.shape[-1])).unsqueeze(1)

    how = {"scheme": scheme}
    wanted, _ = run(network, mix, Chunking(chunk=512, hop=200, **how), 5000, free=free)
    for batch in (1, 3):
        for block in (1, 77, 512, 5000):
            cut = Chunking(chunk=512, hop=200, batch=batch, **how)
            assert (run(network, mix, cut, block, free=free)[0] - wanted).abs().max() < 1e-6


def test_no_chunk_is_computed_that_is_not_needed():
    for samples, chunks in ((1, 1), (100, 1), (101, 2), (150, 2), (151, 3), (1000, 19)):
        _, stream = run(
            lambda x: x.unsqueeze(1), torch.zeros(1, samples), Chunking(chunk=100, hop=50), 64
        )
        assert stream.chunks == chunks


@pytest.mark.parametrize("scheme", SCHEMES)
def test_memory_does_not_grow_with_length(scheme):
    cut = Chunking(chunk=100, hop=50, scheme=scheme)
    stream = open_stream(lambda x: x.unsqueeze(1), cut, stems=1, channels=1, device=CPU)
    inner = getattr(stream, "_stream", stream)
    sizes = set()
    for _ in range(300):
        stream.push(torch.zeros(1, 64))
        sizes.add(inner._mix().shape[-1] + inner._sum.shape[-1])
    assert max(sizes) <= 4 * (100 + 64)


def test_samples_are_given_as_soon_as_they_are_settled():
    stream = OverlapAdd(
        lambda x: x.unsqueeze(1), Chunking(chunk=100, hop=50), stems=1, channels=1, device=CPU
    )
    assert stream.push(torch.zeros(1, 100)).shape[-1] == 0
    assert stream.push(torch.zeros(1, 1)).shape[-1] == 1
    assert stream.push(torch.zeros(1, 99)).shape[-1] == 99


def test_other_tools_schemes_need_the_chunks_that_matter_alone():
    """MSST runs as many as fit into the reflected mix; the last ones are of reflections alone."""
    for scheme, chunks in (("msst", 20), ("msst-demucs", 20), ("demucs", 20), ("sep", 19)):
        cut = Chunking(chunk=100, hop=50, scheme=scheme)
        _, stream = run(lambda x: x.unsqueeze(1), torch.zeros(1, 1000), cut, 64)
        assert stream.chunks == chunks + (scheme == "msst")


def test_what_the_end_cuts_off_is_completed():
    mix = torch.arange(1.0, 251).unsqueeze(0)
    seen = []

    def network(x):
        seen.append(x[0, 0].clone())
        return x.unsqueeze(1)

    def last(scheme, **how):
        seen.clear()
        run(network, mix, Chunking(chunk=100, hop=80, scheme=scheme), 33, **how)
        return seen[-1]

    # The last chunk begins at 240 and has ten samples.
    silence = torch.zeros(90)
    assert torch.equal(last("msst-demucs"), torch.cat((mix[0, 240:], silence)))
    assert torch.equal(last("demucs"), torch.cat((mix[0, 195:], silence[:45])))
    assert torch.equal(last("demucs", free=True), mix[0, 240:])
    assert torch.equal(last("sep"), mix[0, 150:])
    # With 20 samples reflected at both ends, chunks begin at 0, 80, 160, 240 of 290.
    assert torch.equal(last("msst")[:50], torch.cat((mix[0, 220:], mix[0, 229:249].flip(0))))


@pytest.mark.parametrize("samples", [1, 2, 3, 9, 10, 11, 99, 100, 1000])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_windows_are_positive(scheme, samples):
    window = SCHEMES[scheme].window(samples)
    assert window.shape == (samples,)
    assert (window > 0).all()
    assert torch.equal(window, window.flip(0)) or scheme == "sep"


def test_window_is_positive_and_sums_to_one():
    window = hann(1000)
    assert (window > 0).all()
    assert torch.allclose(window[:500] + window[500:], torch.ones(500))


@pytest.mark.parametrize("cut", [(0, 1, 1), (10, 0, 1), (10, 11, 1), (10, 5, 0)])
def test_impossible_cuts(cut):
    with pytest.raises(ValueError, match="no such cut"):
        Chunking(chunk=cut[0], hop=cut[1], batch=cut[2])


def test_short_mix_goes_through_the_chunk_it_is_given():
    seen = []

    def network(x):
        seen.append(x.shape[-1])
        return x.unsqueeze(1)

    stream = OverlapAdd(
        network,
        Chunking(chunk=100, hop=50),
        stems=1,
        channels=1,
        device=CPU,
        short=lambda samples: 40 if samples <= 40 else 100,
    )
    stream.push(torch.ones(1, 33))
    assert stream.finish().shape == (1, 1, 33)
    assert seen == [40]
