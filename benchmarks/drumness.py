"""How often drums are taken for songs and songs for drums, by kind of material; and what it costs.

python benchmarks/drumness.py RENDERED ... [--songs DIR ...] [--drums DIR ...]
python benchmarks/drumness.py RENDERED ... [--songs DIR ...] --fit

RENDERED are folders of `songs.py`; DIR hold audio files of which is known that they are songs with
instruments, or drums alone. `--fit` prints the numbers of `sep_runtime.audio.drumness`, found by
logistic regression over all that was named, from its first 12, 24 and 60 s; songs and drums weigh
the same together, and the threshold lies where 1 in 200 drums would be taken for a song.
What is fitted on must be other kits, soundfonts and records than what is tested on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile
import soxr

from sep_runtime.audio.drumness import SECONDS, SIGNS, Drumness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Audio = NDArray[np.float32]  # [C, T]

LENGTHS = (12.0, 24.0, 60.0)
ALARMS = 0.005  # of the drums fitted on that lie behind the threshold
SHRINK = 0.01  # weight of the weights' squares
FORMS = ("44.1 kHz", "48 kHz", "mp3 128k")


@dataclass(frozen=True, slots=True)
class Material:
    """A file of which is known what it is."""

    path: Path
    kind: str  # a row of the table
    drums: bool  # alone


def rendered(folder: Path) -> Iterator[Material]:
    """Find what `songs.py` wrote."""
    for facts_file in sorted(folder.glob("song-*/song.json")):
        facts = json.loads(facts_file.read_text())
        path = facts_file.parent / "mix.wav"
        if not facts["programs"]:
            kind = f"drums: {facts['kit']}"
            if facts["drums"] == "soundfont":
                kind = f"drums: General MIDI, {facts['soundfont'].partition('.')[0]}"
            yield Material(path, kind, drums=True)
        else:
            alone = " without drums" if facts["drums"] == "none" else ""
            yield Material(path, f"song: {facts['style']}{alone}", drums=False)


def audio_in(folder: Path, *, drums: bool) -> Iterator[Material]:
    """Find the audio files of a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix[1:].upper() in soundfile.available_formats():
            yield Material(path, f"{'drums' if drums else 'songs'}: {folder.name}", drums=drums)


def read(path: Path, seconds: float) -> tuple[Audio, int]:
    """Return the first seconds of a file [C, T], and its rate."""
    with soundfile.SoundFile(path) as file:
        found = file.read(round(seconds * file.samplerate), dtype="float32", always_2d=True)
        return np.ascontiguousarray(found.T), int(file.samplerate)


def in_form(audio: Audio, rate: int, form: str) -> tuple[Audio, int]:
    """Return audio as a file of that form would give it."""
    target = 48000 if form == "48 kHz" else 44100
    if target != rate:
        audio = np.ascontiguousarray(soxr.resample(audio.T, rate, target).T)
    if form != "mp3 128k":
        return audio, target
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        with av.open(file.name, "w") as container:
            stream = container.add_stream("libmp3lame", rate=target)
            stream.bit_rate = 128_000
            stream.layout = "stereo" if len(audio) > 1 else "mono"
            frame = av.AudioFrame.from_ndarray(audio, format="fltp", layout=stream.layout.name)
            frame.sample_rate = target
            container.mux([*stream.encode(frame), *stream.encode(None)])
        return read(Path(file.name), SECONDS)


def heard(audio: Audio, rate: int) -> Drumness:
    """Play audio to a fresh listener, in blocks as a run has them."""
    ear = Drumness(rate)
    for start in range(0, audio.shape[1], 1 << 16):
        ear.push(audio[:, start : start + (1 << 16)])
    return ear


def fit(materials: list[Material]) -> None:
    """Print means, weights and bias."""
    rows, answers = [], []
    for material in materials:
        audio, rate = read(material.path, SECONDS)
        for seconds in LENGTHS:
            signs = heard(audio[:, : round(seconds * rate)], rate).signs
            if signs is not None and audio.shape[1] > seconds * rate * 0.7:
                rows.append(signs)
                answers.append(not material.drums)
    signs, songs = np.array(rows), np.array(answers)
    weights, bias = regression(signs - signs.mean(0), songs)
    odds = (signs - signs.mean(0)) @ weights + bias
    bias -= float(np.quantile(odds[~songs], 1 - ALARMS))
    print(f"SIGNS = {SIGNS}")
    for name, values in (("MEANS", signs.mean(0)), ("WEIGHTS", weights)):
        print(f"{name} = np.array([{', '.join(f'{value:.3f}' for value in values)}])")
    print(f"BIAS = {bias:.3f}")
    missed = float((odds[songs] < np.quantile(odds[~songs], 1 - ALARMS)).mean())
    print(f"{(~songs).sum()} excerpts of drums, {songs.sum()} of songs; misses {missed:.1%}")


def regression(
    signs: NDArray[np.float64], songs: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """[n, signs] and [n] to weights and bias by Newton's method; both kinds weigh the same."""
    scale = signs.std(0)
    rows = np.column_stack((signs / scale, np.ones(len(signs))))
    share = np.where(songs, 0.5 / songs.mean(), 0.5 / (~songs).mean()) / len(songs)
    shrink = np.append(np.full(len(scale), SHRINK), 0.0)
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-rows @ found))
        slope = rows.T @ (share * (likely - songs)) + shrink * found
        bend = (rows * (share * likely * (1 - likely))[:, None]).T @ rows + np.diag(shrink + 1e-9)
        found = found - np.linalg.solve(bend, slope)
    return found[:-1] / scale, float(found[-1])


def answers(material: Material) -> list[float | None]:
    """Return the log-odds of a song in every form."""
    audio, rate = read(material.path, SECONDS)
    return [heard(*in_form(audio, rate, form)).log_odds for form in FORMS]


def table(materials: list[Material]) -> None:
    """Print false alarms and misses by kind and form, and every file that is taken wrongly."""
    wrong: dict[str, list[list[bool]]] = defaultdict(list)
    named: list[str] = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        found = list(workers.map(answers, materials, chunksize=4))
    for material, said in zip(materials, found, strict=True):
        odds = [each for each in said if each is not None]
        if len(odds) < len(FORMS):
            named.append(f"nothing said: {material.path}")
            continue
        mistakes = [(each < 0) is not material.drums for each in odds]
        for kind in (material.kind, "all drums" if material.drums else "all songs"):
            wrong[kind].append(mistakes)
        if any(mistakes):
            values = ", ".join(f"{each:.1f}" for each in odds)
            named.append(f"{material.kind}: {'/'.join(material.path.parts[-3:])} ({values})")
    print(f"{'':44}{'n':>5}" + "".join(f"{form:>12}" for form in FORMS))
    for kind in sorted(wrong):
        counts = np.array(wrong[kind]).sum(0)
        cells = "".join(f"{count:5} {count / len(wrong[kind]):6.1%}" for count in counts)
        print(f"{kind:44}{len(wrong[kind]):5}{cells}")
    print("\ntaken wrongly, with log-odds by form:", *named, sep="\n  ")


def cost() -> None:
    """Print seconds for a minute, and their share of the bundled model's on this machine."""
    import sep_runtime  # noqa: PLC0415 (torch)

    example = Path(__file__).parent.parent / "examples" / "groove.flac"
    audio, rate = read(example, SECONDS)
    minute = np.tile(audio, (1, 6))[:, : round(SECONDS * rate)]
    model = sep_runtime.load("mdx23c-mini", device="cpu")
    model.separate(audio, rate)
    ours, whole = [], []
    for _ in range(5):
        begun = time.perf_counter()
        _ = heard(minute, rate).log_odds
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        model.separate(minute, rate)
        whole.append(time.perf_counter() - begun)
    listening, separating = statistics.median(ours), statistics.median(whole)
    print(f"\na minute: {listening:.3f} s to listen, {separating:.1f} s to separate with")
    print(f"mdx23c-mini on the CPU: {listening / separating:.2%} (medians of 5)")


def main() -> None:
    """Fit, or print the table and the cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rendered", type=Path, nargs="*")
    parser.add_argument("--songs", type=Path, nargs="*", default=[])
    parser.add_argument("--drums", type=Path, nargs="*", default=[])
    parser.add_argument("--fit", action="store_true")
    own = parser.parse_args()
    materials = [each for folder in own.rendered for each in rendered(folder)]
    materials += [each for folder in own.songs for each in audio_in(folder, drums=False)]
    materials += [each for folder in own.drums for each in audio_in(folder, drums=True)]
    if own.fit:
        fit(materials)
        return
    if materials:
        table(materials)
    cost()


if __name__ == "__main__":
    main()
