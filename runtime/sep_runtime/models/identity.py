"""What a file of weights was found to be, in facts and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sep_models import Architecture

    Fact = bool | int | float | tuple[int, ...]

# What the networks that sep runs are called in a sentence.
CALLED: dict[Architecture, str] = {
    "mdx23c": "an MDX23C",
    "bs-roformer": "a BS-Roformer",
    "mel-band-roformer": "a Mel-Band Roformer",
    "htdemucs": "an HTDemucs",
    "hdemucs": "an HDemucs",
    "scnet": "an SCNet",
}
# The facts by which people know one network of a kind from another.
_HEADLINES = {
    "mdx23c": ("channels", "scales"),
    "bs-roformer": ("dim", "depth"),
    "mel-band-roformer": ("dim", "depth"),
    "htdemucs": ("channels", "depth"),
    "hdemucs": ("channels", "depth"),
    "scnet": ("dims",),
}
_MOST = 8  # numbers of a list that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a state dict is."""

    called: str  # "a Mel-Band Roformer", as a sentence has it
    architecture: Architecture | None = None  # None: sep does not run it
    why: str = ""  # the reason for that, a clause of its own
    hint: str = ""  # what to do then
    whole: bool = True  # nothing is missing that it must have
    # Fields of the network's shape; and of a Roformer `widths`, how many numbers of a frame's
    # spectrum each band takes, of a Demucs `bins`, how many its first layer leaves.
    facts: Mapping[str, Fact] = field(default_factory=dict)
    torchaudio: bool = False  # its keys are torchaudio's

    def count(self, name: str) -> int:
        """Return a fact that is a whole number, 0 where the file does not tell it."""
        found = self.facts.get(name, 0)
        return found if isinstance(found, int) else 0

    def counts(self, name: str) -> tuple[int, ...]:
        """Return a fact that is a list of whole numbers, none where the file does not tell it."""
        found = self.facts.get(name, ())
        return found if isinstance(found, tuple) else ()

    @property
    def sentence(self) -> str:
        """The network with the facts by which people know it."""
        told = headline(self.architecture or "", self.facts)
        return f"{self.called} ({told})" if told else self.called


def headline(architecture: str, facts: Mapping[str, object]) -> str:
    """Return the facts by which people know a network, "dim 384, depth 6, one stem"."""
    names = (*_HEADLINES.get(architecture, ()), "stems")
    return in_words({name: facts[name] for name in names if facts.get(name) is not None})


def in_words(facts: Mapping[str, object]) -> str:
    """Return facts as a sentence has them."""
    return ", ".join(_in_words(name, value) for name, value in facts.items())


def _in_words(name: str, value: object) -> str:
    if name == "stems":
        return "one stem" if value == 1 else f"{value} stems"
    if isinstance(value, tuple):
        shown = "/".join(map(str, value[:_MOST]))
        return f"{name} {shown}/..." if len(value) > _MOST else f"{name} {shown}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
