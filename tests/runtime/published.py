"""Checkpoints and settings in the form in which people publish them, of the reference networks."""

import functools
import gzip
import json
from pathlib import Path

REFERENCE = Path(__file__).parent / "reference"
FAMILIES = {  # a small network of each
    "BS-Roformer": "bs-roformer-1stem",
    "Mel-Band Roformer": "mel-band-roformer-1stem",
    "HTDemucs": "htdemucs-6stem",
    "HDemucs": "hdemucs-long-lstm",
    "SCNet": "scnet-small",
}
NAMES = ["drums", "bass", "other", "vocals", "guitar", "piano"]
CHUNK = 44100


def vector(name):
    return json.loads((REFERENCE / f"{name}.json").read_text())


def full_size():
    """Key tables of published files."""
    with gzip.open(REFERENCE / "shapes.json.gz") as file:
        return json.load(file)


@functools.cache
def state(recipe, name):
    """Its weights, which nobody may change."""
    import torch

    found = vector(name)
    drawn = recipe.weights(found["shapes"], found["seed"], found.get("rotary", "float32"))
    return {key: torch.from_numpy(value) for key, value in drawn.items()}


def settings(name, **inference):
    """The YAML that MSST writes for it, as a document."""
    found = vector(name)
    kind, config = found["architecture"], dict(found["config"])
    if kind in ("htdemucs", "hdemucs"):
        return _demucs(kind, config, inference)
    stems = config.get("num_stems") or len(config["sources"])
    names = config.get("sources") or (["vocals", "other"] if stems == 1 else NAMES[:stems])
    if kind == "bs_roformer":
        config |= {"dim_freqs_in": 1025, "multi_stft_hop_size": 147, "attn_dropout": 0.1}
    config.pop("normalise_inside", None)
    return {
        "audio": {
            "chunk_size": CHUNK,
            "dim_f": 1024,
            "hop_length": 999,  # decoration
            "n_fft": 2048,
            "num_channels": 2,
            "sample_rate": 44100,
            "min_mean_abs": 0.001,
        },
        "model": config,
        "training": {
            "batch_size": 4,
            "instruments": names,
            "target_instrument": "vocals" if stems == 1 else None,
            "use_amp": True,
        },
        "inference": {"batch_size": 1, "dim_t": 256, "num_overlap": 2, **inference},
    }


def _demucs(kind, config, inference):
    config = {**config, "dconv_init": "1e-3"}
    names = config.pop("sources")
    channels = config.pop("audio_channels")
    return {
        "model": kind,
        "audio": {"chunk_size": CHUNK, "hop_length": 1024, "min_mean_abs": 0},
        "training": {
            "instruments": names,
            "target_instrument": None,
            "channels": channels,
            "samplerate": config.pop("samplerate"),
            "segment": config.pop("segment"),
        },
        kind: config,
        "inference": {"num_overlap": 4, "batch_size": 8, **inference},
    }
