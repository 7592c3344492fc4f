"""The training tools' YAML beside a checkpoint, as a Manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_protocol.errors import ModelError
from sep_runtime.models import (
    document,
    families,
    settings_demucs,
    settings_roformer,
    settings_scnet,
)
from sep_runtime.models.drafts import DisagreementError, agree, manifest, stems_of
from sep_runtime.models.identity import CALLED, Identity, in_words
from sep_runtime.models.tables import Table
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sep_models import Manifest
    from sep_runtime.models.drafts import Network

# What settings are read for where there is no file to go by.
UNSEEN = Identity(called=CALLED["mdx23c"], architecture="mdx23c")


def read(
    path: Path, name: str, identity: Identity = UNSEEN, file: str = "the checkpoint"
) -> Manifest:
    """Return a manifest for the checkpoint in `file`, which is what `identity` says.

    Raises ModelError where the settings cannot be read, or are those of another network.
    """
    raw = document.read(path)
    family = families.of_settings(raw)
    if family and identity.architecture not in family.architectures:
        raise families.other_settings(family, raw, identity, file, str(path))
    try:
        return manifest_of(raw, name, identity)
    except DisagreementError as fault:
        raise ModelError(
            f"the settings {{path}} are those of {identity.called} ({in_words(fault.said)}), but "
            f"{file} is one of {in_words(fault.found)}",
            families.PUBLISHED,
            str(path),
        ) from fault
    except ValueError as fault:
        raise ModelError(
            f"the settings {{path}} cannot be used for {identity.called}: {fault}",
            document.HINT,
            str(path),
        ) from fault


def manifest_of(raw: object, name: str, identity: Identity = UNSEEN) -> Manifest:
    """Return the manifest that the document says; raise ValueError where it says none."""
    if not isinstance(raw, dict):
        raise ValueError(f"they are {shown(raw)}, not a table")  # noqa: TRY004 (of a file)
    if identity.architecture is None:
        raise AssertionError(identity)
    return _OF[identity.architecture](Table("", raw), name, identity)


def _mdx23c(root: Table, name: str, identity: Identity) -> Manifest:
    audio, model, training = root.table("audio"), root.table("model"), root.table("training")
    inference = root.table("inference", optional=True)
    network: Network = {
        "n_fft": audio.whole("n_fft"),
        "hop": audio.whole("hop_length"),
        "dim_f": audio.whole("dim_f"),
        "audio_channels": audio.whole("num_channels", 2),
        "channels": model.whole("num_channels"),
        "growth": model.whole("growth"),
        "scales": model.whole("num_scales"),
        "blocks": model.whole("num_blocks_per_scale"),
        "subbands": model.whole("num_subbands"),
        "bottleneck": model.whole("bottleneck_factor"),
        "scale": model.wholes("scale"),
        "norm": model.text("norm") or "none",
        "act": model.text("act"),
    }
    agree(identity, network)
    target = training.text("target_instrument")
    names = training.texts("instruments") if "instruments" in training.values else (target,)
    return manifest(
        name,
        "mdx23c",
        network,
        stems=stems_of(names, target, identity.count("stems")),
        sample_rate=audio.whole("sample_rate", 44100),
        chunk=inference.whole("chunk_size", 0) or audio.whole("chunk_size"),
        overlap=2.0,
        scheme="sep",
        normalize=inference.flag("normalize"),
    )


_OF: dict[str, Callable[[Table, str, Identity], Manifest]] = {
    "mdx23c": _mdx23c,
    "bs-roformer": settings_roformer.manifest_of,
    "mel-band-roformer": settings_roformer.manifest_of,
    "scnet": settings_scnet.manifest_of,
    "htdemucs": settings_demucs.of_msst,
    "hdemucs": settings_demucs.of_msst,
}
