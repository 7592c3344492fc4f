"""The page in a real browser, against the real server: what people see, press and hear."""

import contextlib
import http.server
import json
import platform
import re
import threading
import time

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("starlette", reason="the extra `ui` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def till(page, true, within=30):
    """Wait until an expression is true; the page's own way of waiting is what its policy forbids."""
    end = time.monotonic() + within
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(50)


def card(page, title):
    return page.locator("#queue > li", has=page.get_by_role("heading", name=title, exact=True))


@pytest.fixture
def heard(serve, home, noise):
    """A server that knows a track with these stems: (page's server, samples by stem)."""

    def make(stems=("kick", "snare"), seconds=7.3, rate=44100, subtype="PCM_24", form="WAV"):
        folder = home / "song"
        folder.mkdir(exist_ok=True)
        frames = round(seconds * rate)
        samples = {}
        for number, stem in enumerate(stems):
            path = folder / f"{stem}.wav"
            part = 0.3 * noise(2, frames, seed=number + 1)
            soundfile.write(path, part.T, rate, subtype=subtype, format=form)
            samples[stem] = soundfile.read(path, dtype="float32", always_2d=True)[0].T
        track = {
            "id": "track-one", "title": "song.wav", "mix": "/x/song.wav", "out": str(folder),
            "stems": {stem: f"{stem}.wav" for stem in stems}, "frames": frames, "rate": rate,
            "model": "m",
        }  # fmt: skip
        note = home / "sep" / "ui" / platform.node() / "tracks.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps([track]))
        return serve(), samples

    return make


def test_from_a_typed_path_to_stems_that_are_heard_and_saved(serve, tab, groove, tmp_path):
    served = serve()
    page = tab(served)
    assert page.title() == "sep"
    assert "Computes on the CPU" in page.locator("#place").text_content()
    page.get_by_text("Options").click()
    page.get_by_label("Folder for the stems").fill(str(tmp_path / "out"))
    page.get_by_label("or type where they are").fill(str(groove))
    page.get_by_role("button", name="Add").click()
    page.wait_for_selector("#player .lane", timeout=90_000)
    assert card(page, "groove.flac").locator(".state").text_content() == "done"
    lanes = page.locator("#player .lane strong").all_text_contents()
    assert lanes == ["kick", "snare", "toms", "hihat", "cymbals"]
    assert (tmp_path / "out" / "groove" / "sep.json").exists()
    page.get_by_role("button", name="Play", exact=True).click()
    till(page, "document.querySelector('.transport input').value > 44100")
    page.get_by_role("button", name="Pause").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save 5 stems as zip").click()
    assert saved.value.suggested_filename == "groove.zip"
    # What was chosen is chosen the next time.
    page.reload()
    page.get_by_text("Options").click()
    assert page.get_by_label("Folder for the stems").input_value() == str(tmp_path / "out")


def test_progress_grows_and_the_stems_are_drawn_while_they_are_made(serve, tab, groove, tmp_path):
    long = tmp_path / "long.wav"
    data, rate = soundfile.read(groove)
    soundfile.write(long, np.tile(data.T, 5).T, rate)
    served = serve()
    page = tab(served)
    page.evaluate("""() => {
        window.seen = []; window.drawn = 0;
        new MutationObserver(() => {
            const bar = document.querySelector('#queue progress');
            if (bar && bar.hasAttribute('value')) window.seen.push(bar.value);
            window.drawn = Math.max(window.drawn, document.querySelectorAll('.growing canvas').length);
        }).observe(document.querySelector('#queue'), {subtree: true, childList: true, attributes: true, characterData: true});
    }""")
    page.get_by_label("or type where they are").fill(str(long))
    page.keyboard.press("Enter")
    page.wait_for_selector(".growing canvas", timeout=90_000)
    assert "real time" in card(page, "long.wav").locator(".state").text_content()
    till(page, "window.seen.length > 2")
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)
    assert page.evaluate("window.drawn") == 5
    page.reload()  # and all is there again
    page.wait_for_selector(".growing canvas", timeout=20_000)
    page.wait_for_selector("#player .lane", timeout=90_000)


def test_files_that_are_chosen_and_dropped(faked, tab, tmp_path):
    page = tab(faked)
    page.get_by_text("Options").click()
    page.get_by_label("Folder for the stems").fill(str(tmp_path / "out"))
    page.locator("#files").set_input_files(faked.songs("ok-1", "ok-2"))
    page.wait_for_selector("text=done >> nth=0")
    # Outside of the zone, and a file that is none of ours: nothing navigates away.
    page.evaluate("""() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(['x'], 'ok-drop.wav'));
        transfer.items.add(new File(['x'], 'notes.txt'));
        for (const kind of ['dragenter', 'dragover', 'drop'])
            document.querySelector('header').dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }""")
    page.wait_for_selector("#queue h3:text('ok-drop.wav')")
    assert page.url == f"{faked.base}/"
    assert (tmp_path / "out").is_dir()


def test_a_folder_of_many_songs(faked, tab, tmp_path):
    folder = tmp_path / "set"
    for number in range(250):
        path = folder / f"disc {number % 3}" / f"ok-1ms-{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (folder / ".hidden.wav").write_bytes(b"x")
    (folder / "cover.txt").write_bytes(b"x")
    page = tab(faked)
    page.get_by_text("Options").click()
    page.get_by_label("Folder for the stems").fill(str(tmp_path / "out"))
    page.locator("#folder").set_input_files(folder)
    name = None
    end = time.monotonic() + 60
    while name is None:
        assert time.monotonic() < end
        name = next((each["id"] for each in faked.state()["tasks"]), None)
        time.sleep(0.1)
    task = faked.wait(name, "done", within=90)
    assert len(task["songs"]) == 250
    assert (tmp_path / "out" / "set" / "disc 1" / "ok-1ms-1" / "sep.json").exists()
    page.wait_for_selector("#queue .state.done", timeout=20_000)


def test_what_songs_are_called_is_text(faked, tab):
    page = tab(faked)
    (song,) = faked.songs("ok-<img src=x onerror=alert(1)>")
    page.get_by_label("or type where they are").fill(str(song))
    page.keyboard.press("Enter")
    page.wait_for_selector("#queue .state.done")
    assert page.locator("#queue img, #tracks img, #player img").count() == 0
    assert page.locator("#queue h3").text_content() == song.name


def test_a_bad_song_is_told_with_what_to_do(faked, tab):
    page = tab(faked)
    songs = faked.songs("ok-1", "fail-1", "ok-2")
    page.get_by_label("or type where they are").fill(str(songs[0].parent))
    page.keyboard.press("Enter")
    page.wait_for_selector("#queue .state.bad")
    box = card(page, "music")
    assert "it is no audio" in box.text_content()
    before = len(faked.notes("begin"))
    box.get_by_role("button", name="Try 1 song again").click()
    end = time.monotonic() + 30
    while len(faked.notes("begin")) == before:
        assert time.monotonic() < end
        page.wait_for_timeout(50)
    page.wait_for_selector("#queue .state.bad")
    assert [each["track"] for each in faked.notes("begin")[before:]] == ["fail-1"]


def test_stems_that_are_there_are_asked_about(faked, tab):
    (song,) = faked.songs("ok-1")
    faked.wait(faked.run(song), "done")
    page = tab(faked)
    page.get_by_label("or type where they are").fill(str(song))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Replace them").click()
    till(page, "document.querySelectorAll('#queue .state.done').length == 2")
    assert len(faked.notes("begin")) == 2


def test_cancel_and_two_tabs_see_the_same(faked, chromium, tab):
    context = chromium.new_context()
    one, two = tab(faked, context), tab(faked, context)
    faked.run(*faked.songs("slow-20s-1"))
    for each in (one, two):
        each.wait_for_selector("#queue progress")
    two.get_by_role("button", name="Cancel").click()
    for each in (one, two):
        each.wait_for_selector("#queue .state:text('cancelled')")
    context.close()


def test_eight_tabs(faked, chromium, tab):
    context = chromium.new_context()
    pages = [tab(faked, context) for _ in range(8)]
    for each in pages:
        assert each.locator("#drop").is_visible()
    faked.wait(faked.run(*faked.songs("ok-1")), "done")
    pages[-1].bring_to_front()
    pages[-1].wait_for_selector("#queue .state.done")
    context.close()


def test_the_server_goes_and_comes_back(faked, serve, tab):
    page = tab(faked)
    faked.wait(faked.run(*faked.songs("ok-1")), "done")
    page.wait_for_selector("#queue .state.done")
    port = faked.port
    faked.process.kill()
    faked.process.wait()
    page.wait_for_selector("#notice:has-text('sep has stopped')")
    again = serve("--port", port)
    page.wait_for_selector("#notice:has-text('not signed in')", timeout=20_000)
    page.goto(again.address)
    page.wait_for_selector("#tracks button")
    tab.wrong[:] = [each for each in tab.wrong if "ERR_" not in each and "401" not in each]


class Stranger(http.server.SimpleHTTPRequestHandler):
    """Somebody's page on another port of this machine: the same site, as cookies see it."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>stranger</title>")

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_port_reads_and_does_nothing(faked, chromium, stranger):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(faked.address)  # the cookie is here
    page.goto(stranger)
    found = page.evaluate(
        """async (base) => {
        const tried = async (work) => { try { return String(await work()); } catch (fault) { return 'refused'; } };
        const loaded = (tag, path) => new Promise((done) => {
            const each = document.createElement(tag);
            each.onload = () => done('loaded'); each.onerror = () => done('refused');
            each.src = base + path; document.body.append(each);
        });
        const form = document.createElement('form');
        return {
            fetch: await tried(async () => (await fetch(base + '/api/state', {credentials: 'include'})).text()),
            blind: await tried(async () => (await fetch(base + '/api/state', {credentials: 'include', mode: 'no-cors'})).type),
            post: await tried(async () => (await fetch(base + '/api/jobs', {method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"paths": ["/x"]}'})).type),
            head: await tried(async () => (await fetch(base + '/api/jobs', {method: 'POST', credentials: 'include', headers: {'x-sep': '1'}, body: '{}'})).text()),
            script: await loaded('script', '/api/state'),
            img: await loaded('img', '/static/icon.svg'),
            stream: await new Promise((done) => { const s = new EventSource(base + '/api/events?after=0', {withCredentials: true}); s.onmessage = () => done('heard'); s.onerror = () => { s.close(); done('refused'); }; }),
        };
    }""",
        faked.base,
    )
    assert found.pop("post") in ("opaque", "refused")  # it may not be read; below: nothing was done
    assert found.pop("blind") in ("opaque", "refused")
    assert set(found.values()) == {"refused"}, found
    page.evaluate(
        """(base) => { const form = document.createElement('form'); form.method = 'POST'; form.action = base + '/api/jobs';
        form.enctype = 'text/plain'; document.body.append(form); form.submit(); }""",
        faked.base,
    )
    page.wait_for_timeout(500)
    assert faked.state()["tasks"] == []
    page.goto(stranger)
    page.set_content(f"<iframe src='{faked.base}/' width=300 height=300></iframe>")
    page.wait_for_timeout(1000)
    assert not any("Drop songs" in (each.text_content("body") or "") for each in page.frames[1:])
    context.close()


def test_a_name_that_now_means_this_machine(faked, chromium):
    context = chromium.new_context()
    page = context.new_page()
    seen = []
    page.on("response", lambda answer: seen.append((answer.url.partition("?")[0], answer.status)))
    base = f"http://evil.test:{faked.port}"
    for path in ("/", "/api/state", f"/enter?token={faked.token}"):
        with contextlib.suppress(playwright.Error):  # an answer without a body is none to show
            page.goto(base + path)
        page.wait_for_timeout(300)
        assert "Drop songs" not in page.content()
    assert seen == [(base + path, 403) for path in ("/", "/api/state", "/enter")]
    context.close()


# Schedules a track as the engine does, into a context that gives samples instead of sound.
RENDER = """async ({stems, samples, rate, frames, size, loop, until, from}) => {
    const { pieces } = await import('/static/js/timeline.js');
    const { parted } = await import('/static/js/pcm-worker.js');
    const context = new OfflineAudioContext({numberOfChannels: 2, length: until, sampleRate: rate});
    const due = pieces({frame: from, at: 0, until, frames, size, loop});
    for (const piece of due.found) {
        const index = Math.floor(piece.frame / size), start = index * size, count = Math.min(size, frames - start);
        const answer = await fetch(`/api/tracks/track-one/pcm?start=${start}&frames=${count}`);
        const found = parted(await answer.arrayBuffer(), stems.map((stem) => samples[stem]), start, count);
        found.forEach((channels) => {
            const buffer = context.createBuffer(channels.length, piece.count, rate);
            const offset = piece.frame - start;
            channels.forEach((each, n) => buffer.copyToChannel(each.subarray(offset, offset + piece.count), n));
            const source = context.createBufferSource();
            source.buffer = buffer; source.connect(context.destination); source.start((1000 + piece.at - 1000) / rate);
        });
    }
    const made = await context.startRendering();
    return [0, 1].map((n) => Array.from(made.getChannelData(n)));
}"""


@pytest.mark.parametrize(
    ("rate", "subtype", "form"),
    [(44100, "PCM_16", "WAV"), (48000, "PCM_24", "RF64"), (96000, "FLOAT", "WAVEX")],
)
def test_windows_are_the_file_and_stems_their_sum_across_every_seam(
    heard, tab, rate, subtype, form
):
    served, samples = heard(rate=rate, subtype=subtype, form=form, seconds=4.7)
    page = tab(served)
    track = served.ask("GET", "/api/tracks/track-one")
    frames = track["frames"]
    about = {"stems": track["stems"], "samples": track["samples"], "rate": rate, "frames": frames}
    made = page.evaluate(
        RENDER, {**about, "size": 2 * rate, "loop": None, "until": frames, "from": 0}
    )
    expected = sum(samples.values())
    assert np.abs(np.array(made, np.float32) - expected).max() < 1e-6


def test_a_loop_is_exact_in_frames_round_after_round(heard, tab):
    served, samples = heard()
    page = tab(served)
    track = served.ask("GET", "/api/tracks/track-one")
    loop = {"begin": 80_000, "end": 80_000 + 22_050}  # across a seam of windows
    about = {"stems": track["stems"], "samples": track["samples"], "rate": 44100}
    made = np.array(
        page.evaluate(
            RENDER,
            {**about, "frames": track["frames"], "size": 88200, "loop": loop,
             "until": 20 * 22_050, "from": loop["begin"]},
        ),
        np.float32,
    )  # fmt: skip
    once = sum(samples.values())[:, loop["begin"] : loop["end"]]
    assert np.abs(made - np.tile(once, 20)).max() < 1e-6


LEVELS = """async () => {
    const { player } = await import('/static/js/tracks.js');
    return player.lanes.map((lane) => player.engine.level(lane.index));
}"""


def test_mute_solo_and_volume_are_heard(heard, tab):
    served, _ = heard(stems=("kick", "snare", "toms"))
    page = tab(served)
    page.get_by_role("button", name="Play", exact=True).click()

    def levels():
        page.wait_for_timeout(300)
        return page.evaluate(LEVELS)

    till(page, "document.querySelector('.transport input').value > 4410")
    full = levels()
    assert min(full) > 0.03
    page.get_by_role("button", name="Mute kick").click()
    now = levels()
    assert now[0] < 0.003
    assert min(now[1:]) > 0.03
    page.get_by_role("button", name="Mute kick").click()
    page.get_by_role("button", name="Solo snare").click()
    page.get_by_role("button", name="Solo toms").click()
    now = levels()
    assert now[0] < 0.003
    assert min(now[1:]) > 0.03
    page.get_by_role("button", name="Solo kick").click(modifiers=["Shift"])
    now = levels()
    assert now[0] > 0.03
    assert max(now[1:]) < 0.003
    page.get_by_role("button", name="All together").click()
    assert min(levels()) > 0.03
    assert "You hear all stems together" in page.locator("#player").text_content()
    page.get_by_role("button", name="All together").click()
    page.get_by_label("Volume of kick").fill("0.5")
    now = levels()
    assert 0.3 < now[0] / full[0] < 0.8
    assert "−6.0 dB" in page.get_by_label("Volume of kick").get_attribute("aria-valuetext")


def test_seeking_while_it_plays_keeps_all_stems_at_one_frame(heard, tab):
    served, _ = heard(seconds=30)
    page = tab(served)
    page.get_by_role("button", name="Play", exact=True).click()
    till(page, "document.querySelector('.transport input').value > 4410")
    for number in range(50):
        page.evaluate(
            "(value) => { const s = document.querySelector('.transport input'); s.value = value; for (const kind of ['input', 'change']) s.dispatchEvent(new Event(kind)); }",
            (number * 7919 * 13) % (29 * 44100),
        )
    page.wait_for_timeout(500)
    now = int(page.locator(".transport input").input_value())
    assert 0 < now - (49 * 7919 * 13) % (29 * 44100) < 3 * 44100


def test_the_keyboard_alone_is_enough(faked, tab, tmp_path):
    (song,) = faked.songs("ok-1")
    page = tab(faked)

    def tab_to(name):
        for _ in range(60):
            page.keyboard.press("Tab")
            if (
                page.evaluate(
                    "document.activeElement.textContent || document.activeElement.id"
                ).strip()
                == name
            ):
                return
        raise AssertionError(name)

    tab_to("path")
    page.keyboard.type(str(song))
    assert page.get_by_label("or type where they are").input_value() == str(
        song
    )  # no key of the player
    page.keyboard.press("Enter")
    page.wait_for_selector("#queue .state.done")
    page.wait_for_selector("#tracks button")
    with page.expect_download() as saved:
        tab_to(page.get_by_role("link", name=re.compile("stems? as zip")).first.text_content())
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename == "ok-1.zip"


def test_space_after_a_click_plays_and_after_tab_presses(heard, tab):
    served, _ = heard()
    page = tab(served)
    mute = page.get_by_role("button", name="Mute kick")
    mute.click()
    assert mute.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    page.wait_for_selector("button[aria-label=Pause]")
    assert mute.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    page.wait_for_selector("button[aria-label=Play]")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert mute.get_attribute("aria-pressed") == "false"


def test_letters_are_keys_of_the_player_until_they_are_switched_off(heard, tab):
    served, _ = heard()
    page = tab(served)
    page.locator("body").click(position={"x": 5, "y": 5})
    mute = page.get_by_role("button", name="Mute kick")
    page.keyboard.press("m")
    assert mute.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Control+m")
    assert mute.get_attribute("aria-pressed") == "true"
    page.keyboard.press("2")
    assert page.get_by_role("button", name="Solo snare").get_attribute("aria-pressed") == "true"
    page.keyboard.press("?")
    page.get_by_label("letters and digits are keys of the player").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    assert mute.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_control_has_a_name_and_axe_finds_nothing_serious(heard, tab, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
    served, _ = heard()
    page = tab(served, color_scheme=scheme)
    page.get_by_text("Options").click()
    page.wait_for_selector(".lane")
    found = axe.Axe().run(page)
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)[:3000]


@pytest.mark.parametrize("width", [320, 640, 1600])
def test_nothing_goes_beyond_the_side(heard, tab, width):
    served, _ = heard()
    page = tab(served, viewport={"width": width, "height": 800})
    page.get_by_text("Options").click()
    page.wait_for_selector(".lane")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_system_that_takes_scripts_for_text(serve, tab, tmp_path):
    """As the registry of some Windows machines does: no browser would run them."""
    poison = (
        "import mimetypes\nfor each in ('.js', '.css'): mimetypes.add_type('text/plain', each)\n"
    )
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(poison)
    served = serve(PYTHONPATH=str(tmp_path / "poison"))
    assert served.raw("GET", "/static/js/pcm-worker.js")[1]["content-type"].startswith(
        "text/javascript"
    )
    assert tab(served).locator("#drop").is_visible()
