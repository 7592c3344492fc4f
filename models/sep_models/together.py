"""What models make that work together: means of several, and parts of a song's drums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_models.stems import DRUMS, REST, canonical
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_models import Manifest


def stems_of(
    models: Sequence[Manifest], from_mix: Manifest | None = None, *, intermediate: bool = False
) -> tuple[str, ...]:
    """Return the stems that they make together, in the order of their samples.

    `models` are those of an ensemble, mostly one; `from_mix` takes the drums out of a song for
    them, and its own stems come with `intermediate`. Raises UsageError where they do not fit.
    """
    stems = models[0].stems
    for each in models[1:]:
        if set(each.stems) != set(stems):
            raise UsageError(
                f"{models[0].name} makes {', '.join(stems)}, {each.name} makes "
                f"{', '.join(each.stems)}: a mean is of the same stems",
                hint="name models that make the same",
            )
    if from_mix is None:
        return stems
    check_chain(models, from_mix)
    parts = parts_of(models)
    more = from_mix.stems if intermediate else ()
    if twice := sorted({*parts, REST} & set(more)):
        raise UsageError(
            f"{from_mix.name} and {models[0].name} both make {', '.join(twice)}",
            hint="the stems of the first cannot be kept beside those of the second",
            command="leave out --keep-intermediate",
        )
    return (*parts, *more, REST)


def parts_of(models: Sequence[Manifest]) -> tuple[str, ...]:
    """Return what is split off a song's drums; what one model calls the rest is in the song's."""
    return tuple(each for each in models[0].stems if each != REST)


def check_chain(models: Sequence[Manifest], from_mix: Manifest) -> None:
    """Raise UsageError unless one gives drums, and the others take them."""
    if DRUMS not in from_mix.stems:
        raise UsageError(
            f"{from_mix.name} takes no drums out of a song",
            hint=f"it makes {', '.join(from_mix.stems)}",
        )
    for each in models:
        if each.expects != "drums":
            raise UsageError(
                f"{each.name} is for {each.expects}, not for drums",
                hint="name a model for drums",
                command="name a model for drums with --model, or leave out --from-mix",
            )


def wanted(
    asked: tuple[str, ...] | None, stems: tuple[str, ...], *, name: str, kept: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the stems to write, in their order: what is asked for, and what is `kept` beside it.

    Who asks for some of what is kept wants these alone. Raises UsageError for a stem that `name`
    does not make.
    """
    if asked is None:
        return stems
    names = {canonical(stem) for stem in asked}
    unknown = sorted(names - set(stems))
    if unknown:
        raise UsageError(
            f"{name} makes no stem called {', '.join(map(repr, unknown))}",
            hint=f"it makes {', '.join(stems)}",
        )
    beside = set() if names & set(kept) else set(kept)
    return tuple(stem for stem in stems if stem in names | beside)
