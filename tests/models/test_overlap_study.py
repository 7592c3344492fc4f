"""The study of overlaps: it scores what sep would put out, and goes on where it stopped."""

import csv
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sep_runtime.streams.overlap import Chunking, OverlapAdd

pytestmark = pytest.mark.slow
pytest.importorskip("scipy")
pytest.importorskip("mido")

ROOT = Path(__file__).parent.parent.parent
CHUNK, TOTAL, STEMS = 14_336, 60_000, 5


@pytest.fixture(scope="module")
def overlap():
    """The script, whose imports are in a folder that is no package."""
    before = dict(sys.modules)
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "models" / "training")]
    import overlap

    yield overlap
    del sys.path[:2]
    for name in set(sys.modules) - set(before):
        if "/models/training/" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    del sys.modules["overlap"]


@pytest.fixture(scope="module")
def stems():
    return 0.1 * torch.randn(STEMS, 2, TOTAL, generator=torch.Generator().manual_seed(0))


def network(mix):
    """[B, 2, T] to [B, S, 2, T], with errors that depend on the position in the chunk."""
    at = torch.arange(mix.shape[-1]) / mix.shape[-1]
    waves = torch.stack([torch.sin(7 * at + stem) for stem in range(STEMS)])
    return mix[:, None] * (0.2 + waves[:, None])


def errors(overlap, stems, chosen):
    kept = overlap.separate(network, stems.sum(0), CHUNK, chosen)
    return {
        start: output.float() - stems[..., start : start + CHUNK]
        for start, output in zip(chosen, kept["outputs"], strict=True)
    }


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_song_is_scored_as_sep_would_put_it_out(overlap, stems, factor):
    cut = Chunking(chunk=CHUNK, hop=CHUNK // factor)
    stream = OverlapAdd(network, cut, stems=STEMS, channels=2, device=torch.device("cpu"))
    out = torch.cat((stream.push(stems.sum(0)), stream.finish()), -1)
    chosen = overlap.starts(TOTAL, CHUNK, factor)
    window = overlap.windows(CHUNK)["hann"]
    found = overlap.song(errors(overlap, stems, chosen), chosen, window, TOTAL)
    assert stream.chunks == len(chosen)
    assert found == pytest.approx(overlap.energies(out - stems), rel=1e-3)


@pytest.mark.parametrize("overlaps", [1.0, 1.1, 1.25, 1.5, 3.0])
def test_chunks_cover_everything_and_end_with_the_mix(overlap, overlaps):
    for total in (CHUNK, CHUNK + 1, 2 * CHUNK, TOTAL):
        chosen = overlap.starts(total, CHUNK, overlaps)
        assert chosen[0] == 0
        assert chosen[-1] == total - CHUNK
        assert all(b - a <= CHUNK for a, b in pairwise(chosen))


@pytest.mark.parametrize("size", [CHUNK, 1001])
def test_windows_are_positive_and_symmetric(overlap, size):
    for name, window in overlap.windows(size).items():
        assert window.shape == (size,)
        assert window.min() > 0, name
        torch.testing.assert_close(window, window.flip(0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("every", [8, 6, 4, 1])
@pytest.mark.parametrize("name", ["mean", "hann", "tukey 0.1"])
def test_the_steady_part_is_the_mean_of_all_grids(overlap, stems, every, name):
    chosen = overlap.starts(TOTAL, CHUNK, overlap.PARTS)
    found = errors(overlap, stems, chosen)
    sums, begin, end = overlap.products(found, CHUNK)
    window = overlap.windows(CHUNK)[name]
    step = CHUNK // overlap.PARTS
    wanted = torch.zeros(STEMS, dtype=torch.float64)
    for first in range(every):
        grid = [s for s in chosen if s % step == 0 and (s // step - first) % every == 0]
        weight = torch.zeros(TOTAL, dtype=torch.float64)
        joined = torch.zeros(STEMS, 2, TOTAL, dtype=torch.float64)
        for start in grid:
            weight[start : start + CHUNK] += window
            joined[..., start : start + CHUNK] += window * found[start]
        joined = joined[..., begin:end] / weight[begin:end]
        wanted += joined.square().sum((1, 2))
    # A window counts as constant over a few samples there.
    assert overlap.steady(sums, window, every) == pytest.approx((wanted / every).tolist(), rel=2e-3)


def test_what_was_separated_is_not_separated_again(overlap, stems, tmp_path):
    piece = overlap.Piece("long", 0, CHUNK, (2.0, 8.0), lambda: stems)
    first, sums = overlap.measure(piece, network, tmp_path)
    assert first["song"][2] == STEMS * [True]
    (tmp_path / f"{piece.name}.json").unlink()

    def broken(mix):
        raise AssertionError

    again, sums_again = overlap.measure(piece, broken, tmp_path)
    assert again == first
    assert torch.equal(sums, sums_again)
    assert overlap.measure(piece, broken, tmp_path)[0] == first


def test_tables_and_pictures_come_of_what_was_measured(overlap, stems, tmp_path):
    pieces = [
        overlap.Piece("long", i, CHUNK, (1.25, 2.0, 8.0), lambda i=i: stems.roll(i, 0))
        for i in range(2)
    ]
    done = [(each, *overlap.measure(each, network, tmp_path)) for each in pieces]
    scores = overlap.collect(done, CHUNK, 1)
    overlap.write_table(scores, {CHUNK: 2.0}, CHUNK, tmp_path / "overlap.csv")
    profile = overlap.profile([(figures, sums) for _, figures, sums in done])
    overlap.write_profile(profile, tmp_path / "overlap-edges.csv")
    with (tmp_path / "overlap.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    chosen = [row for row in rows if row["window"] == "hann" and row["overlap"] == "2"]
    assert {(row["material"], row["cut"]): row["clips"] for row in chosen} == {
        ("long", "song"): "2",
        ("long", "steady"): "2",
        ("resized", "song"): "1",
    }
    assert {row["gain"] for row in chosen} == {"0.000"}
    # Whatever the stem, its energies follow from its errors.
    _, powers, _ = done[0][1]["song"]
    error = next(row[3] for row in done[0][1]["rows"] if row[:2] == [2.0, "hann"])
    resized = next(row for row in chosen if row["material"] == "resized")
    assert float(resized["kick"]) == pytest.approx(10 * math.log10(powers[0] / error[0]), abs=1e-3)
    subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "overlap_pictures.py", tmp_path], check=True
    )
    for name in ("overlap", "overlap-edges"):
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert drawn.startswith("<svg")
        assert drawn.count("<path") > 20
        assert "nan" not in drawn
