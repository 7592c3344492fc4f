"""The training tools' YAML beside an MDX23C checkpoint, read safely into a Manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from sep_models import Manifest, canonical
from sep_protocol.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `!!python/tuple` as a list and knows no other Python type."""


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def read(path: Path, name: str) -> Manifest:
    """Return a manifest for the checkpoint that the settings belong to; raise ModelError."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (is safe)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as fault:
        first = str(fault).splitlines()[0]
        raise ModelError(f"the settings {path.name} cannot be read: {first}") from fault
    try:
        return _manifest(raw, name)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ModelError(
            f"the settings {path.name} are not those of an MDX23C model: {fault!r}",
            hint="give the YAML that was published with the checkpoint",
        ) from fault


def _manifest(raw: dict[str, Any], name: str) -> Manifest:
    audio, model, training = raw["audio"], raw["model"], raw["training"]
    inference = raw.get("inference") or {}
    target = training.get("target_instrument")
    stems = [target] if target else training["instruments"]
    return Manifest(
        name=name,
        summary=f"a checkpoint of yours, {name}",
        expects="drums" if "kick" in map(canonical, stems) else "full mix",
        stems=tuple(canonical(str(stem)) for stem in stems),
        architecture="mdx23c",
        sample_rate=int(audio.get("sample_rate", 44100)),
        chunk=int(inference.get("chunk_size") or audio["chunk_size"]),
        rank=0,
        licence="not known",
        normalize=bool(inference.get("normalize", False)),
        network={
            "n_fft": int(audio["n_fft"]),
            "hop": int(audio["hop_length"]),
            "dim_f": int(audio["dim_f"]),
            "audio_channels": int(audio.get("num_channels", 2)),
            "channels": int(model["num_channels"]),
            "growth": int(model["growth"]),
            "scales": int(model["num_scales"]),
            "blocks": int(model["num_blocks_per_scale"]),
            "subbands": int(model["num_subbands"]),
            "bottleneck": int(model["bottleneck_factor"]),
            "scale": tuple(int(each) for each in model["scale"]),
            "norm": str(model["norm"] or "none"),
            "act": str(model["act"]),
        },
    )
