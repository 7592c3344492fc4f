"""The Python API: an array or a file in, a dict of stems out.

    import sep_runtime

    model = sep_runtime.load("mdx23c-mini", device="auto")
    stems = model.separate("drums.wav")
    kick = stems["kick"]  # float32 [C, T], at the file's rate and length

The command line stands on the same `Model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sep_protocol import Model as ModelRef
from sep_protocol.errors import AudioError
from sep_runtime import device as devices
from sep_runtime.audio.decode import open_mix
from sep_runtime.models import separators
from sep_runtime.streams.pipeline import Pipeline, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from sep_runtime.device import Choice
    from sep_runtime.models.separators import Loaded

DIMENSIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A loaded model on a device."""

    loaded: Loaded
    choice: Choice

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems, in the order of the arrays of `stream`."""
        return self.loaded.separator.stems

    @property
    def device(self) -> str:
        """The device that does the work: cpu, mps, cuda or cuda:N."""
        return str(self.choice.device)

    def separate(
        self,
        mix: str | Path | NDArray[np.float32],
        sample_rate: int | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """[C, T] array at `sample_rate` Hz, or a file, to float32 stems [C, T] by name.

        C is 1 or 2. `progress` is called with finished and total samples. Raises AudioError
        where the mix cannot be read or separated, ValueError for an array without a rate, of
        integers (their full scale is not known) or of another shape.
        """
        if isinstance(mix, str | Path):
            with open_mix(Path(mix)) as opened:
                blocks = list(opened.blocks())
                rate = opened.sample_rate
        elif sample_rate is None:
            raise ValueError("an array needs its sample_rate")
        else:
            blocks, rate = [_floats(mix)], sample_rate
        total = sum(block.shape[1] for block in blocks)
        if not total or not all(np.isfinite(block).all() for block in blocks):
            raise AudioError("the mix is empty or holds samples that are no numbers")
        done, found = 0, []
        pipeline = self.open(sample_rate=rate, channels=blocks[0].shape[0], level=blocks)
        for stems in pipeline.run(blocks):
            found.append(stems)
            done += stems.shape[-1]
            if progress:
                progress(done, total)
        return dict(zip(self.stems, np.concatenate(found, -1), strict=True))

    def open(
        self,
        *,
        sample_rate: int,
        channels: int,
        layout: Sequence[str] = (),
        level: Iterable[NDArray[np.float32]],
        residual: bool = False,
        mix_down: bool = False,
    ) -> Pipeline:
        """Begin a pass over a mix of any length.

        `level` gives the mix's blocks [C, n] once; they are read only by a model that normalises.
        `layout` names the channels as FFmpeg does, for mixing more than two of them down. Raises
        AudioError for more than two channels unless they may be mixed down.
        """
        normalize = self.loaded.manifest.normalize
        return Pipeline(
            self.loaded.separator,
            sample_rate=sample_rate,
            channels=channels,
            layout=layout,
            level=level_of(level) if normalize else (0.0, 1.0),
            residual=residual,
            mix_down=mix_down,
        )


def _floats(mix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an array as float32 [C, T]; raise ValueError for what cannot be one."""
    found = np.atleast_2d(np.asarray(mix))
    if not np.issubdtype(found.dtype, np.floating):
        raise ValueError(f"samples of {found.dtype} have no full scale: give floats")
    if found.ndim != DIMENSIONS or not found.shape[0]:
        raise ValueError(f"an array must be [channels, samples], not of the shape {found.shape}")
    return found.astype(np.float32, copy=False)


def load(
    name: str = "mdx23c-mini",
    *,
    device: str = "auto",
    folder: str | None = None,
    checkpoint: str | None = None,
    settings: str | None = None,
    overlap: float | None = None,
    batch: int | None = None,
) -> Model:
    """Load a model of the catalogue, or an MDX23C `checkpoint` with its `settings` YAML.

    `folder` holds the weights of a model that is not bundled; `overlap` is chunk / hop and at
    least 1; `batch` is how many chunks go through the network together. Raises DeviceError where
    a named device cannot be used, ModelError where the model is missing or corrupt.
    """
    ref = ModelRef(name=name, folder=folder, checkpoint=checkpoint, settings=settings)
    return load_on(devices.choose(device), ref, overlap=overlap, batch=batch)


def load_on(
    choice: Choice, model: ModelRef, *, overlap: float | None = None, batch: int | None = None
) -> Model:
    """Load a Job's model on a device that was chosen."""
    loaded = separators.load(model, choice.device, overlap=overlap, batch=batch)
    return Model(loaded=loaded, choice=choice)
