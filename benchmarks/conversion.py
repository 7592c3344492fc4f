"""Peak memory of a checkpoint on its way to safetensors, by our writer and by the library's.

    python benchmarks/conversion.py [--folder DIR]

The checkpoint has the keys and shapes of Mel-Band Roformer "Kim" (913 MB) with random weights, as
torch.save writes it; each way runs in a process of its own. Anonymous memory is what must be there;
the rest is the checkpoint's file, mapped, which the system takes back when it is short.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file

from sep_runtime.models import stored, weights

TABLE = Path(__file__).parents[1] / "tests" / "runtime" / "reference" / "shapes.json.gz"
KIND = "mel-band-roformer-kim"
MIB = 1 << 20


def main() -> None:
    """Make the checkpoint, or do one way of writing it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", help="where 1.8 GB are free; else the system's")
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        measure(asked.way[0], Path(asked.way[1]))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder, "weights.ckpt")
        with gzip.open(TABLE) as file:
            shapes = dict(json.load(file)[KIND]["shapes"])
        torch.save({key: torch.randn(shape) for key, shape in shapes.items()}, path)
        print(f"{path.stat().st_size:,} bytes; safetensors {safetensors.__version__}")
        for way in ("read", "ours", "library"):
            command = [sys.executable, __file__, "--way", way, str(path)]
            print(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout, end=""
            )


def measure(way: str, path: Path) -> None:
    """Print the peaks of one way."""
    before = anonymous()
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    begun = time.perf_counter()
    state = weights.read(path)[0]
    target = path.with_name(f"{way}.safetensors")
    if way == "ours":
        stored.write(target, state)
    elif way == "library":
        save_file({key: value.contiguous() for key, value in state.items()}, target)
    seconds = time.perf_counter() - begun
    done.set()
    thread.join()
    target.unlink(missing_ok=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{way:8} peak {most} MiB, anonymous {before // MIB} before and {max(peak) // MIB} MiB at "
        f"most, {seconds:.1f} s"
    )


def anonymous() -> int:
    """Return the bytes of memory that no file stands behind (Linux)."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if "RssAnon" in line))


if __name__ == "__main__":
    main()
