"""The player in a real browser: what is heard is the files, and every control is reached."""

import base64
import json
import platform

import numpy as np
import pytest
import soundfile
from serving import till

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("starlette", reason="the extra `ui` is not installed")


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
    return await new Promise((done) => { // as text, or Playwright would carry millions of numbers
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(',')[1]);
        reader.readAsDataURL(new Blob([0, 1].map((n) => made.getChannelData(n))));
    });
}"""


def rendered(page, about):
    """Return what the context gave: [2, samples]."""
    return np.frombuffer(base64.b64decode(page.evaluate(RENDER, about)), np.float32).reshape(2, -1)


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
    about |= {"size": 2 * rate, "loop": None, "until": frames, "from": 0}
    made = rendered(page, about)
    expected = sum(samples.values())
    assert np.abs(made - expected).max() < 1e-6


def test_a_loop_is_exact_in_frames_round_after_round(heard, tab):
    served, samples = heard()
    page = tab(served)
    track = served.ask("GET", "/api/tracks/track-one")
    loop = {"begin": 80_000, "end": 80_000 + 22_050}  # across a seam of windows
    about = {"stems": track["stems"], "samples": track["samples"], "rate": 44100}
    about |= {"frames": track["frames"], "size": 88200, "loop": loop}
    about |= {"until": 20 * 22_050, "from": loop["begin"]}
    made = rendered(page, about)
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
    page.keyboard.down("b")  # as loud as it is, whatever the faders say
    now = levels()
    assert 0.8 < now[0] / full[0] < 1.25
    page.keyboard.up("b")
    now = levels()
    assert 0.3 < now[0] / full[0] < 0.8


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
    last = (49 * 7919 * 13) % (29 * 44100)
    till(page, f"document.querySelector('.transport input').value > {last}")
    assert int(page.locator(".transport input").input_value()) < last + 3 * 44100


def test_a_hidden_tab_plays_on(heard, tab):
    """Its timers and frames come late or never: what sounds must not need them."""
    served, _ = heard(seconds=12)
    page = tab(served)
    page.evaluate("""async () => {
        const { player } = await import('/static/js/tracks.js');
        window.engine = player.engine;
    }""")
    page.get_by_role("button", name="Play", exact=True).click()
    till(page, "engine.now() > 4410")
    page.evaluate("setTimeout = setInterval = requestAnimationFrame = () => 0")
    till(page, "engine.now() > 7 * 44100")  # more than was started or fetched ahead
    assert page.evaluate("engine.level(0)") > 0.03


def test_what_was_chosen_stays_in_the_player_when_songs_finish(songs, heard, tab):
    served, _ = heard()
    page = tab(served)
    page.locator("#tracks button").click()
    page.keyboard.press("Space")  # after a click on its title it plays
    page.wait_for_selector("button[aria-label=Pause]")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    assert page.get_by_role("button", name="Mute snare").get_attribute("aria-pressed") == "true"
    served.wait(served.run(*songs("ok-1")), "done")
    page.wait_for_selector("#tracks li >> nth=1")
    page.wait_for_timeout(300)
    assert page.locator("#player-title").text_content() == "song.wav"


def test_a_loop_is_drawn_on_every_lane(heard, tab):
    served, _ = heard()
    page = tab(served)
    page.locator("body").click(position={"x": 5, "y": 5})
    page.keyboard.press("l")
    assert page.locator(".loop-part:visible").count() == 2


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


def test_every_control_has_a_name_and_axe_finds_nothing_serious(heard, tab):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe is not installed")
    served, _ = heard()
    page = tab(served)
    page.get_by_text("Options").click()
    page.wait_for_selector(".lane")
    for scheme in ("dark", "light"):
        # Without motion: a transition from one scheme's colours to the other's takes a moment.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = axe.Axe().run(page)["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], scheme + json.dumps(serious, indent=1)[:3000]


def test_nothing_goes_beyond_the_side(heard, tab):
    served, _ = heard()
    page = tab(served)
    page.get_by_text("Options").click()
    page.wait_for_selector(".lane")
    for width in (320, 640, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
