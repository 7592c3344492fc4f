"""How long the launcher takes over a library before anything is separated, and its memory.

python benchmarks/library.py looking [--tracks 10000] [--folder FOLDER] [--cold]
python benchmarks/library.py profile [--tracks 10000] [--folder FOLDER] [dry-run | resume]

`looking` makes a library of small files, and fabricated reports beside small stems, and runs the
installed command on it: a dry run with nothing done, one with all done, and `--resume` with all
done. With `--cold` the kernel forgets the disk before each, which only root may ask for. The memory
is the launcher's alone: none of these starts a runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sep_models

STEMS = sep_models.find("mdx23c-mini").stems
DISC = 12  # songs in a folder
PROFILED = """
import cProfile, sys
from sep_launcher import cli
found = cProfile.Profile()
code = found.runcall(cli.main, sys.argv[2:])
found.dump_stats(sys.argv[1])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What a command took."""

    seconds: float
    processor: float  # seconds
    peak: int  # bytes


def mixes(library: Path, count: int) -> list[Path]:
    """Make so many small files, as albums are."""
    found = []
    for number in range(count):
        folder = library / f"artist {number // (DISC * 5)}" / f"album {number // DISC}"
        folder.mkdir(parents=True, exist_ok=True)
        found.append(folder / f"{number % DISC + 1:02d} song {number}.wav")
        found[-1].write_bytes(b"RIFF")
    return found


def finish(identity: str, tracks: list[dict[str, str]]) -> None:
    """Lay small stems and a report into every track's folder, as a run would leave them."""
    for track in tracks:
        folder = Path(track["out"])
        folder.mkdir(parents=True)
        for stem in STEMS:
            (folder / f"{stem}.wav").write_bytes(b"RIFF")
        mix = Path(track["audio"]).stat()
        report = {
            "schema": 1,
            "sep": "0.1.0",
            "identity": identity,
            "mix": {
                "path": track["audio"],
                "sha256": "0" * 64,
                "size": mix.st_size,
                "mtime_ns": mix.st_mtime_ns,
            },
            "model": {"name": "mdx23c-mini", "sha256": "0" * 64},
            "models": [],
            "settings": {"chunk": 261632, "hop": 209306, "stem_name": "{stem}"},
            "stems": {s: {"file": f"{s}.wav", "bytes": 4, "clipped": 0} for s in STEMS},
            "frames": 44100,
            "sample_rate": 44100,
        }
        (folder / "sep.json").write_text(json.dumps(report, indent=1))


def job_of(library: Path, out: Path) -> dict[str, object]:
    """Return the Job of a run, which a verbose dry run keeps."""
    words = ["run", str(library), "-o", str(out), "--dry-run", "--json"]
    done = subprocess.run(command(*words), capture_output=True, text=True, check=True)
    kept = json.loads(done.stdout)["command"].split()[-1].strip("'")
    job: dict[str, object] = json.loads(Path(kept).read_text())
    shutil.rmtree(Path(kept).parent)
    return job


def command(*words: str) -> list[str]:
    """Return the installed command with these words."""
    return [str(Path(sys.executable).with_name("sep")), *words]


def took(words: list[str], *, cold: bool) -> Took:
    """Run the command; its output goes to a file, as into a log."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command(*words), stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(log.read().decode()[-2000:])
    unit = 1 if sys.platform == "darwin" else 1024
    return Took(
        seconds=seconds, processor=used.ru_utime + used.ru_stime, peak=used.ru_maxrss * unit
    )


def looking(folder: Path, count: int, *, cold: bool) -> None:
    """Measure all three and print them."""
    library, out = folder / "library", folder / "out"
    mixes(library, count)
    words = ["run", str(library), "-o", str(out)]
    rows = [("dry run, nothing done", took([*words, "--dry-run"], cold=cold))]
    job = job_of(library, out)
    finish(str(job["identity"]), job["tracks"])  # type: ignore[arg-type]
    rows.append(("dry run, all done", took([*words, "--dry-run", "--resume"], cold=cold)))
    rows.append(("--resume, all done", took([*words, "--resume"], cold=cold)))
    print(f"{count} tracks, {'cold' if cold else 'warm'}")
    for name, row in rows:
        print(
            f"{name:24} {row.seconds:6.1f} s  {row.processor:6.1f} s of CPU  "
            f"{row.peak / 1e6:5.0f} MB"
        )


def profile(folder: Path, count: int, what: str) -> None:
    """Print where one of the commands spends its time, as the profiler sees it."""
    library, out = folder / "library", folder / "out"
    mixes(library, count)
    words = ["run", str(library), "-o", str(out)]
    if what == "resume":
        job = job_of(library, out)
        finish(str(job["identity"]), job["tracks"])  # type: ignore[arg-type]
    stats = folder / "stats"
    more = ["--resume"] if what == "resume" else ["--dry-run"]
    with tempfile.TemporaryFile() as log:
        subprocess.run(
            [sys.executable, "-P", "-c", PROFILED, str(stats), *words, *more],
            stdout=log,
            stderr=log,
            check=True,
        )
    pstats.Stats(str(stats)).sort_stats("cumulative").print_stats(60)


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("what", choices=["looking", "profile"])
    parser.add_argument("of", nargs="?", choices=["dry-run", "resume"], default="dry-run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sep-library-", dir=asked.folder) as place:
        if asked.what == "looking":
            looking(Path(place), asked.tracks, cold=asked.cold)
        else:
            profile(Path(place), asked.tracks, asked.of)


if __name__ == "__main__":
    main()
