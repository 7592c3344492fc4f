"""The training code: what is drawn, how it is rendered, what is minimised, how it goes on."""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("scipy")
pytest.importorskip("mido")
pytestmark = pytest.mark.slow

CODE = Path(__file__).parent.parent.parent / "models" / "training"


@pytest.fixture(scope="module")
def code(training):
    return training(
        "check_renders",
        "effects",
        "kits",
        "losses",
        "random_clips",
        "random_parts",
        "render",
        "score",
        "stems",
        "synth",
        "together",
        "train",
    )


@pytest.fixture(scope="module")
def bank(code):
    rng = np.random.default_rng(3)
    roles = [role for role in code.stems.ROLES if role not in ("tom2", "tom3")]
    return {"made": {role: [code.kits.synthetic(rng, role)] for role in roles}}


@pytest.fixture
def grooves(code):
    times = np.arange(0, 14, 0.25, dtype=np.float32)
    roles = np.arange(len(times)) % len(code.stems.ROLES)
    notes = np.stack((times, roles, np.full(len(times), 100)), 1).astype(np.float32)
    return [code.kits.Groove(notes, fill=fill) for fill in (False, True)]


def test_a_seed_is_one_clip_and_another_seed_another(code, bank, grooves):
    first, again, other = (
        code.random_clips.draw_clip(np.random.default_rng(seed), bank, grooves)
        for seed in (5, 5, 6)
    )
    assert first.shape == (5, 2, 12 * 44100)
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_hats_of_one_kit_share_their_tuning_and_tone(code, bank):
    shared = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        hats = code.random_parts.draw_hats(rng, bank["made"], None, (1.0, 0.5))
        ratios = np.array([part.ratio for part in hats.values()])
        shared += bool(np.ptp(np.log(ratios)) < 0.12 and hats["open"].filters)
    assert 12 <= shared <= 30


def test_a_set_of_toms_or_a_snare_shares_its_tuning_and_tone(code, bank):
    toms = ("tom1", "tom2", "tom3")
    shared = 0
    for seed in range(40):
        record = code.random_clips.draw_record(np.random.default_rng(seed), bank)
        ratios = np.array([record[role].ratio for role in toms])
        alike = len({record[role].filters for role in toms}) == 1
        shared += bool(np.ptp(np.log(ratios)) < 0.15 and alike)
    assert 20 <= shared < 40
    drums = [
        code.random_parts.draw_drum(np.random.default_rng(seed), stem)
        for seed in range(20)
        for stem in ("kick", "hihat", "cymbals")
    ]
    assert drums == [None] * 60


def test_a_plain_record_leaves_a_kit_as_it_is(code, bank):
    record = code.random_clips.draw_plain(np.random.default_rng(2), bank)
    assert set(record) == set(code.stems.ROLES)
    for part in record.values():
        assert part == code.render.Part(part.voice, gain=part.gain)


def test_a_closed_hat_chokes_an_open_one(code):
    rng = np.random.default_rng(1)
    ring = np.full((44100, 1), 20000, np.int16)
    voice = code.kits.voice([(100, ring)], 1 / 32768)
    record = {role: code.render.Part(voice) for role in ("open", "closed")}
    role = list(code.stems.ROLES).index
    alone = np.array([[0.0, role("open"), 100]], np.float32)
    choked = np.array([*alone, [0.2, role("closed"), 1]], np.float32)
    hats = [code.render.render(rng, record, notes, 44100)[3] for notes in (alone, choked)]
    late = slice(int(0.24 * 44100), None)
    assert np.square(hats[1][:, late]).sum() < 0.01 * np.square(hats[0][:, late]).sum()


@pytest.mark.parametrize("kind", ["room", "plate"])
def test_a_reverb_has_energy_one_and_dies_away(code, kind):
    tail = getattr(code.effects, kind)(np.random.default_rng(2))
    energy = np.square(tail).sum(0)
    assert energy.sum() / 2 == pytest.approx(1, abs=0.5)
    half = len(energy) // 2
    assert energy[half:].sum() < 0.1 * energy[:half].sum()


def test_a_plate_sends_high_frequencies_first(code):
    tail = code.effects.plate(np.random.default_rng(4)).mean(0)
    spectrum, frequency = np.fft.rfft(tail), np.fft.rfftfreq(len(tail), 1 / 44100)

    def arrival(low, high):
        band = np.fft.irfft(spectrum * ((frequency > low) & (frequency < high)), len(tail))
        energy = np.cumsum(band**2)
        return np.searchsorted(energy, 0.1 * energy[-1])

    assert arrival(6000, 12000) < arrival(400, 800)


def test_loudness_of_a_sine_is_what_the_standard_says(code):
    """BS.1770: 997 Hz at 0 dBFS in one channel reads -3.01 LUFS, in both 3 dB more."""
    t = np.arange(3 * 44100) / 44100
    sine = np.sin(2 * np.pi * 997 * t).astype(np.float32)
    assert code.check_renders.loudness(np.stack((sine, 0 * sine))) == pytest.approx(-3.01, abs=0.1)
    assert code.check_renders.loudness(np.stack((sine, sine))) == pytest.approx(0.0, abs=0.1)


def test_sdr_against_closed_forms(code):
    stems = torch.randn(5, 2, 1000, generator=torch.Generator().manual_seed(1))
    stems[2] = 0
    found = stems * 0.9
    found[2] = 0.01
    tally = code.score.Tally()
    tally.add(stems, found, [True, True, False, True, True])
    assert tally.sdr["kick"] == [pytest.approx(20, abs=1e-3)]
    assert tally.sdr["toms"] == [None]
    assert tally.leakage["toms"] == [pytest.approx(-40, abs=1e-3)]
    assert tally.leakage["kick"] == [None]


class Fixed:
    """A pool of one batch, again and again."""

    def __init__(self, chunk):
        self.stems = 0.05 * torch.randn(2, 5, 2, chunk, generator=torch.Generator().manual_seed(2))

    def batch(self, size, chunk):
        return self.stems[:size, ..., :chunk]


@pytest.fixture
def trainer(code, tmp_path, monkeypatch):
    """Make trainers of a tiny network on the CPU, without the random variation of batches."""
    tiny = replace(code.train.SHAPE, scales=1, channels=4, growth=4, blocks=1, dim_f=1024)
    monkeypatch.setattr(code.train, "SHAPE", tiny)
    monkeypatch.setattr(code.train, "CHUNK", tiny.chunk(8))
    monkeypatch.setattr(code.train, "vary", lambda stems: stems)
    options = {"seed": 1, "rate": 3e-3, "budget": 1.0, "batch": 2, "warmup": 0.0, "warm": None}

    def make(name):
        paths = {"state": tmp_path / name / "state.pt", "out": tmp_path / name, "start": None}
        made = code.train.Trainer(argparse.Namespace(**options, **paths), code.together.Together())
        return made, Fixed(tiny.chunk(8))

    return make


def test_a_hit_under_another_name_costs_a_whole_moment(code):
    mix, stems = torch.zeros(1, 2, 16, 32, 2), torch.zeros(1, 5, 2, 16, 32, 2)
    hits = {1: slice(0, 8), 3: slice(8, 32)}
    for stem, frames in hits.items():
        mix[..., frames, :] = stems[:, stem, ..., frames, :] = 30
    masks = stems[..., 0] / 30
    renamed = masks[:, [0, 2, 1, 3, 4]]
    right, wrong = (float(code.losses.moments(each, mix, stems)) for each in (masks, renamed))
    assert right < 0.3
    assert wrong > 1


def test_processes_take_the_mean_of_their_weights(tmp_path):
    script = tmp_path / "each.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(CODE)!r})
import torch
from together import Together
together = Together()
together.start()
weights = [torch.full((2, 3), 1.0 + together.rank), torch.full((4,), 10.0 * together.rank)]
together.mean(weights)
told = together.first(7.5 + together.rank, together.rank == 0)
found = [sorted(set(each.flatten().tolist())) for each in weights]
open({str(tmp_path)!r} + "/%d.txt" % together.rank, "w").write(str((found, told)))
together.end()
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        assert (tmp_path / f"{rank}.txt").read_text() == "([[1.5], [5.0]], [7.5, 1.0])"


def test_losses_fall_and_are_finite(trainer):
    made, pool = trainer("one")
    found = [float(made.update(pool)) for _ in range(9)]
    assert np.isfinite(found).all()
    assert np.mean(found[-3:]) < np.mean(found[:3])


def test_training_goes_on_bit_for_bit(trainer):
    made, pool = trainer("two")
    for _ in range(3):
        made.update(pool)
    made.save()
    ahead = [float(made.update(pool)) for _ in range(2)]
    resumed, _ = trainer("two")
    assert resumed.step == 3
    assert [float(resumed.update(pool)) for _ in range(2)] == ahead
    for key, tensor in made.ema.state_dict().items():
        assert torch.equal(tensor, resumed.ema.state_dict()[key])


def test_the_best_average_is_kept_across_a_resume(trainer):
    made, pool = trainer("three")
    best = made.options.out / "best.safetensors"
    clips = [[0.1 * torch.randn(5, 2, 30000, generator=torch.Generator().manual_seed(4))]]
    made.update(pool)
    made.report(clips, 0.0, (0, 0.0))
    first = best.read_bytes()
    made.rows[0]["mean"] = 1000.0
    made.save()
    resumed, _ = trainer("three")
    resumed.update(pool)
    resumed.report(clips, 0.0, (0, 0.0))
    assert best.read_bytes() == first
    assert (made.options.out / "ema.safetensors").read_bytes() != first
    resumed.rows[0]["mean"] = -1000.0
    resumed.rows[1:] = []
    resumed.report(clips, 0.0, (0, 0.0))
    assert best.read_bytes() == (made.options.out / "ema.safetensors").read_bytes()


def test_a_run_whose_state_is_lost_is_not_begun_over(tmp_path):
    left = tmp_path / "progress.json"
    left.write_text("{}")
    paths = {"--pack": "none", "--state": tmp_path / "state.pt", "--out": tmp_path}
    words = [str(word) for pair in paths.items() for word in pair]
    done = subprocess.run(
        [sys.executable, CODE / "train.py", *words, "--minutes", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"--start {tmp_path}" in done.stderr
    assert left.read_text() == "{}"


def test_weights_that_ship_take_shares_of_runs_by_part(training, tmp_path, monkeypatch, capsys):
    code = training("export").export
    state = code.TfcTdf(code.SHAPE).state_dict()
    files = [tmp_path / f"{level}.safetensors" for level in (0, 1, 3)]
    for path, level in zip(files, (0.0, 1.0, 3.0), strict=True):
        beside = {"context.gamma": torch.ones(1)}
        save_file({key: torch.full_like(one, level) for key, one in state.items()} | beside, path)
    out = tmp_path / "new" / "weights.safetensors"

    def export(*arguments):
        monkeypatch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
        code.main()
        made = load_file(out)
        assert made.keys() == state.keys()
        assert {one.dtype for one in made.values()} == {torch.float16}
        return {key: float(one.flatten()[0]) for key, one in made.items()}

    shares = ("--encoder", 0.75, "--decoder", 0.25, "--sharpen", 2)
    for key, level in export(*files, out, *shares).items():
        if key == "final_conv.2.weight":
            assert level == 1.0
        else:
            decodes = key.startswith(("decoder_blocks", "final_conv"))
            assert level == (0.5 if decodes else 1.5)
    assert set(export(*files, out).values()) == {float(torch.tensor(4 / 3).half())}
    kept = out.read_bytes()
    for wrong, words in (
        ([files[0], out, "--encoder", 0.5], "second checkpoint"),
        ([*files, out, "--sharpen", 1e9], "not finite"),
    ):
        with pytest.raises(SystemExit) as stopped:
            export(*wrong)
        assert words in str(stopped.value.code) + capsys.readouterr().err
    assert out.read_bytes() == kept
