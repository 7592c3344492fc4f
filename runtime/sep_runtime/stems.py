"""What `Model.separate` gives: stems by name, and a way to files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray
from soundfile import LibsndfileError

from sep_models import RESIDUAL
from sep_models.stems import check_stems
from sep_protocol.errors import AudioError, PathError, UsageError
from sep_protocol.job import BitDepth, Format
from sep_runtime import calls
from sep_runtime.audio.encode import LOSSY, StemFile, check_form, check_rate
from sep_runtime.audio.mix import BLOCK, RATES, reason, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Stems(dict[str, NDArray[np.float32]]):
    """Stems [C, T] by name, at `sample_rate` Hz; `is_float` tells whether their mix had floats."""

    def __init__(
        self, stems: Mapping[str, NDArray[np.float32]], sample_rate: int, *, is_float: bool = True
    ) -> None:
        super().__init__(stems)
        self.sample_rate = calls.whole("sample_rate", sample_rate, RATES)
        self.is_float = is_float

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Format = "wav",  # noqa: A002 (as it is called on the command line)
        bit_depth: int | BitDepth | None = None,
        overwrite: bool = False,
    ) -> dict[str, Path]:
        """Write every stem to `folder`/<stem>.<format>, made where it is missing; return the paths.

        `bit_depth` is 16, 24 or "float"; None: float in wav for a mix of floats, else 24; mp3 and
        ogg have none. Every file appears when it is whole. Samples beyond full scale are clipped
        with a warning, except in float. Raises UsageError for a format or depth that is none,
        AudioError where the format cannot hold the rate, PathError where files exist, unless
        `overwrite`, and where nothing can be written.
        """
        depth = self._depth(format, bit_depth)
        check_form(format, depth)
        check_rate(format, self.sample_rate)
        calls.flag("overwrite", overwrite)
        where = Path(calls.place("folder", folder))
        paths = {stem: where / f"{stem}.{format}" for stem in _checked_names(self)}
        samples = {stem: _finite(stem, array) for stem, array in self.items()}
        clipped: list[str] = []
        try:
            where.mkdir(parents=True, exist_ok=True)
            _check_free(paths.values(), overwrite=overwrite)
            with TemporaryDirectory(
                prefix=".sep-save-", dir=where, ignore_cleanup_errors=True
            ) as partial:
                for stem, path in paths.items():
                    count = self._write(samples[stem], Path(partial, path.name), format, depth)
                    clipped += [f"{stem} {count}"] if count else []
                _check_free(paths.values(), overwrite=overwrite)
                for path in paths.values():
                    Path(partial, path.name).replace(path)
        except (OSError, LibsndfileError) as fault:
            raise PathError(
                f"{{path}} cannot be written: {reason(fault)}", path=str(where)
            ) from fault
        if clipped:
            told = f"samples clipped: {', '.join(clipped)}; wav with bit_depth='float' keeps them"
            warnings.warn(told, stacklevel=2)
        return paths

    def _depth(self, file_format: str, asked: int | str | None) -> BitDepth | None:
        if file_format not in get_args(Format):
            raise UsageError(
                f"there is no format {file_format!r}", hint=", ".join(get_args(Format))
            )
        if asked is None:
            if file_format in LOSSY:
                return None
            return "float" if self.is_float and file_format == "wav" else "24"
        depths: dict[str, BitDepth] = {"16": "16", "24": "24", "32": "float", "float": "float"}
        if str(asked) in depths:
            return depths[str(asked)]
        raise UsageError(f"there is no bit depth {asked!r}", hint="16, 24 or 'float'")

    def _write(
        self,
        samples: NDArray[np.float32],
        path: Path,
        file_format: Format,
        depth: BitDepth | None,
    ) -> int:
        """Write one file; return how many samples were clipped."""
        channels, frames = samples.shape
        file = StemFile(
            path,
            sample_rate=self.sample_rate,
            channels=channels,
            frames=frames,
            file_format=file_format,
            depth=depth,
        )
        for start in range(0, frames, BLOCK):
            file.write(samples[:, start : start + BLOCK])
        file.close()
        return file.clipped


def _checked_names(stems: Iterable[str]) -> tuple[str, ...]:
    """Return the names; raise UsageError for none, and for one that is no file's."""
    names = calls.names(stems) or ()
    made = tuple(name for name in names if name != RESIDUAL)
    try:
        if made:
            check_stems(made)
    except ValueError as fault:
        raise UsageError(str(fault)) from fault
    return names


def _finite(stem: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = samples_of(array)
    if not np.isfinite(samples).all():
        raise AudioError(f"{stem} holds samples that are not numbers")
    return samples


def _check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise PathError for what is there and may not be replaced: a folder never may."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            raise PathError("{path} is a folder", path=str(path))
        if os.path.lexists(path) and not overwrite:
            raise PathError(
                "{path} exists already", hint="overwrite=True replaces it", path=str(path)
            )
