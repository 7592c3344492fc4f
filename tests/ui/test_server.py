"""What a page can have done, asked of the real server, whose runtime needs no torch."""

import asyncio
import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from serving import until

pytest.importorskip("starlette", reason="the extra `ui` is not installed")

from sep_launcher.ui import pcm

pytestmark = pytest.mark.slow  # a server for each
BATCH = "a1b2c3d4-batch"


def hidden(folder):
    return list(folder.rglob(".sep-*"))


def test_songs_are_split_one_after_the_other_and_the_runtime_is_kept(faked):
    for name in ("ok-1", "ok-2", "ok-3"):
        faked.run(*faked.songs(name))
    tasks = faked.state()["tasks"]
    for each in tasks:
        assert faked.wait(each["id"], "done")["songs"][0]["state"] == "done"
    assert len(faked.notes("start")) == 1
    assert len(faked.notes("load")) == 1
    assert [each["title"] for each in faked.state()["tracks"]] == [
        "ok-1.wav",
        "ok-2.wav",
        "ok-3.wav",
    ]


def test_a_bad_song_among_good_ones_fails_alone_and_only_it_is_tried_again(faked):
    songs = faked.songs("ok-1", "fail-1", "ok-2")
    task = faked.wait(faked.run(songs[0].parent), "failed")
    by_title = {each["title"]: each for each in task["songs"]}
    assert {name: each["state"] for name, each in by_title.items()} == {
        "ok-1.wav": "done", "fail-1.wav": "failed", "ok-2.wav": "done"}  # fmt: skip
    assert "no audio" in by_title["fail-1.wav"]["error"]
    # A page that still saw it running asks for its shapes.
    assert faked.ask("GET", f"/api/tracks/{by_title['fail-1.wav']['id']}/peaks") == {}
    assert faked.raw("GET", "/api/tracks/none/peaks", headers=faked.signed)[0] == 404
    before = len(faked.notes("begin"))
    faked.ask("POST", f"/api/jobs/{task['id']}/again", {})
    faked.wait(task["id"], "failed")
    again = [each["track"] for each in faked.notes("begin")[before:]]
    assert again == ["fail-1"]


def test_stems_that_are_there_are_a_question(faked):
    songs = faked.songs("ok-1")
    faked.wait(faked.run(*songs), "done")
    (faked.out / "ok-1" / "mine.txt").write_text("mine")
    name = faked.run(*songs)
    task = faked.wait(name, "asking")
    assert task["question"]["kind"] == "exists"
    assert "exists already" in task["question"]["lines"][0]
    faked.ask("POST", f"/api/jobs/{name}/again", {"existing": "replace"})
    assert not faked.wait(name, "done")["songs"][0]["resumed"]
    assert len(faked.notes("begin")) == 2
    name = faked.run(*songs)
    faked.wait(name, "asking")
    faked.ask("POST", f"/api/jobs/{name}/again", {"existing": "keep"})
    assert faked.wait(name, "done")["songs"][0]["resumed"]
    assert len(faked.notes("begin")) == 2
    assert len(faked.state()["tracks"]) == 1


def test_cancel_of_one_that_works(faked):
    songs = faked.songs("ok-1", "slow-30s-1", "ok-2")
    name = faked.run(songs[0].parent)
    until(lambda: any(each["track"].startswith("slow") for each in faked.notes("begin")))
    pids = {each["pid"] for each in faked.notes("start")}
    begun = time.monotonic()
    faked.ask("POST", f"/api/jobs/{name}/cancel")
    task = faked.wait(name, "cancelled", within=10)
    assert time.monotonic() - begun < 10
    assert not hidden(faked.out)
    until(lambda: not any(map(psutil.pid_exists, pids)))
    states = {each["title"]: each["state"] for each in task["songs"]}
    assert states["slow-30s-1.wav"] == "waiting"
    faked.wait(faked.run(*faked.songs("ok-9")), "done")  # the next one is not stopped by it


def test_cancel_of_one_that_waits(faked):
    first = faked.run(*faked.songs("slow-3s-1"))
    upload = faked.ask("POST", "/api/uploads", {"batch": BATCH, "path": "ok-7.wav", "size": 3})
    faked.ask("PUT", f"/api/uploads/{upload['id']}?offset=0", b"abc")
    name = faked.ask("POST", "/api/jobs", {"batch": BATCH, "out": str(faked.out)})["id"]
    (folder,) = faked.folder.rglob(BATCH)
    faked.ask("POST", f"/api/jobs/{name}/cancel")
    assert faked.task(name)["state"] == "cancelled"
    until(lambda: not folder.exists())
    faked.ask("POST", f"/api/jobs/{name}/again", {}, check=404)  # there is nothing any more
    faked.wait(first, "done")
    assert [each["track"] for each in faked.notes("begin")] == ["slow-3s-1"]


def test_a_runtime_that_is_killed_fails_in_words_and_the_next_one_works(faked):
    task = faked.wait(faked.run(*faked.songs("crash-1")), "failed")
    assert "signal 9" in task["error"]["message"]
    faked.wait(faked.run(*faked.songs("ok-1")), "done")


def test_the_server_is_killed(faked):
    faked.run(*faked.songs("slow-30s-1"))
    until(lambda: faked.notes("begin"))
    (start,) = faked.notes("start")
    faked.process.kill()
    until(lambda: not psutil.pid_exists(start["pid"]), within=10)
    assert not (faked.out / "slow-30s-1").exists()


def test_ctrl_c_with_streams_and_a_job(faked):
    faked.run(*faked.songs("slow-30s-1"))
    until(lambda: faked.notes("begin"))
    streams = []
    first = str(faked.state()["number"])
    for _ in range(3):
        reader = subprocess.Popen(
            [sys.executable, "-c", STREAM, str(faked.port), faked.token, first],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        streams.append(reader)
        assert reader.stdout.readline() == "open\n"
    begun = time.monotonic()
    assert faked.interrupt() == 130
    assert time.monotonic() - begun < 6
    for reader in streams:
        out, _ = reader.communicate(timeout=10)
        assert '"bye"' in out
    assert not hidden(faked.out)


STREAM = """
import http.client, sys
port, token, after = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port))
signed = {"authorization": f"Bearer {token}"}
connection.request("GET", f"/api/events?after={after}", headers=signed)
answer = connection.getresponse()
print("open", flush=True)
while line := answer.readline():
    print(line.decode().rstrip(), flush=True)
"""


def test_events_are_numbered_without_a_gap_and_the_snapshot_says_where_it_is(faked):
    first = faked.state()["number"]
    reader = subprocess.Popen(
        [sys.executable, "-c", STREAM, str(faked.port), faked.token, str(first)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "open\n"
    faked.wait(faked.run(*faked.songs("ok-1", "ok-2")), "done")
    number = faked.state()["number"]
    faked.interrupt()
    out, _ = reader.communicate(timeout=10)
    ids = [int(line[4:]) for line in out.splitlines() if line.startswith("id: ")]
    assert ids == list(range(first + 1, first + 1 + len(ids)))
    assert ids[-1] >= number


def test_who_missed_too_much_asks_again():
    from sep_launcher.ui.feed import RING, Feed

    feed = Feed()
    feed._number = 0
    for index in range(RING + 5):
        feed.put("x", index=index)
    assert feed._after(3) is None
    assert feed._after(RING + 6) is None
    assert len(feed._after(5)) == RING
    assert feed._after(RING + 5) == []


def test_a_stream_in_the_middle_hears_the_end():
    from sep_launcher.ui.feed import Feed

    async def heard():
        feed = Feed()
        stream = feed.stream(feed._number)
        feed.put("one")
        first = await anext(stream)
        feed.bye()
        return [first, *[each async for each in stream]]

    with ThreadPoolExecutor(1) as pool:  # the browser's loop may be in this thread
        first, last = pool.submit(asyncio.run, heard()).result()
    assert '"one"' in first
    assert '"bye"' in last


def test_a_second_command_hands_its_files_over(faked, sep, tmp_path):
    (song,) = faked.songs("ok-1")
    done = sep("ui", "--no-browser", song)
    assert faked.base in done.stdout
    until(lambda: faked.state()["tracks"])
    assert sep("ui", "--no-browser", tmp_path / "no.wav", check=3).stderr
    faked.process.kill()
    faked.process.wait()


def test_a_port_that_is_taken(serve, home, tmp_path, sep, monkeypatch):
    first = serve("--port", "0")
    monkeypatch.setenv("SEP_HOME", str(tmp_path / "other"))
    done = sep("ui", "--no-browser", "--port", str(first.port), check=2)
    assert f"port {first.port} is taken" in done.stderr


def test_without_its_packages_the_line_is_told(home):
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'starlette' else real(name, *a)\n"
        "from sep_launcher.cli import main; sys.exit(main(['ui']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 12
    assert "-m pip install" in done.stderr


def test_other_commands_import_none_of_it(home):
    code = (
        "import sys; from sep_launcher.cli import main; main(['--help']); main(['route'])\n"
        "sys.exit(any(n.split('.')[0] in ('starlette', 'uvicorn', 'anyio') for n in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def upload(served, path, data, batch=BATCH, step=1 << 20):
    made = served.ask("POST", "/api/uploads", {"batch": batch, "path": path, "size": len(data)})
    for offset in range(made["here"], len(data), step):
        served.ask(
            "PUT", f"/api/uploads/{made['id']}?offset={offset}", data[offset : offset + step]
        )
    return made["id"]


def test_uploads_arrive_whole_and_go_on_where_they_were(faked):
    data = os.urandom(3_000_001)
    made = faked.ask(
        "POST", "/api/uploads", {"batch": BATCH, "path": "a/b ü.wav", "size": len(data)}
    )
    faked.ask("PUT", f"/api/uploads/{made['id']}?offset=0", data[:1_000_000])
    again = faked.ask(
        "POST", "/api/uploads", {"batch": BATCH, "path": "a/b ü.wav", "size": len(data)}
    )
    assert (again["id"], again["here"]) == (made["id"], 1_000_000)
    wrong = faked.ask("PUT", f"/api/uploads/{made['id']}?offset=5", b"x", check=409)
    assert wrong["error"]["size"] == 1_000_000
    faked.ask("PUT", f"/api/uploads/{made['id']}?offset=1000000", data[1_000_000:])
    (path,) = faked.folder.rglob("b ü.wav")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    more = faked.ask("POST", "/api/uploads", {"batch": BATCH, "path": "c.wav", "size": 2})
    assert faked.ask("PUT", f"/api/uploads/{more['id']}?offset=0", b"abc", check=413)
    faked.ask("DELETE", f"/api/uploads/{more['id']}")
    assert not list(faked.folder.rglob("c.wav*"))


def test_a_folder_keeps_its_structure(faked):
    for path in ("set/one/ok-1.wav", "set/two/ok-1.wav"):
        upload(faked, path, bytes(100))
    name = faked.ask("POST", "/api/jobs", {"batch": BATCH, "out": str(faked.out)})["id"]
    faked.wait(name, "done")
    found = sorted(str(each.parent.relative_to(faked.out)) for each in faked.out.rglob("sep.json"))
    assert found == ["set/one/ok-1", "set/two/ok-1"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../x.wav",
        "/etc/x.wav",
        "a/../../x.wav",
        "a//b.wav",
        ".",
        "a/./b",
        "x" * 300,
        "/".join("a" * 40),
    ],
)
def test_uploads_with_names_that_lead_out_are_refused(faked, path):
    faked.ask("POST", "/api/uploads", {"batch": BATCH, "path": path, "size": 1}, check=400)
    assert not list(faked.folder.rglob("x.wav*"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("..\\..\\x.wav", ".._.._x.wav"),
        ("CON.wav", "CON_.wav"),
        (".sep-1", "_sep-1"),
        ("<img onerror=1>.wav", "_img onerror=1_.wav"),
    ],
)
def test_uploads_get_names_that_any_system_takes(faked, path, name):
    upload(faked, path, b"abc")
    assert [each.name for each in faked.folder.rglob("uploads/*/*")] == [name]


def test_an_upload_that_the_disk_has_no_room_for(faked):
    about = {"batch": BATCH, "path": "x.wav", "size": 1 << 60}
    told = faked.ask("POST", "/api/uploads", about, check=507)
    assert "GB are free" in told["error"]["message"]
    assert not list(faked.folder.rglob("x.wav*"))


def test_what_an_earlier_server_was_handed_is_gone(faked, serve):
    upload(faked, "x.wav", b"abc")
    faked.process.kill()
    faked.process.wait()
    serve()
    assert not list(faked.folder.rglob("x.wav"))


def test_paths_are_told_about_in_the_words_of_the_command_line(faked, tmp_path, sep):
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.txt").write_text("x")
    for path in (tmp_path / "no.wav", tmp_path / "empty", tmp_path / "film*"):
        told = faked.ask("POST", "/api/jobs", {"paths": [str(path)]}, check=404)["error"]["message"]
        assert told in sep("run", path, check=3).stderr
    (song,) = faked.songs("ok-1 [a]")
    faked.wait(faked.run(song), "done")
    assert not list(faked.folder.rglob("uploads/*/*"))  # no copy is made


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"paths": []},
        {"paths": ["/x"], "batch": BATCH},
        {"paths": "/x"},
        {"paths": ["/x"], "format": "doc"},
        {"paths": ["/x"], "format": "flac", "bit_depth": "float"},
        {"paths": ["/x"], "device": "gpu"},
        {"paths": ["/x"], "stems": ["kick", "kick"]},
        {"paths": ["/x"], "stems": [1]},
        {"batch": "../../x"},
        {"batch": "unknown-batch"},
    ],
)
def test_jobs_that_are_none(faked, about):
    assert faked.ask("POST", "/api/jobs", about, check=400)["error"]["message"]
    assert faked.state()["tasks"] == []


def test_documents_that_are_none(faked):
    for body in (b"{", b"[]", b"1", b'{"a":' * 5000, b"\xff"):
        faked.ask("POST", "/api/jobs", body, check=400)


def test_files_leave_as_attachments_whatever_they_are_called(faked):
    (song,) = faked.songs('ok-1 <img src=x onerror=1> "q"')
    faked.wait(faked.run(song), "done")
    (track,) = faked.state()["tracks"]
    status, headers, _body = faked.raw(
        "GET", f"/api/tracks/{track['id']}/files/kick", headers=faked.signed
    )
    assert status == 200
    assert headers["content-disposition"].startswith("attachment;")
    assert len(headers.get_all("content-disposition")) == 1
    assert headers["content-type"] in ("audio/wav", "application/octet-stream")
    status, headers, _ = faked.raw("GET", f"/api/tracks/{track['id']}/zip", headers=faked.signed)
    assert headers["content-disposition"].startswith("attachment;")
    part = {**faked.signed, "range": "bytes=0-1,2-3,5-6"}
    assert faked.raw("GET", f"/api/tracks/{track['id']}/files/kick", headers=part)[0] in (200, 206)
    many = {**faked.signed, "range": "bytes=" + ",".join(f"{each}-" for each in range(1000))}
    link = next(faked.out.rglob("kick.wav"))
    link.write_bytes(bytes(50_000))
    status, _, data = faked.raw("GET", f"/api/tracks/{track['id']}/files/kick", headers=many)
    assert status in (200, 206)
    assert len(data) < 60_000  # they overlap: what was asked for is 49 MB
    link.unlink()
    link.symlink_to("/etc/passwd")
    assert faked.raw("GET", f"/api/tracks/{track['id']}/files/kick", headers=faked.signed)[0] == 404


def test_tracks_are_known_after_a_restart_and_forgotten_when_asked(faked, serve):
    faked.wait(faked.run(*faked.songs("ok-1", "ok-2")), "done")
    before = faked.state()["tracks"]
    assert faked.interrupt() == 130
    again = serve()
    assert again.state()["tracks"] == before
    again.ask("DELETE", f"/api/tracks/{before[0]['id']}")
    assert [each["id"] for each in again.state()["tracks"]] == [before[1]["id"]]
    assert (faked.out / "ok-1" / "sep.json").exists()  # the files stay


def test_browsing_shows_folders_and_audio_alone(faked, tmp_path):
    folder = tmp_path / "look"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.wav", "b.FLAC", "c.txt"):
        (folder / name).write_bytes(b"")
    found = faked.ask("GET", f"/api/browse?path={folder}")
    assert (found["folders"], found["files"]) == (["sub"], ["a.wav", "b.FLAC"])
    faked.ask("GET", f"/api/browse?path={folder}/no", check=404)
    faked.ask("GET", "/api/browse?path=relative", check=400)


def test_a_machine_that_is_not_set_up_asks_before_it_does_anything(serve, tmp_path, monkeypatch):
    from sep_launcher.ui.face import Face
    from sep_launcher.ui.feed import Feed
    from sep_launcher.ui.tasks import Task

    task = Task(title="x", kind="setup", work=lambda _: 0)
    face = Face(task, Feed(), lambda *_: None)
    face.say("this will be set up:")
    face.say("  fetches about 290 MB")
    assert not face.ask("go on?")
    face.close()
    assert task.state == "asking"
    assert task.question["lines"] == ["this will be set up:", "  fetches about 290 MB"]
    task.agreed = True
    task.begin()
    assert face.ask("go on?")


def test_signals_that_end_a_server(faked):
    faked.process.send_signal(signal.SIGTERM)
    faked.process.communicate(timeout=30)
    assert faked.process.returncode == 130


def test_the_stems_are_those_of_the_command_byte_for_byte(serve, sep, groove, tmp_path):
    served = serve()
    options = {"out": str(tmp_path / "paged"), "stems": ["kick", "hihat"], "residual": True}
    task = served.wait(served.run(groove, **options), "done", within=120)
    words = ("--stems", "kick,hihat", "--residual", "-o", tmp_path / "typed")
    sep("run", groove, *words)
    for stem in ("kick", "hihat", "residual"):
        one, two = (tmp_path / each / "groove" / f"{stem}.wav" for each in ("paged", "typed"))
        assert one.read_bytes() == two.read_bytes()
    # What was told while they were made is what the files say, within a step.
    (song,) = task["songs"]
    told = served.ask("GET", f"/api/tracks/{song['id']}/peaks")
    for stem in ("kick", "hihat", "residual"):
        made = np.frombuffer(base64.b64decode(told[stem]), np.int8).astype(int)
        path = tmp_path / "paged" / "groove" / f"{stem}.wav"
        read = np.frombuffer(pcm.peaks(pcm.wav(path), 100), np.int8).astype(int)
        assert len(made) == len(read)
        assert np.abs(made - read).max() <= 1
