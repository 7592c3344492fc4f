"""Whether a mix sounds like drums alone, from its first minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.float32]  # [frames, bins]

SECONDS = 60.0  # of the mix that are heard
LEAST = 4.0  # s of sound below which nothing is said
RATE = 20_000  # Hz; a mix is averaged down to no less
WINDOW = 0.093  # s; half a window from frame to frame
HIGHEST = 4100.0  # Hz that are looked at
QUIET = 10**-4.5  # power of a frame that counts, relative to the loud ones
FLOOR = 1e-10  # power relative to the loudest, below which all is the same
NEIGHBOURS = 120.0  # Hz to each side of a peak that it stands out of
FIRM, FAINT = 9.0, 6.0  # dB above the neighbours of a tone
TUNED = (50.4, 95.2)  # MIDI's pitches between which tuning is looked at: 150 Hz to 2 kHz
# From sign to log-odds: see `benchmarks/drumness.py`, which found the numbers.
SIGNS = ("tempered", "pitches", "flux", "low", "steady")
MEANS = np.array([0.454, 26.793, 2.146, -9.069, -7.641])
WEIGHTS = np.array([6.676, 0.081, 1.179, 0.148, 0.135])
BIAS = -0.124


class Drumness:
    """Listens to a mix's first minute as it goes by; what it says does not depend on the level.

    `push` takes blocks [C, n] of any size at `sample_rate` (Hz) and no more than a minute of them;
    exact silence before the first sound is not counted. Keeps 10 MB at most.
    """

    def __init__(self, sample_rate: int) -> None:
        self._step = max(sample_rate // RATE, 1)
        self._rate = sample_rate / self._step
        self._left = round(SECONDS * self._rate)  # samples still wanted
        self._rest = np.zeros(0, np.float32)
        self._heard: list[NDArray[np.float32]] = []
        self._signs: NDArray[np.float64] | None = None

    @property
    def done(self) -> bool:
        """Whether all that is listened to was heard."""
        return self._left == 0

    def push(self, block: NDArray[np.float32]) -> None:
        """Hear the next samples [C, n]."""
        if self.done:
            return
        with np.errstate(all="ignore"):  # samples near the largest number, or none
            mono = block.sum(axis=0, dtype=np.float32) / np.float32(len(block) * self._step)
        if not np.isfinite(mono).all():
            mono = np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0)
        if not self._heard:
            sound = np.flatnonzero(mono)
            if not sound.size:
                return
            mono = mono[sound[0] :]
        mono = np.concatenate((self._rest, mono))
        count = min(mono.size // self._step, self._left)
        self._rest = mono[count * self._step :]
        taken = mono[: count * self._step]
        # Adding strided views is ten times as fast as a mean over a short axis.
        self._heard.append(
            sum((taken[at :: self._step] for at in range(self._step)), np.float32(0))
        )
        self._left -= count
        self._signs = None

    @property
    def sounds_like_drums(self) -> bool | None:
        """Whether drums alone were heard so far; None: too little to say."""
        odds = self.log_odds
        return None if odds is None else odds < 0

    @property
    def log_odds(self) -> float | None:
        """How sure it is that more than drums was heard: above 0 it is a song."""
        signs = self.signs
        return None if signs is None else float((signs - MEANS) @ WEIGHTS + BIAS)

    @property
    def signs(self) -> NDArray[np.float64] | None:
        """The numbers in `SIGNS` of what was heard so far; None: too little."""
        if self._signs is None and self._heard:
            self._signs = signs_of(np.concatenate(self._heard), self._rate)
        return self._signs


def signs_of(mono: NDArray[np.float32], rate: float) -> NDArray[np.float64] | None:
    """[n] at `rate` Hz to the numbers in `SIGNS`, None for too little sound."""
    size = max(round(rate * WINDOW / 64) * 64, 64)  # lengths that transforms are fast at
    peak = float(np.abs(mono).max(initial=0))
    if mono.size < size or peak < np.finfo(np.float32).tiny:
        return None
    power, width = spectra(mono / np.float32(peak), size, rate)
    loudness = power[:, round(80 / width) :].sum(axis=1)
    power = power[loudness > np.percentile(loudness, 95) * QUIET]
    if len(power) * size / 2 < LEAST * rate:
        return None
    level = 10 * np.log10(power + power.max() * np.float32(FLOOR))
    low = slice(round(40 / width), round(200 / width) + 1)
    middle = slice(round(200 / width), None)
    rises = np.maximum(np.diff(level[:, middle], axis=0), 0).mean(axis=1)
    return np.array(
        [
            *pitched(level, width),
            float(np.median(rises)),
            float(np.median(kept(power[:, low], 8))),
            float(kept(power[:, middle], 2).mean()),
        ]
    )


def spectra(mono: NDArray[np.float32], size: int, rate: float) -> tuple[Frames, float]:
    """[n] to power [frames, bins] up to `HIGHEST`, and the Hz between bins."""
    frames = sliding_window_view(mono, size)[:: size // 2] * np.hanning(size).astype(np.float32)
    width = rate / size
    spectrum = np.fft.rfft(frames, axis=1)[:, : int(HIGHEST / width) + 1]
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32), width


def pitched(level: Frames, width: float) -> tuple[float, float]:
    """[frames, bins] in dB to how tempered tones are (0..1), and how many pitches last.

    A tone is a peak that stands out of its neighbours for some frames. Instruments are tuned to
    one scale, so whatever their tuning, their tones are whole semitones apart; what rings of drums
    and plates lies anywhere, and there is little of it.
    """
    reach = max(round(NEIGHBOURS / width), 3)
    out = level - smoothed(level, reach)
    near = out.copy()  # a tone may move to the next bin from frame to frame
    near[:, 1:-1] = np.maximum(np.maximum(out[:, :-2], out[:, 2:]), out[:, 1:-1])
    peaks = np.zeros(level.shape, bool)
    peaks[:, 1:-1] = (level[:, 1:-1] >= level[:, :-2]) & (level[:, 1:-1] > level[:, 2:])
    peaks[:, : round(60 / width)] = False
    four = lasting(lasting(near, 1), 2)
    eight = lasting(four, 4)
    return (
        tempered(*tones(level, peaks[: len(four)] & (four > FIRM), width)),
        variety(*tones(level, peaks[: len(eight)] & (eight > FAINT), width)),
    )


def smoothed(level: Frames, reach: int) -> Frames:
    """[frames, bins] to the mean over `reach` bins to each side."""
    padded = np.pad(level, ((0, 0), (reach + 1, reach)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float32)
    return (sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]) / np.float32(2 * reach + 1)


def lasting(values: Frames, frames: int) -> Frames:
    """[n, bins] to [n - frames, bins]: the lower of each value and that some frames later."""
    return np.minimum(values[:-frames], values[frames:])


def tones(
    level: Frames, chosen: NDArray[np.bool_], width: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the chosen peaks' places in semitones, and the nearest whole ones from 0 on."""
    frame, at = np.nonzero(chosen)
    before, here, after = (level[frame, at + offset] for offset in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, -1e-3)
    bins = at + np.clip((before - after) / bend / 2, -0.5, 0.5)
    semitones = 12 * np.log2(bins * width / 440) + 69
    return semitones, np.clip(np.round(semitones), 0, 127).astype(np.int64)


def tempered(semitones: NDArray[np.float64], pitches: NDArray[np.int64]) -> float:
    """Return how far the tones of 150 to 2000 Hz agree on where semitones lie, by pitch.

    A pitch that is heard often counts more, up to a point: one drum that rings is one pitch.
    """
    chosen = (semitones > TUNED[0]) & (semitones < TUNED[1])
    count = np.bincount(pitches[chosen], minlength=128)
    angle = 2 * np.pi * semitones[chosen]
    sums = np.bincount(pitches[chosen], np.cos(angle), 128) + 1j * np.bincount(
        pitches[chosen], np.sin(angle), 128
    )
    weights = np.sqrt(np.minimum(count, 30))
    units = sums / np.maximum(np.abs(sums), 1e-9)
    return float(np.abs((weights * units).sum()) / (weights.sum() + 5))


def variety(_: NDArray[np.float64], pitches: NDArray[np.int64]) -> float:
    """Return how many pitches there are: the exponential of their entropy."""
    count = np.bincount(pitches, minlength=128)
    share = count[count > 0] / max(count.sum(), 1)
    return float(np.exp(-(share * np.log(share)).sum()))


def kept(power: Frames, lag: int) -> NDArray[np.float64]:
    """[frames, bins] to [n]: dB of a frame's power that is there `lag` frames before and after."""
    middle = power[lag:-lag]
    least = np.minimum(np.minimum(power[: -2 * lag], middle), power[2 * lag :])
    floor = power.max() * 1e-12
    return np.asarray(10 * np.log10((least.sum(axis=1) + floor) / (middle.sum(axis=1) + floor)))
