"""Models that work together: chains, ensembles, shifts. Sums, identities, memory, and who waits."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from vectors import REFERENCE, check, recipe, vector, weights

from sep_models import together
from sep_protocol import Fallback, Job
from sep_protocol import Model as Ref
from sep_protocol.errors import UsageError
from sep_runtime import api, memory, separate
from sep_runtime import device as devices
from sep_runtime.kept import Kept
from sep_runtime.models import separators
from sep_runtime.models.adopt import adopted
from sep_runtime.streams import chain as chains
from sep_runtime.streams import turns
from sep_runtime.streams.aligned import Converted
from sep_runtime.streams.chain import Chain
from sep_runtime.streams.ensemble import Delayed, Ensemble, shifted
from sep_runtime.streams.overlap import Chunking, open_stream
from sep_runtime.streams.pipeline import Pipeline
from sep_runtime.streams.single import UNCHANGED, Single, level_of, share

CPU = torch.device("cpu")
PARTS = ("kick", "snare", "toms", "hihat", "cymbals")
SONG = ("drums", "bass", "other", "vocals", "piano")


class Gains:
    """A Separator whose stems are the mix, louder or softer each; it notes what it was given."""

    apart = 0
    channels = 2

    def __init__(self, gains, *, rate=44100, chunk=4096, rest=False, normalize=False, stems=None):
        self.stems = stems or tuple(gains)
        self.gains = torch.tensor(list(gains.values()))
        self.sample_rate = rate
        self.rest = rest
        self.normalize = normalize
        self.step = 512
        self.cut = Chunking(chunk=chunk, hop=chunk // 2)
        self.heard = []

    def stream(self, level=UNCHANGED):
        self.heard.append(level)
        within = open_stream(
            lambda x: x.unsqueeze(1) * self.gains.view(1, -1, 1, 1),
            self.cut,
            stems=len(self.gains),
            channels=2,
            device=CPU,
        )
        return Single(within, self.sample_rate, level if self.normalize else UNCHANGED)


def song(**options):
    return Gains({"bass": 0.3, "drums": 0.5, "vocals": 0.1}, **options)


def kit(**options):
    return Gains({"kick": 0.6, "snare": 0.25}, chunk=2048, **options)


def run(separator, mix, rate=44100, block=1000, **options):
    pipeline = Pipeline(separator, sample_rate=rate, channels=len(mix), **options)
    blocks = [mix[:, i : i + block] for i in range(0, mix.shape[1], block)]
    return np.concatenate(list(pipeline.run(blocks)), -1)


def decibels(off, of):
    return 20 * np.log10(max(np.abs(off).max(), 1e-12) / np.abs(of).max())


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 700, 30011])
@pytest.mark.parametrize("block", [331, 40000])
def test_a_chains_stems_sum_to_the_song(rate, channels, samples, block, noise):
    mix = noise(channels, samples)
    stems = run(Chain(song(), kit(), ("kick", "snare")), mix, rate, block)
    assert stems.shape == (3, channels, samples)
    assert decibels(stems.sum(0) - mix, mix) <= -90
    if rate == 44100:
        assert np.abs(stems[0] - 0.3 * mix).max() <= 1e-6
        assert np.abs(stems[1] - 0.125 * mix).max() <= 1e-6


def test_the_first_models_stems_are_beside_and_no_part_of_the_sum(noise):
    mix = noise(2, 20000)
    chain = Chain(song(), kit(), ("kick", "snare"), intermediate=True)
    kick, snare, *first, rest, left = run(chain, mix, residual=True)
    assert [round(float((each / mix).mean()), 3) for each in first] == [0.3, 0.5, 0.1]
    assert decibels(kick + snare + rest - mix, mix) <= -90
    assert not left.any()


@pytest.mark.parametrize("rate", [32000, 48000])
def test_a_second_model_of_another_rate(rate):
    time = np.arange(60000) / 44100
    mix = np.stack([np.sin(2 * np.pi * 440 * time)] * 2).astype(np.float32) * 0.4
    chain = Chain(song(), kit(rate=rate), ("kick", "snare"))
    kick, _, _ = run(chain, mix)
    middle = slice(3000, -3000)
    assert np.abs(kick - 0.3 * mix)[:, middle].max() <= 1e-4
    assert isinstance(chain.second, Converted)


def test_a_second_model_that_normalises_hears_the_drums_at_their_own_level(noise, monkeypatch):
    mix = noise(2, 50000) + np.float32(0.01)
    second = kit(normalize=True)
    stems = run(Chain(song(), second, ("kick", "snare")), mix)
    assert second.heard == [pytest.approx(level_of([mix * np.float32(0.5)]), rel=1e-4)]
    assert decibels(stems.sum(0) - mix, mix) <= -90
    monkeypatch.setattr(chains, "LISTENED", 0.5)  # of a longer song the first seconds tell it
    first = level_of([mix[:, :24000] * np.float32(0.5)])
    run(Chain(song(), second, ("kick", "snare")), mix)
    assert second.heard[1] == pytest.approx(first, rel=0.02)


def test_what_a_drum_model_calls_the_rest_is_in_the_songs(noise):
    mix = noise(2, 9000)
    second = Gains({"kick": 0.5, "rest": 0.5})
    kick, rest = run(Chain(song(), second, ("kick",)), mix)
    assert np.abs(kick - 0.25 * mix).max() <= 1e-6
    assert np.abs(rest - 0.75 * mix).max() <= 1e-6


def test_a_mean_is_by_weights_stem_by_stem_whatever_their_order(noise):
    mix = noise(2, 30000)
    one = Gains({"drums": 1.0, "bass": 0.0})
    two = Gains({"bass": 0.8, "drums": 0.4}, chunk=1000)
    drums, bass = run(Ensemble([one, two], torch.tensor([[2.0, 1.0], [1.0, 1.0]])), mix)
    assert np.abs(drums - mix * np.float32(0.8)).max() <= 1e-6
    assert np.abs(bass - mix * np.float32(0.4)).max() <= 1e-6


@pytest.mark.parametrize("passes", [2, 3, 5])
@pytest.mark.parametrize("block", [100, 7000])
@pytest.mark.parametrize("samples", [1, 900, 20001])
def test_shifts_of_an_identity_are_the_identity(passes, block, samples, noise):
    mix = noise(2, samples)
    for normalize in (False, True):
        same = Gains({"same": 1.0}, normalize=normalize)
        stems = run(shifted(same, passes), mix, block=block, level=level_of([mix]))
        assert np.abs(stems[0] - mix).max() <= 1e-6


def test_a_bag_is_demucs_own():
    facts = json.loads((REFERENCE / "inference" / "demucs-bag.json").read_text())
    bag = [of_vector("htdemucs-4stem", facts, seed=seed) for seed in facts["weight_seeds"]]
    mean = Ensemble(bag, torch.tensor(facts["bag_weights"]))
    check("demucs-bag", heard(mean, facts), facts, expected("demucs-bag"))


def test_shifts_are_demucs_own_with_its_offsets():
    facts = json.loads((REFERENCE / "inference" / "demucs-shifts.json").read_text())
    one = of_vector("htdemucs-6stem", facts)
    passes = [Delayed(one, 22050 - offset) for offset in facts["offsets"]]
    mean = Ensemble(passes, torch.ones(len(passes), len(one.stems)))
    check("demucs-shifts", heard(mean, facts), facts, expected("demucs-shifts"))


def expected(name):
    return np.load(REFERENCE / "inference" / f"{name}.npz")


def heard(separator, facts):
    ramp = np.linspace(0.3, 1.2, facts["samples"], dtype=np.float32)
    mix = recipe.noise(2, facts["samples"], facts["seed"]) * ramp + np.float32(0.03)
    with torch.inference_mode():
        stream = separator.stream(level_of([mix]))
        blocks = torch.from_numpy(mix).split(7001, -1)
        return torch.cat([*map(stream.push, blocks), stream.finish()], -1)


def of_vector(name, facts, seed=None):
    """Return a Separator of demucs' own scheme."""
    config = vector(name)[0]["config"]
    shape = separators.demucs.HTDemucsShape
    names = {each.name for each in dataclasses.fields(shape)} - {"stems", "segment"}
    table = {key: config[key] for key in names & set(config) if config[key] is not None}
    table["segment"] = int(config["segment"] * config["samplerate"])
    manifest = separators.sep_models.Manifest(
        name=name,
        summary="",
        expects="a whole song",
        stems=tuple(config["sources"]),
        architecture="htdemucs",
        sample_rate=44100,
        chunk=table["segment"],
        overlap=1 / (1 - facts["overlap"]),
        scheme="demucs",
        normalize=True,
        rank=0,
        licence="",
        network=table,
    )
    prepared = separators.CHUNKED["htdemucs"](manifest, manifest.overlap, 1)
    network = adopted(prepared.empty, [weights(vector(name)[0], seed)])
    runner = separators.precisions.Runner(lambda *_: network, CPU)
    return separators.Chunked(prepared, runner, manifest)


@pytest.fixture(scope="module")
def refs(tiny, tmp_path_factory):
    """Two models of one small network: of a song's stems and of a kit's."""
    ckpt, yaml = tiny
    config = json.loads(yaml.read_text())
    config["training"]["instruments"] = list(SONG)
    song_yaml = tmp_path_factory.mktemp("song") / "song.yaml"
    song_yaml.write_text(json.dumps(config))
    return {
        "song": Ref(name="song", checkpoint=str(ckpt), settings=str(song_yaml)),
        "kit": Ref(name="kit", checkpoint=str(ckpt), settings=str(yaml)),
    }


def load(refs, *models, first="", **options):
    wish = api.Wish(
        models=tuple(refs[each] for each in models),
        first=refs[first] if first else None,
        **options,
    )
    return api.load_on(devices.choose("cpu"), wish)


def test_a_chain_is_one_model_after_the_other(refs, noise):
    mix = noise(2, 120_000)
    chain = load(refs, "kit", first="song", intermediate=True)
    assert chain.name == "song then kit"
    assert chain.stems == (*PARTS, *SONG, "rest")
    stems = chain.separate(mix, 44100)
    song = load(refs, "song").separate(mix, 44100)
    parts = load(refs, "kit").separate(song["drums"], 44100)
    for name, true in {**song, **parts}.items():
        assert np.abs(stems[name] - true).max() <= 1e-6, name
    assert decibels(sum(stems[each] for each in (*PARTS, "rest")) - mix, mix) <= -90
    assert [each["role"] for each in chain.made] == ["from-mix", "model"]
    assert len({chain.sha256, load(refs, "kit", first="song", overlap=3.0).sha256}) == 2


def test_an_ensemble_and_shifts_through_the_api(refs, noise):
    mix = noise(1, 90_000)
    one, two = load(refs, "kit"), load(refs, "kit", overlap=4.0)
    both = load(refs, "kit", "kit", weights=(3.0, 1.0))
    assert both.name == "kit+kit"
    true, more = one.separate(mix, 44100), two.separate(mix, 44100)
    for name, stem in both.separate(mix, 44100).items():
        assert np.abs(stem - true[name]).max() <= 1e-6
    later = load(refs, "kit", shifts=2).separate(mix, 44100)
    off = max(np.abs(later[name] - true[name]).max() for name in PARTS)
    assert 0 < off < 10 * max(np.abs(more[name] - true[name]).max() for name in PARTS)


def test_a_stream_gives_the_samples_of_separate(refs, noise):
    mix = noise(2, 100_000)
    chain = load(refs, "kit", first="song")
    blocks = (mix[:, at : at + 9999] for at in range(0, mix.shape[1], 9999))
    parts = list(chain.stream(blocks, 48000, stems=["kick", "rest"]))
    assert set(parts[0]) == {"kick", "rest"}
    whole = chain.separate(mix, 48000, stems=["kick", "rest"])
    for name, stem in whole.items():
        assert np.array_equal(np.concatenate([each[name] for each in parts], -1), stem)
    assert list(chain.stream([], 44100)) == []


def test_models_that_do_not_fit(refs):
    for models, first, told in [
        (("song",), "song", "is for a whole song, not for drums"),
        (("kit",), "kit", "takes no drums out of a song"),
        (("kit", "song"), "", "a mean is of the same stems"),
    ]:
        with pytest.raises(UsageError, match=told):
            load(refs, *models, first=first)
    manifests = [load(refs, each).loaded.manifest for each in ("kit", "song")]
    other = dataclasses.replace(manifests[1], stems=("drums", "kick", "a", "b", "c"))
    with pytest.raises(UsageError, match="both make kick"):
        together.stems_of(manifests[:1], other, intermediate=True)
    named = dataclasses.replace(manifests[0], stems=("kick", "rest"))
    assert together.stems_of([named], manifests[1]) == ("kick", "rest")


def test_models_take_turns_where_memory_does_not_hold_both(refs, noise, monkeypatch):
    mix = noise(2, 300_000)
    true = load(refs, "kit", first="song").separate(mix, 44100)
    monkeypatch.setattr(memory, "holds", lambda count: False)
    monkeypatch.setattr(turns, "SECONDS", 2)
    said = []
    job = Job(id="00001234", tracks=(), model=refs["kit"], from_mix=refs["song"], device="cpu")
    chain = separate._model(job, said.append, Kept())
    steps = [each.now for each in said if isinstance(each, Fallback)]
    assert steps == ["one model in memory at a time"]
    read = []
    real = separators.weights.read
    monkeypatch.setattr(separators.weights, "read", lambda path: read.append(path) or real(path))
    stems = chain.separate(mix, 44100)
    runners = [each.loaded.runner for each in chain.parts]
    assert sorted(each._network is None for each in runners) == [False, True]
    assert 4 <= len(read) <= 12  # a turn is two seconds of drums, not a chunk
    for name, stem in stems.items():
        assert np.abs(stem - true[name]).max() <= 1e-6


def test_memory_that_becomes_short_is_told_and_one_model_makes_room(refs, noise, monkeypatch):
    mix = noise(2, 200_000)
    both = load(refs, "kit", "kit")
    true = load(refs, "kit").separate(mix, 44100)
    monkeypatch.setattr(turns, "SECONDS", 1)
    one, two = (each.loaded.runner for each in both.parts)
    network, steps = two.network, []

    def short(x):
        if one._network is not None:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return network(x)

    two._network = short
    one.tell = two.tell = steps.append
    stems = both.separate(mix, 44100)
    assert [(each.was, each.now) for each in steps] == [
        ("all models in memory", "one model in memory at a time")
    ]
    assert both.separator.turns.alternate
    for name, stem in stems.items():
        assert np.abs(stem - true[name]).max() <= 1e-6


def test_progress_is_the_share_of_the_work(noise):
    chain = Chain(song(), kit(normalize=True), ("kick", "snare"))
    pipeline = Pipeline(chain, sample_rate=44100, channels=2)
    mix, told = noise(2, 200_000), []
    blocks = (mix[:, at : at + 5000] for at in range(0, 200_000, 5000))

    def watched():
        for each in blocks:
            told.append(pipeline.worked(200_000))
            yield each

    stems = list(pipeline.run(watched()))
    assert 0 < told[-1] < 200_000  # the second model waited, the first one's work counts
    assert pipeline.worked(200_000) == 200_000
    assert sum(each.shape[-1] for each in stems) == 200_000
    assert pipeline.models == 2
    first, second = pipeline._stream.stages
    for work in range(1, 200):  # what is done is done, however long it took
        first.work, second.work = work / 7, work / 11
        assert pipeline.worked(200_000) == 200_000


def test_shares_of_stages():
    from sep_runtime.streams.single import Stage

    assert share([Stage()], 10) == 0
    assert share([Stage(done=5, work=1)], 10) == pytest.approx(0.5)
    # The second one costs three times as much as the first.
    both = [Stage(done=10, work=1), Stage(done=5, work=1.5)]
    assert share(both, 10) == pytest.approx((1 + 1.5) / 4)
    assert share([Stage(done=10, work=1), Stage()], 10) == pytest.approx(0.5)
