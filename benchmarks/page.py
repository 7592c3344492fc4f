"""The page, seen and measured: pictures for the documents, and how soon it is there.

    python benchmarks/page.py pictures [FOLDER]   empty, running, finished, failed; dark and light
    python benchmarks/page.py figures             seconds and megabytes, medians
    python benchmarks/page.py large               a file of 4 GiB in, an archive of more out

It needs the extras `ui`, `runtime` and `dev`, and chromium. Every figure is of this machine, with
the real server, runtime and browser.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
GROOVE = ROOT / "examples" / "groove.flac"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
STATES = ("empty", "running", "finished", "failed")
RUNS = 5
HOUR = 3600
MB = 1 << 20
SLICE = 16 << 20  # as the page has it


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `sep ui`; give its process and address."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "sep_launcher", "ui", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "SEP_HOME": str(folder / "home"), "HOME": str(folder)},
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http\S+", line)
            if not found:
                raise SystemExit("sep ui did not begin")
            yield process, found[0]
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Any]:
    """Run chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (the extra `dev`)

    with sync_playwright() as player:
        made = player.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield made
        made.close()


def add(page: Any, path: Path) -> None:  # noqa: ANN401 (playwright has types of its own)
    """Type a path into the page."""
    page.get_by_label("or type where they are").fill(str(path))
    page.keyboard.press("Enter")


def pictures(target: Path) -> None:
    """Write the pictures."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name, "Music")  # its name is in the pictures
        folder.mkdir()
        shutil.copy(GROOVE, folder / "groove.flac")
        samples, rate = soundfile.read(GROOVE)
        soundfile.write(folder / "take two.wav", np.tile(samples.T, 4).T, rate)
        (folder / "notes.wav").write_text("no audio")
        with served(folder) as (_, address):
            pages = {}
            for scheme in ("dark", "light"):
                context = chromium.new_context(
                    viewport={"width": 1000, "height": 720}, color_scheme=scheme
                )
                pages[scheme] = context.new_page()
                pages[scheme].goto(address)
                pages[scheme].wait_for_selector("#place:not(:text('Looking'))")
            one = pages["dark"]
            shoot(pages, target, "empty")
            add(one, folder / "take two.wav")
            for page in pages.values():
                page.wait_for_selector(".growing canvas", timeout=120_000)
            one.wait_for_timeout(4000)
            shoot(pages, target, "running")
            one.wait_for_selector("#player .lane", timeout=120_000)
            one.get_by_role("button", name="Remove take two.wav from the queue").click()
            add(one, folder / "groove.flac")
            for page in pages.values():
                page.wait_for_selector("#queue .state.done", timeout=120_000)
                page.wait_for_selector("#player .lane")
                page.wait_for_timeout(500)
            for page in pages.values():
                page.evaluate(WITHOUT, name)  # this machine's folder is nobody's
            shoot(pages, target, "finished", "#player")
            add(one, folder / "notes.wav")
            for page in pages.values():
                page.wait_for_selector("#queue .state.bad", timeout=120_000)
            shoot(pages, target, "failed")


def shoot(pages: dict[str, Any], target: Path, state: str, part: str = "") -> None:
    """Write a picture of a state in every scheme; the dark one has the plain name."""
    for scheme, page in pages.items():
        page.evaluate("scrollTo(0, 0)")
        ending = "" if scheme == "dark" else f"-{scheme}"
        path = target / f"page-{state}{ending}.png"
        if part:
            page.locator(part).screenshot(path=path)
        else:
            page.screenshot(path=path)
        print(path)


def figures() -> None:
    """Print how soon the page is there, how soon it sounds, and what it takes."""
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name)
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {chromium.version}")
        starts = []
        for _ in range(RUNS):
            context = chromium.new_context()
            begun = time.perf_counter()
            with served(folder) as (_, address):
                page = context.new_page()
                page.goto(address)
                page.wait_for_selector("#drop")
                starts.append(time.perf_counter() - begun)
            context.close()
        print(f"from `sep ui` to a page that takes a file: {statistics.median(starts):.2f} s")
        with served(folder) as (process, address):
            warm = []
            for _ in range(RUNS):
                context = chromium.new_context()
                page = context.new_page()
                begun = time.perf_counter()
                page.goto(address)
                page.wait_for_selector("#drop")
                warm.append(time.perf_counter() - begun)
                context.close()
            print(f"the same where the server runs already: {statistics.median(warm):.2f} s")
            memory = psutil.Process(process.pid).memory_info().rss / MB
            print(f"the server's memory, idle: {memory:.0f} MB")
        long_track(folder, chromium)


def long_track(folder: Path, chromium: Any) -> None:  # noqa: ANN401 (as above)
    """Print the first sound and the memory of a track of an hour with five stems."""
    rate, stems = 44100, ("kick", "snare", "toms", "hihat", "cymbals")
    out = folder / "hour"
    out.mkdir()
    second = (0.2 * np.random.default_rng(0).standard_normal((rate, 2))).astype(np.float32)
    for stem in stems:
        with soundfile.SoundFile(out / f"{stem}.wav", "w", rate, 2, "PCM_24") as file:
            for _ in range(HOUR):
                file.write(second)
    about = {"id": "hour", "title": "hour", "mix": "", "out": str(out), "frames": HOUR * rate,
             "stems": {each: f"{each}.wav" for each in stems}, "rate": rate}  # fmt: skip
    write_note(folder, about)
    with served(folder) as (process, address):
        page = chromium.new_context().new_page()
        page.goto(address)
        page.wait_for_selector(".lane")
        sounds = []
        for _ in range(RUNS):
            page.reload()
            page.wait_for_selector(".lane")
            page.wait_for_timeout(1000)
            sounds.append(page.evaluate(FIRST_SOUND))
        print(f"first sound after a click, a track of 1 h: {statistics.median(sounds):.2f} s")
        for number in range(10):
            page.evaluate(SEEK, (number * 349 % HOUR) * rate)
            page.wait_for_timeout(3000)
        page.wait_for_timeout(30_000)
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        found = {
            each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]
        }
        heap = found["JSHeapUsedSize"] / MB
        children = psutil.Process().children(recursive=True)
        tabs = [each for each in children if "--type=renderer" in " ".join(each.cmdline())]
        tab = max(each.memory_info().rss for each in tabs) / MB
        memory = psutil.Process(process.pid).memory_info().rss / MB
        told = f"heap {heap:.0f} MB, tab {tab:.0f} MB, server {memory:.0f} MB"
        print(f"after a minute and ten seeks: {told}")


class Asking:
    """Requests as the page makes them; a browser that is watched would carry every slice twice."""

    def __init__(self, address: str) -> None:
        base, _, token = address.partition("/enter?token=")
        self._port = int(base.rpartition(":")[2])
        self._signed = {"authorization": f"Bearer {token}", "origin": base, "x-sep": "1"}

    def answer(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        """Return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request(method, path, body, self._signed)
        return connection.getresponse()

    def document(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Return the document that is answered."""
        found: dict[str, Any] = json.loads(self.answer(method, path, body).read())
        return found


def large() -> None:
    """Print what 4 GiB take on their way in, in the page's slices, and an archive of more out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        song = folder / "song.wav"
        with song.open("wb") as file:
            for number in range(4):
                file.seek(number << 30)
                file.write(os.urandom(MB))
            file.truncate(4 << 30)
        note_track(folder, {"kick": 3 << 30, "snare": 2 << 30})
        with served(folder) as (process, address):
            asking = Asking(address)
            handed(song, asking, psutil.Process(process.pid))
            (copy,) = folder.rglob("uploads/*/song.wav")
            print(f"  the same bytes: {digest(copy) == digest(song)}")
            begun = time.perf_counter()
            path = folder / "all.zip"
            with path.open("wb") as target:
                shutil.copyfileobj(asking.answer("GET", "/api/tracks/one/zip"), target, MB)
            took = time.perf_counter() - begun
            with zipfile.ZipFile(path) as archive:
                whole = archive.testzip() is None
            print(f"{path.stat().st_size / (1 << 30):.2f} GiB out: {took:.0f} s, whole: {whole}")


def handed(song: Path, asking: Asking, server: psutil.Process) -> None:
    """Hand a file over; print how long it takes, and what it does to the server meanwhile."""
    before, sizes, answers = server.memory_info().rss, [0], [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            sizes.append(server.memory_info().rss)
            asked = time.perf_counter()
            asking.document("GET", "/api/state")
            answers.append(time.perf_counter() - asked)

    watching = threading.Thread(target=watch)
    watching.start()
    begun = time.perf_counter()
    about = {"batch": "benchmark", "path": song.name, "size": song.stat().st_size}
    made = asking.document("POST", "/api/uploads", json.dumps(about).encode())
    with song.open("rb") as source:
        while data := source.read(SLICE):
            offset = source.tell() - len(data)
            asking.document("PUT", f"/api/uploads/{made['id']}?offset={offset}", data)
    took = time.perf_counter() - begun
    over.set()
    watching.join()
    grown = (max(sizes) - before) / MB
    print(f"{song.stat().st_size / (1 << 30):.0f} GiB in: {took:.0f} s")
    print(f"  the server grew by {grown:.0f} MB, the slowest other answer {max(answers):.2f} s")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_track(folder: Path, stems: dict[str, int]) -> None:
    """Have the server of a folder know a track whose stems have so many bytes of silence."""
    out = folder / "stems"
    out.mkdir()
    for stem, size in stems.items():
        with (out / f"{stem}.wav").open("wb") as file:
            file.truncate(size)
    about = {"id": "one", "title": "one.wav", "mix": "", "out": str(out), "frames": 1,
             "stems": {each: f"{each}.wav" for each in stems}, "rate": 44100}  # fmt: skip
    write_note(folder, about)


def write_note(folder: Path, about: dict[str, Any]) -> None:
    """Write the server's list of tracks."""
    note = folder / "home" / "ui" / platform.node() / "tracks.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps([about]))


WITHOUT = """(folder) => {
    const path = document.querySelector('#player code');
    path.textContent = path.textContent.replace(folder, '');
}"""
FIRST_SOUND = """async () => {
    const { player } = await import('/static/js/tracks.js');
    const begun = performance.now();
    document.querySelector('.play').click();
    while (!player.lanes.some((lane) => player.engine.level(lane.index) > 0.01)) {
        await new Promise((done) => setTimeout(done, 5));
    }
    return (performance.now() - begun) / 1000;
}"""
SEEK = """async (frame) => {
    const { player } = await import('/static/js/tracks.js');
    player.engine.seek(frame);
}"""


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["pictures"]:
            pictures(ROOT / "docs")
        case ["pictures", folder]:
            pictures(Path(folder))
        case ["figures"]:
            figures()
        case ["large"]:
            large()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
