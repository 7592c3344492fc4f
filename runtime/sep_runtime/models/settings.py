"""The training tools' YAML beside an MDX23C checkpoint, as a Manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sep_models import Manifest, canonical
from sep_protocol.errors import ModelError
from sep_runtime.models import document, families
from sep_runtime.models.words import shown

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, name: str) -> Manifest:
    """Return a manifest for the checkpoint that the settings belong to; raise ModelError."""
    raw = document.read(path)
    try:
        return manifest_of(raw, name)
    except ValueError as fault:
        if family := families.of_settings(raw):
            raise families.error("the settings {path} are those of", family, str(path)) from fault
        raise ModelError(
            f"the settings {{path}} cannot be used for MDX23C: {fault}",
            document.HINT,
            str(path),
        ) from fault


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the YAML; every value that is taken out has the type that was asked for.

    All methods raise ValueError with the place of what is missing or of another type.
    """

    name: str
    values: dict[object, object]

    def table(self, key: str, *, optional: bool = False) -> _Table:
        found = self.values.get(key)
        if found is None and optional:
            found = {}
        if not isinstance(found, dict):
            raise self._fault(key, "a table")
        return _Table(f"{key}.", found)

    def whole(self, key: str, default: int | None = None) -> int:
        found = self.values.get(key)
        if found is None and default is not None:
            return default
        if isinstance(found, str) and re.fullmatch(r"[0-9]{1,9}", found):
            return int(found)
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if type(found) is not int:
            raise self._fault(key, "a whole number")
        return found

    def text(self, key: str) -> str:
        found = self.values.get(key)
        if found is not None and not isinstance(found, str):
            raise self._fault(key, "a text")
        return found or ""

    def flag(self, key: str) -> bool:
        found = self.values.get(key)
        if found is not None and not isinstance(found, bool):
            raise self._fault(key, "true or false")
        return bool(found)

    def wholes(self, key: str) -> tuple[int, ...]:
        found = self._list(key)
        if any(type(each) is not int for each in found):
            raise self._fault(key, "a list of whole numbers")
        return tuple(each for each in found if isinstance(each, int))

    def texts(self, key: str) -> tuple[str, ...]:
        found = []
        for each in self._list(key):
            if not isinstance(each, str) and type(each) is not int:  # 808 is a name, too
                what = f"{self.name}{key} has {shown(each)}"
                raise ValueError(f"{what} in it, which is no text (put it in quotes)")
            found.append(str(each))
        return tuple(found)

    def _list(self, key: str) -> list[object]:
        found = self.values.get(key)
        if not isinstance(found, list):
            raise self._fault(key, "a list")
        return found

    def _fault(self, key: str, what: str) -> ValueError:
        if self.values.get(key) is None:
            return ValueError(f"{self.name}{key} is missing")
        return ValueError(f"{self.name}{key} must be {what}, not {shown(self.values[key])}")


def manifest_of(raw: object, name: str) -> Manifest:
    """Return the manifest that the document says; raise ValueError where it says none."""
    if not isinstance(raw, dict):
        raise ValueError(f"they are {shown(raw)}, not a table")  # noqa: TRY004 (of a file)
    root = _Table("", raw)
    audio, model, training = root.table("audio"), root.table("model"), root.table("training")
    inference = root.table("inference", optional=True)
    target = training.text("target_instrument")
    stems = tuple(map(canonical, [target] if target else training.texts("instruments")))
    return Manifest(
        name=name,
        summary=f"a checkpoint of yours, {name}",
        expects="drums" if "kick" in stems else "a whole song",
        stems=stems,
        architecture="mdx23c",
        sample_rate=audio.whole("sample_rate", 44100),
        chunk=inference.whole("chunk_size", 0) or audio.whole("chunk_size"),
        rank=0,
        licence="not known",
        normalize=inference.flag("normalize"),
        network={
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
        },
    )
