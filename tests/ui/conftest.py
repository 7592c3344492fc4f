"""A server of the page as a user starts it, and a browser."""

import shutil
from pathlib import Path

import pytest
from serving import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing of the browser's own goes out; sound begins with a click alone, as for people.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--autoplay-policy=document-user-activation-required",
    "--host-resolver-rules=MAP evil.test 127.0.0.1",
)


@pytest.fixture
def serve(home, tmp_path):
    """Start `sep ui` with these words."""
    begun = []

    def start(*words, **variables):
        begun.append(Served(tmp_path, *(words or ("--port", "0")), **variables))
        return begun[-1]

    yield start
    for each in begun:
        each.end()


@pytest.fixture
def songs(home, fake, tmp_path, monkeypatch):
    """Make songs of these names; servers that begin now have a runtime that does what they say."""
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("SEP_RUNTIME_PYTHON", fake.installed(tmp_path))
    monkeypatch.setenv("SEP_FAKE_NOTES", str(tmp_path / "notes"))

    def make(*names):
        made = []
        for each in names:
            path = tmp_path / "music" / f"{each}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(1000))
            made.append(path)
        return made

    return make


@pytest.fixture
def faked(songs, serve, fake, tmp_path):
    """A server whose runtime needs no torch and does what songs are called; and its songs."""
    served = serve()
    notes = tmp_path / "notes"
    served.notes = lambda what: [each for each in fake.notes(notes) if each["what"] == what]
    served.songs = songs
    served.out = tmp_path / "music" / "separated"
    return served


@pytest.fixture(scope="session")
def chromium():
    """A browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """Open a page of a server. What any of them complains of, or asks of others, fails the test."""
    wrong = []
    contexts = []

    def watch(page, base):
        page.on("pageerror", lambda fault: wrong.append(str(fault)))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((base, "blob:", "data:"))
                else wrong.append(f"asked of others: {asked.url}")
            ),
        )

    def opened(served, context=None, **options):
        if context is None:
            context = chromium.new_context(**options)
            contexts.append(context)
        page = context.new_page()
        watch(page, served.base)
        page.goto(served.address)
        page.wait_for_selector("#place:not(:text('Looking'))")
        return page

    opened.wrong = wrong
    yield opened
    for each in contexts:
        each.close()
    assert wrong == []


@pytest.fixture(scope="session")
def groove():
    return Path(__file__).parents[2] / "examples" / "groove.flac"
