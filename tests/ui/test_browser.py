"""The page in a real browser, against the real server: what people do and see."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import soundfile
from serving import till, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("starlette", reason="the extra `ui` is not installed")


def card(page, title):
    return page.locator("#queue > li", has=page.get_by_role("heading", name=title, exact=True))


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


@pytest.fixture
def bare(tmp_path):
    """A Python that has what this one has, but PyTorch."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    theirs = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")})
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if not each.name.startswith(("torch", "functorch", "_distutils", "distutils")):
            Path(theirs, each.name).symlink_to(each)
    return tmp_path / "env" / "bin" / "python"


def test_a_new_computer_asks_with_sizes_and_a_no_changes_nothing(serve, bare, tab, groove, home):
    served = serve("--port", "0", python=bare)
    page = tab(served)
    assert "once it is set up" in page.locator("#place").text_content()
    before = set(home.rglob("*"))
    page.get_by_role("button", name="This computer").click()
    page.get_by_role("button", name="Set up …").click()
    page.locator("#dialog").wait_for(state="hidden")
    page.get_by_label("or type where they are").fill(str(groove))
    page.keyboard.press("Enter")
    for title in ("Set up this computer", groove.name):
        box = card(page, title)
        box.get_by_role("button", name="Go on").wait_for()
        told = box.text_content()
        assert re.search(r"[0-9.]+ [MG]B", told), told
        assert str(home) in told or "~" in told
        box.get_by_role("button", name="Cancel").click()
        page.wait_for_selector(f"#queue li:has-text('{title}') .state:text('cancelled')")
    new = {each for each in home.rglob("*") if each.is_file()} - before
    assert {each.name for each in new} == {".sep-setup.lock"}


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
    name = until(lambda: next((each["id"] for each in faked.state()["tasks"]), None), within=60)
    task = faked.wait(name, "done", within=90)
    assert len(task["songs"]) == 250
    assert (tmp_path / "out" / "set" / "disc 1" / "ok-1ms-1" / "sep.json").exists()
    page.wait_for_selector("#queue .state.done", timeout=20_000)


def drop(page, *paths):
    """Drop what lies on this disk onto the page, as a file manager does."""
    hand = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(each) for each in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        hand.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 20, "data": data})


def test_a_folder_of_more_songs_than_a_browser_reads_at_once_is_dropped(faked, tab, tmp_path):
    folder = tmp_path / "set"
    (folder / "two").mkdir(parents=True)
    for number in range(130):
        (folder / f"ok-1ms-{number}.wav").write_bytes(b"x")
    (folder / "two" / "ok-1ms-last.wav").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    page = tab(faked)
    page.get_by_text("Options").click()
    page.get_by_label("Folder for the stems").fill(str(tmp_path / "out"))
    drop(page, folder)
    card(page, "set").wait_for(timeout=60_000)
    page.wait_for_selector("#queue .state.done", timeout=60_000)
    assert len(faked.state()["tasks"][0]["songs"]) == 131
    assert (tmp_path / "out" / "set" / "two" / "ok-1ms-last" / "sep.json").exists()


def test_a_copy_that_a_reload_cut_off_goes_on(faked, tab, tmp_path):
    song = tmp_path / "ok-long.wav"
    data = os.urandom(40 << 20)  # three slices
    song.write_bytes(data)
    page = tab(faked)
    page.on("dialog", lambda asked: asked.accept())  # "leave the page?"
    offsets = []

    def pass_on(route):
        offsets.append(int(route.request.url.partition("offset=")[2]))
        if len(offsets) == 2:
            return  # never answered
        route.continue_()

    page.route("**/api/uploads/*", pass_on)
    drop(page, song)
    until(lambda: len(offsets) == 2 or page.wait_for_timeout(50))
    page.reload()
    page.wait_for_selector("#place:not(:text('Looking'))")
    page.get_by_text("Options").click()
    page.get_by_label("Folder for the stems").fill(str(tmp_path / "out"))
    drop(page, song)
    page.wait_for_selector("#queue .state.done")
    assert offsets == [0, 16 << 20, 16 << 20, 32 << 20]
    (copy,) = faked.folder.rglob("uploads/*/ok-long.wav")
    assert copy.read_bytes() == data


def test_stems_in_a_folder_that_is_dropped_are_left_out(faked, tab, tmp_path):
    folder = tmp_path / "set"
    (folder / "separated" / "ok-1").mkdir(parents=True)
    for path in ("ok-1.wav", "notes.txt", "separated/ok-1/kick.wav", "separated/ok-1/sep.json"):
        (folder / path).write_bytes(b"x")
    page = tab(faked)
    drop(page, folder)
    task = until(lambda: page.wait_for_timeout(50) or next(iter(faked.state()["tasks"]), None))
    page.wait_for_selector("#queue .state.done")
    assert [each["title"] for each in faked.task(task["id"])["songs"]] == ["ok-1.wav"]
    told = page.locator("#notice").text_content()
    assert told == "Left out: 1 stem that sep made, 1 file that is no audio."


def test_copying_is_cancelled(faked, tab, tmp_path):
    song = tmp_path / "ok-long.wav"
    song.write_bytes(bytes(33 << 20))
    page = tab(faked)
    held = []

    def hold(route):
        held.append(route)

    page.route("**/api/uploads/*offset=0", hold)
    drop(page, song)
    till(page, "document.querySelector('#uploading button')")
    until(lambda: held or page.wait_for_timeout(50))
    page.get_by_role("button", name="Cancel copying ok-long.wav").click()
    held[0].continue_()
    page.locator("#uploading button").wait_for(state="detached")
    assert faked.state()["tasks"] == []
    assert not list(faked.folder.rglob("ok-long.wav.*"))


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
    until(lambda: len(faked.notes("begin")) > before)
    page.wait_for_selector("#queue .state.bad")
    assert [each["track"] for each in faked.notes("begin")[before:]] == ["fail-1"]


def test_what_the_doctor_knows_of_a_failure_is_shown_with_its_fix(faked, tab):
    page = tab(faked)
    faked.run(*faked.songs("device-failed to inject CDI devices"))
    page.wait_for_selector("#queue .state.bad")
    (finding,) = faked.state()["tasks"][0]["findings"]
    shown = page.locator("#queue .fix")
    assert shown.locator("strong").text_content() == finding["title"]
    assert shown.locator("code").text_content() == finding["fix"]
    assert finding["breaks"] in shown.text_content()


def test_stems_that_are_there_are_asked_about(faked, tab):
    (song,) = faked.songs("ok-1")
    faked.wait(faked.run(song), "done")
    page = tab(faked)
    page.get_by_label("or type where they are").fill(str(song))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Make all anew").click()
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
