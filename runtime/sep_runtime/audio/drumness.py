"""Whether a mix sounds like drums alone, from its first minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sep_runtime.audio.mix import BLOCK

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
NEIGHBOURS = 80.0  # Hz to each side of a peak that it stands out of
FIRM, FAINT = 12.0, 6.0  # dB above the neighbours of a tone
LOWEST = 60.0  # Hz of a tone
PITCHES = 128  # of MIDI
OFTEN = 30  # frames that are enough for a pitch
TUNED = (50.4, 95.2)  # MIDI's pitches between which tuning is looked at: 150 Hz to 2 kHz
# From sign to log-odds: see `benchmarks/drumness.py`, which found the numbers.
SIGNS = ("tempered", "tempered for long", "pitches", "lows that last")
MEANS = np.array([1.555, 1.270, 41.509, -8.526])
WEIGHTS = np.array([1.045, 1.076, 0.107, 0.384])
BIAS = 0.539


class Drumness:
    """Listens to a mix's first minute as it goes by; what it says does not depend on the level.

    `push` takes blocks [C, n] of any size at `sample_rate` (Hz) and no more than a minute of them;
    exact silence before the first sound is not counted. Keeps 10 MB at most; an answer takes 80 MB
    for a moment at 44.1 kHz, and never more than 150.
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
        for start in range(0, block.shape[1], BLOCK):
            if self.done:
                return
            self._hear(block[:, start : start + BLOCK])

    def _hear(self, block: NDArray[np.float32]) -> None:
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
            sum((taken[at :: self._step] for at in range(1, self._step)), taken[:: self._step])
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
    return np.array([*pitched(level, width), kept(power[:, low])])


def spectra(mono: NDArray[np.float32], size: int, rate: float) -> tuple[Frames, float]:
    """[n] to power [frames, bins] up to `HIGHEST`, and the Hz between bins."""
    frames = sliding_window_view(mono, size)[:: size // 2] * np.hanning(size).astype(np.float32)
    width = rate / size
    spectrum = np.fft.rfft(frames, axis=1)[:, : int(HIGHEST / width) + 1]
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32), width


def pitched(level: Frames, width: float) -> tuple[float, float, float]:
    """[frames, bins] in dB to how tempered tones are, also those that last, and how many pitches.

    A tone is a peak that stands out of its neighbours for two frames or for eight. Instruments
    share one tuning, so whatever it is, their tones are whole semitones apart; what rings of drums
    and plates lies anywhere.
    """
    out = level - smoothed(level, max(round(NEIGHBOURS / width), 3))
    near = out.copy()  # a tone may move to the next bin from frame to frame
    near[:, 1:-1] = np.maximum(np.maximum(out[:, :-2], out[:, 2:]), out[:, 1:-1])
    peaks = np.zeros(level.shape, bool)
    peaks[:, 1:-1] = (level[:, 1:-1] >= level[:, :-2]) & (level[:, 1:-1] > level[:, 2:])
    peaks[:, : round(LOWEST / width)] = False
    two = lower(near, 1)
    eight = lower(lower(two, 2), 4)
    return (
        tempered(tones(level, peaks[: len(two)] & (two > FIRM), width)),
        tempered(tones(level, peaks[: len(eight)] & (eight > FIRM), width)),
        variety(tones(level, peaks[: len(two)] & (two > FAINT), width)),
    )


def smoothed(level: Frames, reach: int) -> Frames:
    """[frames, bins] to the mean over `reach` bins to each side."""
    padded = np.pad(level, ((0, 0), (reach + 1, reach)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float32)
    return (sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]) / np.float32(2 * reach + 1)


def lower(values: Frames, frames: int) -> Frames:
    """[n, bins] to [n - frames, bins]: the lower of each value and that some frames later."""
    return np.minimum(values[:-frames], values[frames:])


def tones(level: Frames, chosen: NDArray[np.bool_], width: float) -> NDArray[np.float64]:
    """Return the places of the chosen peaks between bins, as pitches of MIDI with fractions."""
    frame, at = np.nonzero(chosen)
    before, here, after = (level[frame, at + offset] for offset in (-1, 0, 1))
    bend = np.minimum(before - 2 * here + after, np.float32(-1e-3))
    bins = at + np.clip((before - after) / bend / 2, -0.5, 0.5)
    return np.asarray(12 * np.log2(bins * width / 440) + 69, np.float64)


def tempered(pitches: NDArray[np.float64]) -> float:
    """Return how far tones agree on where semitones lie: 0 where they lie anywhere.

    Every pitch has one voice, the mean of where its tones lie within a semitone, and one that is
    heard often counts more, up to a point: a drum that rings is one pitch. What is added up is
    Rayleigh's sum, as a ratio to its mean for voices without agreement.
    """
    pitches = pitches[(pitches > TUNED[0]) & (pitches < TUNED[1])]
    whole = np.round(pitches).astype(np.int64)
    angle = 2 * np.pi * pitches
    sums = np.bincount(whole, np.cos(angle), PITCHES) + 1j * np.bincount(
        whole, np.sin(angle), PITCHES
    )
    power = np.minimum(np.bincount(whole, minlength=PITCHES), OFTEN)
    voices = np.sqrt(power) * sums / np.maximum(np.abs(sums), 1e-9)
    mean = max(float(power.sum()), 1.0)
    return float(np.log1p(max(abs(voices.sum()) ** 2 - mean, 0.0) / mean))


def variety(pitches: NDArray[np.float64]) -> float:
    """Return how many pitches there are: the exponential of their entropy."""
    count = np.bincount(np.round(pitches).astype(np.int64), minlength=PITCHES)
    share = count[count > 0] / max(count.sum(), 1)
    return float(np.exp(-(share * np.log(share)).sum()))


def kept(power: Frames) -> float:
    """[frames, bins] to dB: how much of a frame is there two before and after, on average.

    The median filter along time of Fitzgerald (2010) in short: drums come and go, tones stay.
    """
    middle = power[2:-2]
    least = np.minimum(np.minimum(power[:-4], middle), power[4:]).sum(axis=1)
    floor = power.max() * np.float32(1e-12)
    return float((10 * np.log10((least + floor) / (middle.sum(axis=1) + floor))).mean())
