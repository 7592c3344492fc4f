"""The Python API: an array or a file in, a dict of stems out.

    import sep_runtime

    model = sep_runtime.load("mdx23c-mini", device="auto")
    stems = model.separate("drums.wav")
    kick = stems["kick"]  # float32 [C, T], at the file's rate and length
    stems.save("separated")

A call that is wrong in itself raises TypeError or UsageError, which is a ValueError and a SepError;
what a model, a file, a device or the memory cannot do is another SepError. docs/python.md says
more. The command line stands on the same `Model`.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import sep_models
from sep_protocol import ModelLoaded
from sep_protocol.errors import AudioError, UsageError
from sep_runtime import calls, memory
from sep_runtime import device as devices
from sep_runtime.accel import tuning
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.mix import RATES, samples_of
from sep_runtime.models import separators
from sep_runtime.stems import Stems
from sep_runtime.streams.pipeline import Pipeline, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from sep_protocol import Model as ModelRef
    from sep_protocol import Precision
    from sep_runtime.calls import AnyPath
    from sep_runtime.device import Choice
    from sep_runtime.models.separators import Loaded

CHANNELS = range(1, 1025)
_FIRST: dict[str, int] = {}  # the process that loaded a model first: its forks cannot
logging.getLogger("sep_runtime").addHandler(logging.NullHandler())  # what is said is raised


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A mix in memory."""

    blocks: list[NDArray[np.float32]]  # [C, n] each
    sample_rate: int
    layout: tuple[str, ...] = ()
    is_float: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Model:
    """A loaded model on a device. Threads may share it, processes may not."""

    loaded: Loaded
    choice: Choice
    pid: int = field(default_factory=os.getpid)  # of the process that it was loaded in

    def __repr__(self) -> str:
        return f"<Model {self.name} on {self.device}: {', '.join(self.stems)}>"

    @property
    def name(self) -> str:
        """The model's name; of a checkpoint of the user's, that of its file."""
        return self.loaded.manifest.name

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems, in the order of the arrays that `Pipeline.run` gives."""
        return self.loaded.manifest.stems

    @property
    def device(self) -> str:
        """The device that does the work: cpu, mps, cuda or cuda:N."""
        return str(self.loaded.runner.device)

    @property
    def running(self) -> ModelLoaded:
        """How the network runs on the device: its precision, and how many chunks at once."""
        runner = self.loaded.runner
        return ModelLoaded(
            precision=runner.precision,
            batch=runner.batch,
            snr=None if runner.precision == "fp32" else self.loaded.snr,
            ways=runner.ways(),
        )

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
        wanted = sep_models.wanted_stems(calls.names(stems), self.loaded.manifest)
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
        _check_process(self.pid)
        calls.flag("residual", residual)
        calls.flag("downmix", downmix)
        rate = calls.whole("sample_rate", sample_rate, RATES)
        normalize = self.loaded.manifest.normalize
        if normalize and level is None:
            raise UsageError(
                f"{self.name} hears a mix twice", hint="give the mix's blocks as level, too"
            )
        return Pipeline(
            self.loaded.separator,
            sample_rate=rate,
            channels=calls.whole("channels", channels, CHANNELS),
            layout=layout,
            level=level_of(level) if normalize and level is not None else (0.0, 1.0),
            rest=self.loaded.manifest.rest,
            residual=residual,
            mix_down=downmix,
        )


def load(
    name: str | None = None,
    *,
    device: str = "auto",
    folder: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    settings: AnyPath | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    precision: str = "auto",
) -> Model:
    """Load a model of the catalogue or of the user, or a `checkpoint` with its `settings` YAML.

    `name` is a model's name or alias; None: the bundled one, or what the checkpoint's file is
    called. `folder` holds the model's weights; None: where `sep models pull` puts them, or the
    package. A checkpoint that the catalogue knows needs no settings. `overlap` is chunk / hop and
    at least 1; `batch` is how many chunks go through the network together; `precision` is
    auto, fp32, fp16 or bf16. Raises DeviceError where a named device cannot be used, ModelError
    where the model is missing, damaged or of another kind, TypeError and UsageError for a call
    that is wrong.
    """
    _check_process(_FIRST.setdefault("pid", os.getpid()))
    calls.check_speed(overlap, batch)
    ref = calls.model(name, folder=folder, checkpoint=checkpoint, settings=settings)
    chosen, wanted = calls.text("device", device), calls.precision(precision)
    with memory.named():
        choice = devices.choose(chosen)
        return load_on(
            choice,
            ref,
            overlap=overlap,
            batch=batch,
            precision=wanted,
            to_cpu=chosen == "auto",
        )


def _check_process(loaded_in: int) -> None:
    """Raise UsageError in a process that was forked after a model was loaded: it would hang."""
    if os.getpid() != loaded_in:
        raise UsageError(
            "this process was forked from one that had loaded a model: PyTorch would hang here",
            hint="start processes with multiprocessing.get_context('spawn') and load in each",
        )


def load_on(
    choice: Choice,
    model: ModelRef,
    *,
    overlap: float | None = None,
    batch: int | None = None,
    precision: Precision = "auto",
    to_cpu: bool = False,
) -> Model:
    """Load a Job's model on a device that was chosen; `to_cpu`: see `separators.load`."""
    loaded = separators.load(
        model, choice.device, overlap=overlap, batch=batch, precision=precision, to_cpu=to_cpu
    )
    return Model(loaded=loaded, choice=choice)


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
