"""A loaded model, or several that work together: mixes in, stems out."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sep_models import together
from sep_protocol.errors import AudioError, UsageError
from sep_runtime import calls, memory
from sep_runtime.accel import tuning
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.mix import RATES, samples_of
from sep_runtime.stems import Stems
from sep_runtime.streams.pipeline import Pipeline
from sep_runtime.streams.single import UNCHANGED, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from sep_protocol import ModelLoaded
    from sep_runtime.calls import AnyPath
    from sep_runtime.device import Choice
    from sep_runtime.models.separators import Loaded
    from sep_runtime.streams.overlap import Separator
    from sep_runtime.streams.turns import Turns

CHANNELS = range(1, 1025)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A mix in memory."""

    blocks: list[NDArray[np.float32]]  # [C, n] each
    sample_rate: int
    layout: tuple[str, ...] = ()
    is_float: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the models that work together."""

    loaded: Loaded
    first: bool = False  # whether it takes the drums out of a song for the others
    weight: float = 1.0  # in the mean of several; these sum to 1


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Model:
    """A loaded model on a device, or several that work together. Threads may share it.

    Processes may not.
    """

    name: str  # of a checkpoint of the user's, that of its file
    stems: tuple[str, ...]  # in the order of the arrays that `Pipeline.run` gives
    separator: Separator
    parts: tuple[Part, ...]  # every model, in the order in which they hear a mix
    choice: Choice
    turns: Turns | None = None  # how several share the memory
    pid: int = field(default_factory=os.getpid)  # of the process that it was loaded in

    def __repr__(self) -> str:
        return f"<Model {self.name} on {self.device}: {', '.join(self.stems)}>"

    @property
    def loaded(self) -> Loaded:
        """The one that makes the stems, the first of several."""
        return next(each.loaded for each in self.parts if not each.first)

    @property
    def expects(self) -> str:
        """What kind of mix they are for: drums, or a whole song."""
        return self.parts[0].loaded.manifest.expects

    @property
    def device(self) -> str:
        """The device that does the work: cpu, mps, cuda or cuda:N."""
        return str(self.loaded.runner.device)

    @property
    def running(self) -> ModelLoaded:
        """How its network runs on the device: the precision, and how many chunks at once."""
        return self.loaded.running

    @property
    def sha256(self) -> str:
        """What tells the same stems: of one model that of its weights, else that of `made`."""
        if len(self.parts) == 1:
            return self.loaded.sha256
        return hashlib.sha256(json.dumps(self.made).encode()).hexdigest()

    @property
    def made(self) -> list[dict[str, object]]:
        """Every model as a report says it: what it is, and its part in the stems."""
        return [
            {
                "name": each.loaded.manifest.name,
                "sha256": each.loaded.sha256,
                "role": "from-mix" if each.first else "model",
                "weight": each.weight,
                "chunk": each.loaded.separator.cut.chunk,
                "hop": each.loaded.separator.cut.hop,
            }
            for each in self.parts
        ]

    def separate(
        self,
        mix: AnyPath | NDArray[np.floating],
        sample_rate: int | None = None,
        *,
        stems: Iterable[str] | None = None,
        downmix: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Stems:
        """[C, T] floats at `sample_rate` Hz, or a file, to float32 stems [C, T] by name.

        C is 1 or 2, or more where `downmix` may make stereo of them; [T] is mono. `stems` are the
        names of those that are wanted, None: all. `progress` is called with finished and total
        samples. What people should know of a file is a warning. Raises AudioError where the mix
        cannot be read or separated, TypeError and UsageError for a call that is wrong.
        """
        wanted = self.wanted(calls.names(stems))
        rows, done = [self.stems.index(stem) for stem in wanted], 0
        with memory.named():
            heard = _heard(mix, sample_rate)
            total = sum(block.shape[1] for block in heard.blocks)
            pipeline = self.open(
                sample_rate=heard.sample_rate,
                channels=heard.blocks[0].shape[0],
                layout=heard.layout,
                level=heard.blocks,
                downmix=downmix,
            )
            arrays = np.empty((len(rows), pipeline.channels, total), np.float32)
            for block in pipeline.run(heard.blocks):
                arrays[..., done : done + block.shape[-1]] = block[rows]
                done += block.shape[-1]
                if progress:
                    progress(done, total)
        tuning.TABLE.keep()
        for note in heard.notes:
            warnings.warn(note, stacklevel=2)
        named = dict(zip(wanted, arrays, strict=True))
        return Stems(named, heard.sample_rate, is_float=heard.is_float)

    def wanted(self, asked: tuple[str, ...] | None, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the stems that are asked for, and those that are kept in any case, in order."""
        return together.wanted(asked, self.stems, name=self.name, kept=kept)

    def stream(
        self,
        blocks: Iterable[NDArray[np.floating]],
        sample_rate: int,
        *,
        stems: Iterable[str] | None = None,
        level: Iterable[NDArray[np.float32]] | None = None,
        downmix: bool = False,
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """[C, n] blocks of a mix of any length to its stems [C, m] by name, block by block.

        Together as many samples come out as went in; memory does not grow with them. `level`,
        `stems` and `downmix`, and what is raised, are those of `open` and `separate`.
        """
        wanted = self.wanted(calls.names(stems))
        rows = {stem: self.stems.index(stem) for stem in wanted}
        coming = iter(blocks)
        first = next(coming, None)
        if first is None:
            return
        pipeline = self.open(
            sample_rate=sample_rate,
            channels=samples_of(first).shape[0],
            level=level,
            downmix=downmix,
        )
        for block in pipeline.run(chain([first], coming)):
            yield {stem: block[row] for stem, row in rows.items()}

    def open(
        self,
        *,
        sample_rate: int,
        channels: int,
        layout: Sequence[str] = (),
        level: Iterable[NDArray[np.float32]] | None = None,
        residual: bool = False,
        downmix: bool = False,
    ) -> Pipeline:
        """Begin a pass over a mix of any length; `run` of what it returns takes the mix's blocks.

        `level` gives the same blocks [C, n] once; a model that normalises needs them, others read
        none. `layout` names the channels as FFmpeg does, for mixing more than two of them down.
        Raises AudioError for more than two channels unless they may be mixed down, TypeError and
        UsageError for a call that is wrong, also for one in another process than the model's.
        """
        check_process(self.pid)
        calls.flag("residual", residual)
        calls.flag("downmix", downmix)
        rate = calls.whole("sample_rate", sample_rate, RATES)
        normalize = self.separator.normalize
        if normalize and level is None:
            raise UsageError(
                f"{self.name} hears a mix twice", hint="give the mix's blocks as level, too"
            )
        return Pipeline(
            self.separator,
            sample_rate=rate,
            channels=calls.whole("channels", channels, CHANNELS),
            layout=layout,
            level=level_of(level) if normalize and level is not None else UNCHANGED,
            residual=residual,
            mix_down=downmix,
        )


def check_process(loaded_in: int) -> None:
    """Raise UsageError in a process that was forked after a model was loaded: it would hang."""
    if os.getpid() != loaded_in:
        raise UsageError(
            "this process was forked from one that had loaded a model: PyTorch would hang here",
            hint="start processes with multiprocessing.get_context('spawn') and load in each",
        )


def _heard(mix: AnyPath | NDArray[np.floating], sample_rate: int | None) -> _Heard:
    """Return the samples of a file or of an array, none of which is no number."""
    if isinstance(mix, str | os.PathLike):
        if sample_rate is not None:
            raise UsageError("a file has its own sample rate", hint="leave out sample_rate")
        with open_mix(Path(mix)) as opened:
            return _Heard(
                blocks=list(opened.blocks()),
                sample_rate=opened.sample_rate,
                layout=opened.layout,
                is_float=opened.is_float,
                # Of what was read: the blocks above come first.
                notes=tuple(f"{opened.path.name}: {note}" for note in opened.notes),
            )
    samples = samples_of(mix)
    if sample_rate is None:
        raise UsageError("an array needs its sample_rate")
    if not samples.shape[1] or not np.isfinite(samples).all():
        raise AudioError("the mix is empty or holds samples that are not numbers")
    return _Heard(blocks=[samples], sample_rate=calls.whole("sample_rate", sample_rate, RATES))
