"""Which models a run takes: one, or several for a mean of theirs, and one for songs before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.machine import paths
from sep_launcher.planning import models
from sep_launcher.planning.request import AUTO
from sep_models import together
from sep_protocol import Model, called
from sep_protocol.errors import ModelError, UsageError

if TYPE_CHECKING:
    from sep_launcher.planning.request import Request
    from sep_models import Manifest

# Of those that are fetched from one address, the best drums for so few bytes and so little work.
SUGGESTED = "htdemucs-ft-drums"
FREE = "scnet-small"  # without restrictions, and slower on a CPU
IMPORT = "sep models import FILE --config YAML gives a checkpoint a name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A model as a Job names it, and what is known of it; nothing is of a checkpoint."""

    model: Model
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The models of a run."""

    mean: tuple[Pick, ...]  # the one that makes the stems, or those of whose stems it is the mean
    first: Pick | None = None  # takes the drums out of a song for them
    missing: tuple[Manifest, ...] = ()  # of all these, what is not here and can be fetched

    @property
    def every(self) -> tuple[Pick, ...]:
        """All of them, in the order in which they hear a mix."""
        return (*((self.first,) if self.first else ()), *self.mean)

    @property
    def known(self) -> list[Manifest]:
        """What is known of those that make the stems."""
        return [each.manifest for each in self.mean if each.manifest]

    @property
    def called(self) -> str:
        """What people call all of them together."""
        first = self.first.model.name if self.first else ""
        return called([each.model.name for each in self.mean], first)

    @property
    def expects(self) -> str:
        """What kind of mix they are for; empty where only a checkpoint knows."""
        if self.first:
            return "a whole song"
        return self.known[0].expects if self.known else ""

    def stems(self, asked: tuple[str, ...] | None, *, intermediate: bool) -> tuple[str, ...]:
        """Return the stems to write of those that are asked for; none: only a checkpoint knows.

        Raises UsageError where the models do not fit each other, or make no stem of that name.
        """
        first = self.first.manifest if self.first else None
        if self.known:
            together.stems_of(self.known)
            if first:
                together.check_chain(self.known, first)
        if not self.known or (self.first and first is None and intermediate):
            return ()
        stems = together.stems_of(self.known, first, intermediate=intermediate)
        if self.first and first is None:
            stems = (*together.parts_of(self.known), sep_models.REST)
        kept = first.stems if first and intermediate else ()
        return together.wanted(asked, stems, name=self.called, kept=kept)


def only(model: Model, manifest: Manifest | None = None) -> Chosen:
    """Return the choice of one model."""
    return Chosen(mean=(Pick(model=model, manifest=manifest),))


def choose(request: Request) -> Chosen:
    """Return the models that a request names, or the best that is here where it names none.

    Raises ModelError for one that is neither here nor can be fetched, PathError for a file that
    is missing or may not be read, UsageError for a model twice and settings without a checkpoint.
    """
    named = (request.model, *request.beside)
    _check_settings(request, named)
    mean = tuple(_pick(each, request.model_config) for each in named)
    whole = [each.model.folder or each.model.checkpoint or each.model.name for each in mean]
    for number, each in enumerate(whole):
        if each in whole[:number]:
            raise UsageError(
                f"--model names {mean[number].model.name} twice",
                hint="--weights says how much each counts",
            )
    first = None if request.from_mix is None else _pick_for_songs(request.from_mix)
    chosen = Chosen(mean=mean, first=first)
    known = [each.manifest for each in chosen.every if each.manifest]
    missing = {each.name: each for each in known if models.folder(each) is None}
    return replace(chosen, missing=tuple(missing.values()))


def _check_settings(request: Request, named: tuple[str | None, ...]) -> None:
    """Raise UsageError unless settings belong to one checkpoint."""
    files = sum(each is not None and models.is_file(each) for each in named)
    if request.model_config is None or files == 1:
        return
    if files:
        raise UsageError("--model-config belongs to one checkpoint", hint=IMPORT)
    if request.from_mix is not None and models.is_file(request.from_mix):
        raise UsageError("--model-config belongs to a checkpoint of --model", hint=IMPORT)
    raise UsageError("--model-config belongs to a checkpoint", hint="--model FILE.ckpt")


def _pick(name: str | None, settings: Path | None) -> Pick:
    if name is not None and models.is_file(name):
        return _checkpoint(Path(name), settings)
    manifest = models.default() if name is None else models.known(name)
    if manifest is None:
        raise ModelError("no drum model is installed", hint="run: sep setup --repair")
    return _known(manifest)


def _pick_for_songs(name: str) -> Pick:
    if name == AUTO:
        return _known(models.for_songs() or sep_models.find(SUGGESTED))
    if "," in name and not models.is_file(name):
        raise UsageError(
            "--from-mix takes one model", hint="several are for --model, which splits the drums"
        )
    return _pick(name, None)


def _known(manifest: Manifest) -> Pick:
    try:
        where = models.here(manifest)
    except ModelError:
        if not models.fetchable(manifest):
            raise
        # Where it will be, once it is fetched.
        folder = str(paths.models() / manifest.name)
        return Pick(model=Model(name=manifest.name, folder=folder), manifest=manifest)
    if where == sep_models.folder_of(manifest.name):  # the runtime has its own, and its hash
        return Pick(model=Model(name=manifest.name), manifest=manifest)
    digest = models.digest_of(manifest)
    model = Model(name=manifest.name, folder=str(where), sha256=digest)
    return Pick(model=model, manifest=manifest)


def _checkpoint(path: Path, settings: Path | None) -> Pick:
    models.check_readable(path, settings)
    return Pick(
        model=Model(
            name=path.stem,
            checkpoint=str(path.resolve()),
            settings=str(settings.resolve()) if settings else None,
        )
    )


def missing(request: Request, manifests: tuple[Manifest, ...]) -> ModelError:
    """Return the error for models that are not here, with the line that brings them."""
    told = " and ".join(each.name for each in manifests)
    what = f"the model {told} is not installed"
    if len(manifests) > 1:
        what = f"the models {told} are not installed"
    elif request.from_mix == AUTO and models.takes_drums(manifests[0]):
        what = "no model is installed that takes the drums out of a song"
    hint = "; ".join(map(models.how, manifests))
    if request.from_mix == AUTO and SUGGESTED in [each.name for each in manifests]:
        hint += f"; for paid work, slower without a GPU: {models.how(sep_models.find(FREE))}"
    return ModelError(what, hint=hint)


def check_here(request: Request, chosen: Chosen) -> None:
    """Raise ModelError unless all of them are here."""
    if chosen.missing:
        raise missing(request, chosen.missing)


def check(request: Request, chosen: Chosen) -> None:
    """Raise UsageError for what these models have not: the stems, the way through a song."""
    output = request.output
    try:
        chosen.stems(output.stems, intermediate=output.intermediate)
    except UsageError:
        _check_intermediate(request, chosen)
        raise
    for manifest in (each.manifest for each in chosen.every if each.manifest):
        if manifest.architecture == "larsnet":
            if request.overlap not in (None, 1.0):
                raise UsageError(f"{manifest.name} knows no overlap", hint="leave out --overlap")
        elif request.overlap is not None and request.overlap > manifest.chunk:
            raise UsageError(
                f"--overlap can be {manifest.chunk} at most for {manifest.name}, not "
                f"{request.overlap:g}",
                hint=f"its own is {manifest.overlap:g}",
            )


def _check_intermediate(request: Request, chosen: Chosen) -> None:
    """Raise UsageError where only the stems of the model for songs are missing."""
    first = chosen.first.manifest if chosen.first else None
    if first is None or request.output.intermediate or request.output.stems is None:
        return
    theirs = {sep_models.canonical(each) for each in request.output.stems} & set(first.stems)
    if theirs:
        raise UsageError(
            f"{', '.join(sorted(theirs))} of --stems is what {first.name} makes of the song",
            hint="--keep-intermediate writes its stems, too",
        )
