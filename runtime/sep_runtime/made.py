"""What a report says of how stems were made, and whether a job would make the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sep_protocol.codec import FormError, decode
from sep_protocol.job import BitDepth, Format  # noqa: TC001 (`decode` reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Collection


OTHERWISE = "of models of the same names with other weights or chunks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides what a track's files hold, besides mix and model: `settings` in a report.

    Reports live as long as their stems. So a field that is added later needs a default: what sep
    did before there was a choice. Old reports are read with it, so that a resumed job goes on with
    albums that are half done (tests/runtime/files/sep-0.1.0.json). What changes no sample is noted
    and not compared, and a precision only where somebody named one.
    """

    chunk: int
    hop: int
    batch: int = field(default=1, compare=False)
    precision: str = field(default="fp32", compare=False)
    format: Format
    bit_depth: BitDepth | None
    stems: tuple[str, ...]
    stem_name: str
    residual: bool
    downmix: bool
    shifts: int = 1


def settings_of(report: Any) -> Settings:  # noqa: ANN401 (JSON)
    """Return the settings in a report.

    Raises ValueError where they are not whole, or know more than this sep does, LookupError and
    TypeError for what is no report.
    """
    found = report["settings"]
    if unknown := set(found) - {each.name for each in fields(Settings)}:
        raise FormError(f"{sorted(unknown)} are of a later sep")
    return decode(Settings, found)


def unlike(
    report: Any,  # noqa: ANN401 (JSON)
    settings: Settings,
    *,
    mix: str,
    model: str,
    name: str = "",
    named: Collection[str] = (),
) -> str:
    """Return how a report differs from stems of these, by SHA-256; nothing where it does not.

    `name` is what the model is called, or all of them together. `named` are settings that are
    compared because somebody asked for their values.
    Raises what `settings_of` raises.
    """
    was = settings_of(report)
    if report["mix"]["sha256"] != mix:
        return "of another song"
    if report["model"]["sha256"] != model:
        other = str(report["model"]["name"])
        return OTHERWISE if other == name else f"of another model, {other}"
    for each in fields(Settings):
        before, now = getattr(was, each.name), getattr(settings, each.name)
        if (each.compare or each.name in named) and before != now:
            return f"made with {each.name.replace('_', ' ')} {_shown(before)}, not {_shown(now)}"
    return ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
