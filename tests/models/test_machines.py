"""What training draws beside kits and grooves: drum machines, their patterns, records."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("mido")

RATE = 44100


@pytest.fixture(scope="module")
def code(training):
    return training(
        "machine_drums",
        "machine_toms",
        "machines",
        "patterns",
        "random_clips",
        "records",
        "render",
        "stems",
        "styles",
    )


def drawn(code, seed, *stems):
    return code.machines.draw_machine(np.random.default_rng(seed), *stems)


@pytest.fixture(scope="module")
def several(code):
    return [drawn(code, seed) for seed in range(6)]


def test_no_voice_is_silent_whatever_is_cut(code):
    machine = drawn(code, [77, 114], ("hihat", "cymbals"))
    (crash,) = machine["crash"]  # one that rises, behind a gate
    assert max(int(np.abs(hit).max()) for hit in crash.hits) > 1000


def test_a_machine_has_a_sound_for_every_role(code, several):
    for kit in several:
        assert set(kit) == set(code.stems.ROLES) - {"tom2", "tom3"}
        assert len(kit["tom1"]) == 3
        for role, voices in kit.items():
            for voice in voices:
                assert list(voice.velocities) in ([110], [70, 110]), role
                loudest = np.abs(voice.hits[-1].astype(int)).max()
                assert 0.45 * code.machines.LOUDEST < loudest <= code.machines.LOUDEST
                assert 60 <= len(voice.hits[-1]) < 9 * RATE
                assert abs(int(voice.hits[-1][-1, 0])) < 400  # no click at the end


def test_a_seed_is_one_machine_and_another_seed_another(code):
    first, again, other = (drawn(code, seed, ("snare", "toms")) for seed in (1, 1, 2))
    assert set(first) == {"snare", "rim", "side", "tom1"}
    for role, voices in first.items():
        for voice, same in zip(voices, again[role], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(voice.hits, same.hits, strict=True))
    assert not np.array_equal(first["snare"][0].hits[-1], other["snare"][0].hits[-1])


def strongest(sound):
    """[T] to the strongest frequency in Hz."""
    size = 1 << 17
    return float(np.abs(np.fft.rfft(sound, size))[50:].argmax() + 50) * RATE / size


def test_toms_fall_and_stay_above_the_kick(code):
    lean = code.machine_drums.LEANS["analogue"] | {"bridged": 1000}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pitch = 60.0
        high, middle, low = map(strongest, code.machine_toms.toms(rng, lean, pitch))
        assert high > middle > low > pitch
        assert high / middle < 1.9


@pytest.mark.parametrize("kind", ["bridged", "swept", "ring", "fm", "burst", "membrane"])
def test_a_snare_has_noise_and_a_kick_is_low(code, kind):
    """Flatness of the spectrum: a tone's is near 0, white noise's 0.56."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sound = code.machine_drums.snare(rng, {kind: 1000})
        power = np.abs(np.fft.rfft(sound[: RATE // 2], RATE))[200:9000] ** 2 + 1e-12
        assert np.isfinite(sound).all()
        assert np.exp(np.log(power).mean()) > 1e-5 * power.mean()
        kick = code.machine_drums.kick(rng, {kind: 1000}, 50.0)
        power = np.abs(np.fft.rfft(kick, 2 * RATE)) ** 2
        assert np.isfinite(kick).all()
        assert power[: 2 * 500].sum() > 0.4 * power.sum()


def test_fewer_bits_are_fewer_values_and_a_held_rate_holds(code):
    sine = np.sin(np.arange(4000) / 50).astype(np.float32)
    for companded in (False, True):
        found = code.machines.rounded(sine, 4, companded=companded)
        assert len(np.unique(found)) <= 2**4 + 1
        assert np.abs(found - sine).max() < 0.3
    steps = np.diff(code.machines.held(sine, RATE / 4, smooth=False))
    assert np.count_nonzero(steps) == pytest.approx(1000, abs=2)


def test_patterns_lie_within_their_time_and_ask_for_roles(code):
    heard = np.zeros(len(code.stems.STEMS))
    names = list(code.stems.ROLES)
    for seed in range(60):
        notes = code.patterns.draw_pattern(np.random.default_rng(seed), 12.0)
        again = code.patterns.draw_pattern(np.random.default_rng(seed), 12.0)
        assert np.array_equal(notes, again)
        assert notes.dtype == np.float32
        assert (np.diff(notes[:, 0]) >= 0).all()
        assert ((notes[:, 0] >= 0) & (notes[:, 0] < 12)).all()
        assert ((notes[:, 2] >= 1) & (notes[:, 2] <= 127)).all()
        assert set(notes[:, 1]) <= set(range(len(names)))
        for index in {code.stems.stem_index(names[int(role)]) for role in notes[:, 1]}:
            heard[index] += 1
    assert (heard >= 20).all()  # toms and cymbals in a third of the clips at least


def test_every_bar_of_every_style_has_sixteen_steps(code):
    tables = [style.steps for style in code.styles.STYLES.values()] + [code.styles.PERCUSSION]
    for table in tables:
        assert set(table) <= set(code.stems.ROLES)
        for bars in table.values():
            assert all(len(bar) == 16 and set(bar) <= set(".gxX") for bar in bars)


def test_swing_delays_the_second_sixteenth_alone(code):
    feel = code.patterns.Feel(0.1, 0.66, (40, 80, 120), 0.0, 0.0)
    times = [feel.note(np.random.default_rng(0), at, "closed", 2)[0] for at in (0, 1, 2, 1.5)]
    assert times == pytest.approx([0, 0.132, 0.2, 0.166])


@pytest.fixture(scope="module")
def stems():
    """Five stems of three seconds that strike and die away, one of them silent."""
    rng = np.random.default_rng(1)
    gain = np.exp(-(np.arange(3 * RATE) % 11025) / 2500)
    found = (rng.standard_normal((5, 2, gain.size)) * gain * 0.2).astype(np.float32)
    found[2] = 0
    return found


TREATMENTS = "compressed limited clipped rounded held taped widened gated repeated coded"


@pytest.mark.parametrize("name", TREATMENTS.split())
def test_treated_stems_sum_to_the_treated_mix(code, stems, name):
    treat, _ = code.records.TREATMENTS[name]
    for seed in range(3):
        found = treat(np.random.default_rng(seed), stems)
        mix = treat(np.random.default_rng(seed), stems.sum(0, keepdims=True))[0]
        assert found.shape == stems.shape
        assert np.isfinite(found).all()
        assert np.abs(found.sum(0) - mix).max() < 1e-5 * np.abs(mix).max()
        assert not found[2].any()
        assert np.abs(mix - stems.sum(0)).max() > 1e-4


def test_a_ducked_stem_falls_where_the_kick_strikes(code, stems):
    found = code.records.ducked(np.random.default_rng(1), stems)
    assert np.array_equal(found[0], stems[0])
    struck = slice(11025, 11025 + 1500)
    before = np.square(stems[1][:, struck]).sum()
    assert np.square(found[1][:, struck]).sum() < 0.7 * before
    assert np.abs(found).sum(0).max() <= np.abs(stems).sum(0).max()


def test_a_limiter_keeps_its_ceiling_and_a_clipper_too(code, stems):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        found = np.abs(code.records.limited(rng, stems).sum(0)).max()
        assert found < 0.99 * np.abs(stems.sum(0)).max()


def test_treatments_come_in_their_order_and_alone_or_together(code, stems):
    again = [code.records.treated(np.random.default_rng(5), stems) for _ in range(2)]
    assert np.array_equal(*again)
    assert again[0].dtype == np.float32


def test_a_voice_of_its_own_ends_the_hit_before(code, several):
    ring = np.full((RATE, 1), 20000, np.int16)
    voice = type(several[0]["kick"][0])(np.array([100]), (ring,), 1 / 32768, 50.0)
    kick = list(code.stems.ROLES).index("kick")
    notes = np.array([[0.0, kick, 100], [0.25, kick, 1]], np.float32)
    found = [
        code.render.render(
            np.random.default_rng(1), {"kick": code.render.Part(voice, alone=alone)}, notes, RATE
        )[0]
        for alone in (False, True)
    ]
    late = slice(int(0.3 * RATE), None)
    assert np.square(found[1][:, late]).sum() < 0.1 * np.square(found[0][:, late]).sum()


def test_a_machine_s_record_plays_every_role(code, several):
    bank = {"kit": several[0], "other": several[1]}
    foreign = 0
    for seed in range(6):
        kit = code.random_clips.draw_mixture(np.random.default_rng(seed), bank)
        assert set(kit) == set(several[0])
        theirs = {
            id(voice) for other in bank.values() for voices in other.values() for voice in voices
        }
        foreign += any(id(voice) in theirs for voices in kit.values() for voice in voices)
        record = code.random_clips.draw_machine_record(np.random.default_rng(seed), kit)
        assert set(record) == set(code.stems.ROLES)
        assert {id(part.voice) for part in record.values()} <= {
            id(voice) for voices in kit.values() for voice in voices
        }
    assert 0 < foreign < 6
