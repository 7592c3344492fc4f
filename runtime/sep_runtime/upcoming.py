"""Mixes on their way to stems: the next one begins while the files of the one before are ended."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sep_protocol import marks
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.drumness import Drumness
from sep_runtime.audio.encode import check_rate
from sep_runtime.models import weights
from sep_runtime.streams.ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from sep_protocol import Job
    from sep_runtime.audio.mix import Mix
    from sep_runtime.model import Model
    from sep_runtime.streams.pipeline import Pipeline

STEMS = 1  # blocks of stems, at the mix's rate, that wait for the writers


@dataclass(slots=True, kw_only=True)
class Coming:
    """An open mix; `begin` sends it through the network, a few blocks ahead of who takes them."""

    job: Job
    model: Model
    mix: Mix
    mark: dict[str, int]  # what it was known by before it was read; empty: nothing
    stack: ExitStack
    sounds_like_drums: bool | None = None  # None: not known yet, too short, or not asked
    _sha256: Future[str] | None = field(default=None, init=False)
    _pipeline: Pipeline | None = field(default=None, init=False)
    _stems: Ahead[NDArray[np.float32]] | None = field(default=None, init=False)

    @property
    def sha256(self) -> Future[str]:
        """The mix's SHA-256; raises ModelError where it cannot be read to its end.

        It tells a later run whether it is the same mix. Found beside the rest it is free, so it
        begins with the work; before that it is found where somebody asks for it.
        """
        if self._sha256 is None:
            aside = self.stack.enter_context(ThreadPoolExecutor(1, "digest"))
            self._sha256 = aside.submit(weights.digest, self.mix.path)
        return self._sha256

    @property
    def kept(self) -> dict[str, int]:
        """The mark, where it is still that of before the mix was read; else nothing."""
        return self.mark if self.mark == _mark(self.mix.path) else {}

    def open(self) -> Pipeline:
        """Return the pass over the mix; raise AudioError where it cannot be separated."""
        if self._pipeline is None:
            mix = self.mix
            _ = self.sha256
            self._pipeline = self.model.open(
                sample_rate=mix.sample_rate,
                channels=mix.channels,
                layout=mix.layout,
                level=_again(mix),
                residual=self.job.output.residual,
                downmix=self.job.downmix,
            )
        return self._pipeline

    def begin(self) -> Ahead[NDArray[np.float32]]:
        """Return the blocks of stems [S, C, n], the same ones when asked again."""
        if self._stems is None:
            stems = Ahead(self.open().run(self._blocks()), STEMS)
            self._stems = self.stack.enter_context(stems)
        return self._stems

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the mix's blocks; a model for drums hears on the way what they sound like."""
        ear = Drumness(self.mix.sample_rate) if self.model.expects == "drums" else None
        for block in self.mix.blocks():
            if ear:
                ear.push(block)
                if ear.done:
                    self.sounds_like_drums, ear = ear.sounds_like_drums, None
            yield block
        if ear:
            self.sounds_like_drums = ear.sounds_like_drums

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop what has begun and close the mix."""
        self.stack.close()


class Upcoming:
    """Opens the mixes of a Job, one when it is asked for, or earlier; one at a time is early.

    Events of a track are its taker's: what goes wrong early is raised when the mix is taken.
    """

    def __init__(self, job: Job, model: Model) -> None:
        self._job, self._model = job, model
        self._early: tuple[int, Future[Coming]] | None = None
        self._aside = ThreadPoolExecutor(1, "next track")

    def prepare(self, index: int) -> None:
        """Begin with a track whose turn comes next."""
        if self._early is None:
            self._early = index, self._aside.submit(self._begun, index)

    def take(self, index: int) -> Coming:
        """Return a track's open mix; raise AudioError where it cannot be read."""
        if self._early is None:
            return self._open(index)
        number, early = self._early
        wait([early])  # Ctrl-C leaves it to the end of us
        self._early = None
        if number == index:
            return early.result()
        _close(early)
        return self._open(index)

    def _begun(self, index: int) -> Coming:
        coming = self._open(index)
        try:
            coming.begin()
        except BaseException:
            coming.stack.close()
            raise
        return coming

    def _open(self, index: int) -> Coming:
        with ExitStack() as stack:
            path = Path(self._job.tracks[index].audio)
            mark = _mark(path)
            mix = stack.enter_context(open_mix(path))
            check_rate(self._job.output.format, mix.sample_rate)
            return Coming(
                job=self._job, model=self._model, mix=mix, mark=mark, stack=stack.pop_all()
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Stop what has begun and nobody took."""
        self._aside.shutdown()
        if self._early is not None:
            _close(self._early[1])


def _mark(path: Path) -> dict[str, int]:
    try:
        return marks.mark(path)
    except OSError:
        return {}  # whoever opens it tells


def _close(early: Future[Coming]) -> None:
    if early.exception() is None:
        early.result().stack.close()


def _again(mix: Mix) -> Iterator[NDArray[np.float32]]:
    """Yield the mix's blocks by a reader of their own, for a model that must hear it twice."""
    with open_mix(mix.path) as first:
        yield from first.blocks()
