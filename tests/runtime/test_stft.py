"""Our inverse against torch's, and the transform pair as an identity."""

from dataclasses import replace

import pytest
import torch

from sep_runtime.nets.stft import Stft, frames_to_signal, to_real
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape, compress, magnitudes

SMALL = {"n_fft": 512, "hop": 128, "dim_f": 128, "channels": 8, "growth": 4, "scales": 2}


@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (4096, 1024), (8192, 1024), (512, 100)])
def test_inverse_is_torchs(n_fft, hop):
    signal = torch.randn(3, 2, hop * 63)
    stft = Stft(n_fft, hop)
    spectrum = stft(signal)
    assert spectrum.shape == (3, 2, n_fft // 2 + 1, 64)
    disturbed = spectrum * torch.rand_like(spectrum.real)
    wanted = torch.istft(disturbed.flatten(0, 1), n_fft, hop, window=stft.window)
    assert torch.allclose(stft.inverse(disturbed).flatten(0, 1), wanted, atol=2e-6)
    assert (stft.inverse(spectrum) - signal).abs().max() < 1e-5


def test_frames_are_added_where_they_belong():
    frames = torch.ones(4, 5)
    assert frames_to_signal(frames, 2).tolist() == [1, 1, 2, 2, 3, 2, 3, 2, 2, 1, 1]


@pytest.mark.parametrize("sees", ["complex", "magnitude"])
def test_masked_stems_sum_to_the_mix(sees):
    shape = TfcTdfShape(stems=3, **SMALL, output="mask", input=sees)
    network = TfcTdf(shape).eval()
    mix = torch.randn(2, 2, shape.chunk(4)) * 0.1
    with torch.inference_mode():
        stems = network(mix)
        masks = network.masks(network.stft(mix))
    assert stems.shape == (2, 3, 2, mix.shape[-1])
    assert masks.shape[-2] == 257
    assert (masks.sum(1) - 1).abs().max() < 1e-6
    assert (stems.sum(1) - mix).abs().max() < 1e-5


@pytest.mark.parametrize("sees", ["complex", "magnitude"])
def test_masks_do_not_depend_on_the_level_where_the_peak_is_given(sees):
    torch.manual_seed(1)
    shape = TfcTdfShape(stems=3, **SMALL, output="mask", input=sees, peak=0.7)
    network = TfcTdf(shape).eval()
    plain = TfcTdf(replace(shape, peak=None)).eval()
    plain.load_state_dict(network.state_dict())
    mixes = torch.randn(2, 2, shape.chunk(4))
    mixes = 0.7 * mixes / mixes.abs().amax((1, 2), keepdim=True)
    levels = torch.tensor([0.003, 20.0]).view(2, 1, 1)
    with torch.inference_mode():
        wanted = plain(mixes)
        stems = network(mixes * levels) / levels.unsqueeze(1)
        other = plain(mixes * levels) / levels.unsqueeze(1)
        silence = network(torch.zeros_like(mixes))
    assert (stems - wanted).abs().max() < 1e-5
    assert (other - wanted).abs().amax((1, 2, 3)).min() > 1e-3
    assert not silence.any()


def test_compression_keeps_phase_and_survives_zero():
    spectrum = torch.tensor([[0.0, 0.0], [3.0, -4.0]])
    out = compress(spectrum)
    assert out[0].tolist() == [0.0, 0.0]
    assert torch.allclose(out[1] / out[1].norm(), spectrum[1] / 5)
    assert torch.allclose(out[1].norm(), torch.log(torch.tensor(151.0)) / 4)


def test_magnitudes_have_no_phase_and_survive_zero():
    turned = torch.tensor([[0.0, 0.0], [3.0, -4.0], [0.0, 5.0]])
    out = magnitudes(turned)
    assert out[0].abs().max() < 1e-3
    assert torch.allclose(out[1], out[2])
    assert torch.allclose(out[1], torch.tensor([151.0, 15001.0]).log() / torch.tensor([4.0, 8.0]))


@pytest.mark.parametrize(
    "options",
    [
        {"input": "magnitude"},
        {"peak": 0.7},
        {"peak": 0.0, "output": "mask"},
        {"peak": 1.1, "output": "mask"},
        {"peak": float("nan"), "output": "mask"},
    ],
)
def test_what_only_masks_can_have_is_refused(options):
    with pytest.raises(ValueError, match="masks"):
        TfcTdfShape(stems=5, **options)


@pytest.mark.parametrize("options", [{"dim_f": 1000}, {"dim_f": 4096}])
def test_shapes_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="dim_f"):
        TfcTdfShape(stems=5, **options)


def test_chunks_that_fit():
    shape = TfcTdfShape(stems=5)
    assert [shape.chunk(k) for k in (1, 8, 32)] == [512 * 31, 130560, 523776]
    assert shape.fits(130560)
    assert not shape.fits(130561)
    assert not shape.fits(131072)
    assert not shape.fits(0)


@pytest.mark.parametrize("n", [8, 476, 4096])
def test_what_has_no_meaning_in_a_spectrum_is_left_out(n):
    """By us, because not every device's transform does it."""
    torch.manual_seed(0)
    spectrum = torch.randn(3, n // 2 + 1, dtype=torch.complex64)
    sound = spectrum.clone()
    sound[:, [0, -1]] = sound[:, [0, -1]].real.to(torch.complex64)
    wanted = torch.fft.irfft(sound, n=n)
    assert torch.allclose(to_real(spectrum, n), wanted, atol=1e-6)
    assert torch.equal(spectrum, sound)
