"""Hundreds of bad inputs: each fails clearly or is separated exactly; nothing else happens."""

import importlib.util
import json
import random
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import soundfile

import sep_models
from sep_models import Manifest
from sep_protocol import (
    Done,
    Failed,
    Job,
    Model,
    Track,
    TrackDone,
    TrackFailed,
    dump_job,
    load_event,
    load_job,
)
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError, NotReadyError, SepError, UsageError
from sep_runtime.models import mdx23c, settings
from sep_runtime.models.prepared import shape_of
from sep_runtime.nets.tfc_tdf import TfcTdfShape

spec = importlib.util.spec_from_file_location("corpus", Path(__file__).parent / "corpus.py")
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)


@pytest.mark.slow
def test_audio(tmp_path, tiny):
    found = corpus.make(tmp_path / "bad")
    files = [(kind, path) for kind, paths in found.items() for path in paths]
    assert len(files) >= 200
    tracks = tuple(
        Track(audio=str(path), out=str(tmp_path / "out" / path.name)) for _, path in files
    )
    model = Model(name="tiny", checkpoint=str(tiny[0]), settings=str(tiny[1]))
    (tmp_path / "job.json").write_text(dump_job(Job(id="0000000c", tracks=tracks, model=model)))
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sep_runtime", str(tmp_path / "job.json")],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
        check=False,
    )
    events = [load_event(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1, done.stderr.decode()[-2000:]
    assert isinstance(events[-1], Done)
    assert b"Traceback" not in done.stderr
    ends = {e.track: e for e in events if isinstance(e, TrackDone | TrackFailed)}
    assert len(ends) == len(files)
    table = {}
    for index, (kind, path) in enumerate(files):
        end = ends[index]
        failed = isinstance(end, TrackFailed)
        table.setdefault(kind, [0, 0])[failed] += 1
        if failed:
            assert end.error == "AudioError", (path, end)
            assert path.name in end.message or "channels" in end.message, end
            assert "\n" not in end.message
            assert kind != "odd but good", end
        else:
            assert kind not in corpus.HOPELESS, path
            for stem in end.stems.values():
                assert soundfile.info(stem).frames == end.frames > 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {p.name for i, (_, p) in enumerate(files) if isinstance(ends[i], TrackDone)}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n{'class':20} done failed")
    for kind, (well, badly) in sorted(table.items()):
        print(f"{kind:20} {well:4} {badly:6}")
    print(f"{len(files)} files, {time.monotonic() - begun:.0f} s, peak {peak:.0f} MiB")
    assert peak < 2000


def mutated(value, drawn):
    """Change one random place of decoded JSON."""
    odd = [None, True, -1, 0, 1e308, 10**30, "", "x" * 1000, "\0", [], {}, [[]], "../..", "nan"]
    if isinstance(value, dict) and value and drawn.random() < 0.85:
        key = drawn.choice(sorted(value))
        if drawn.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutated(value[key], drawn)}
    if isinstance(value, list) and value and drawn.random() < 0.85:
        place = drawn.randrange(len(value))
        return [mutated(v, drawn) if i == place else v for i, v in enumerate(value)]
    return drawn.choice(odd)


def test_fuzzed_jobs(tmp_path):
    job = Job(id="0000000f", tracks=(Track(audio="/a.wav", out="/o"),), model=Model(name="larsnet"))
    refused = 0
    for seed in range(300):
        drawn = random.Random(seed)
        text = json.dumps(mutated(json.loads(dump_job(job)), drawn))
        if seed % 10 == 0:
            text = text[: drawn.randrange(len(text))]
        try:
            load_job(text)
        except (UsageError, NotReadyError) as fault:
            refused += 1
            assert fault.message
    assert refused > 150
    with pytest.raises(UsageError):
        load_job("[" * 100000)


@pytest.mark.parametrize("seed", range(3))
def test_fuzzed_jobs_end_a_real_runtime_with_a_code(tmp_path, seed):
    text = random.Random(seed).randbytes(200) if seed else b'{"protocol": 1, "tracks": 3}'
    (tmp_path / "job.json").write_bytes(text)
    done = subprocess.run(
        [sys.executable, "-m", "sep_runtime", str(tmp_path / "job.json")],
        capture_output=True,
        check=False,
    )
    event = load_event(done.stdout.decode().splitlines()[-1])
    assert isinstance(event, Failed)
    assert done.returncode == event.code in (2, 3)
    assert b"Traceback" not in done.stderr


def test_fuzzed_settings(tmp_path, tiny):
    raw = json.loads(tiny[1].read_text())
    refused = 0
    for seed in range(200):
        drawn = random.Random(seed)
        text = json.dumps(mutated(raw, drawn))
        if seed % 5 == 0:
            text = "".join(drawn.choice(text + "{}[]:&*!|>%@`\n\t") for _ in range(300))
        (tmp_path / "x.yaml").write_text(text)
        try:
            manifest = settings.read(tmp_path / "x.yaml", "x")
            shape = shape_of(TfcTdfShape, manifest.network, len(manifest.stems))
            cut = mdx23c.cut_for(shape, manifest.chunk, 2.0, None)
            assert 1 <= cut.hop <= cut.chunk
        except ModelError as fault:
            refused += 1
            assert "\n" not in fault.message
    assert refused > 80


def test_settings_of_an_absurd_network_do_not_take_the_memory(tmp_path, tiny):
    raw = json.loads(tiny[1].read_text())
    raw["model"]["num_channels"] = 10**7
    (tmp_path / "x.yaml").write_text(json.dumps(raw))
    manifest = settings.read(tmp_path / "x.yaml", "x")
    with pytest.raises(ModelError):
        shape_of(TfcTdfShape, manifest.network, 5)


def test_fuzzed_manifests():
    text = (sep_models.folder_of("mdx23c-drumsep-5stem") / "model.toml").read_text()
    raw = tomllib.loads(text)
    refused = 0
    for seed in range(200):
        try:
            manifest = decode(Manifest, mutated(raw, random.Random(seed)))
            shape_of(TfcTdfShape, manifest.network, len(manifest.stems))
        except (FormError, SepError):
            refused += 1
    assert refused > 100
