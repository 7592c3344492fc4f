"""Models are fetched from a real server, proved by hash, and what came is never lost."""

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import sep_models
from sep_launcher import cli
from sep_launcher.machine import facts
from sep_launcher.machine.probe import probe
from sep_launcher.planning import models
from sep_launcher.setup import fetch as fetching
from sep_launcher.setup import pull
from sep_launcher.show.render import Style, Terminal
from sep_models import Source
from sep_protocol.errors import ModelError, PathError

BODY = bytes(range(256)) * 5000
QUIET = Terminal(Style(quiet=True))


class _Mirror(http.server.BaseHTTPRequestHandler):
    """Serves BODY with ranges, as its path says: /cut ends early, /none is not there, ..."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        what = self.path[1:]
        if what == "none":
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if what == "plain":  # knows no ranges
            start = 0
        body = {"other": BODY[::-1], "longer": BODY * 2, "garbage": BODY[::-1]}.get(what, BODY)
        if start >= len(body):
            self.send_error(416)
            return
        with contextlib.suppress(OSError):  # we hang up on what is too long or too slow
            if what == "slow-head":
                self._drip(b"HTTP/1.0 200 OK\r\nX-Slow: " + b"x" * 10000)
                return
            self.send_response(206 if start else 200)
            if start:
                at = 1 if what == "elsewhere" else start
                self.send_header("Content-Range", f"bytes {at}-{len(body) - 1}/{len(body)}")
            if what != "endless":
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self._send(what, body[start:])

    def _send(self, what, rest):
        if what == "endless":
            while True:
                self.wfile.write(rest)
        elif what == "stall":
            self.wfile.write(rest[:863_547])
            self.server.release.wait(20)
        elif what == "trickle":
            self._drip(rest)
        else:
            ends = what in ("cut", "garbage") and len(rest) == len(BODY)
            self.wfile.write(rest[: len(rest) // 2] if ends else rest)

    def _drip(self, body):
        for each in body:
            self.wfile.write(bytes([each]))
            self.wfile.flush()
            if self.server.release.wait(0.02):
                return

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    server.asked = []
    server.release = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(mirror, tmp_path, home):
    """Fetch BODY from these paths of the mirror; returns where it is."""
    target = tmp_path / "cache" / "weights.ckpt"

    def url(path):
        return f"http://127.0.0.1:{mirror.server_port}{path}"

    def run(*paths, size=None):
        sha256 = hashlib.sha256(BODY).hexdigest()
        source = Source(file="weights.ckpt", sha256=sha256, bytes=size, urls=tuple(map(url, paths)))
        fetching.fetch(source, target, QUIET)
        return target

    def begun(path):
        target.parent.mkdir(exist_ok=True)
        return fetching.partial_of(target, url(path))

    run.target = target
    run.begun = begun
    run.urls = lambda *paths: tuple(map(url, paths))
    run.asked = mirror.asked
    return run


def test_a_file_comes_whole(fetch):
    assert fetch("/file").read_bytes() == BODY


def test_what_is_here_is_not_fetched_again(fetch, mirror):
    fetch("/file")
    fetch("/file")
    assert len(mirror.asked) == 1


def test_the_next_mirror_is_tried(fetch):
    assert fetch("/none", "/other", "/file").read_bytes() == BODY


def test_an_interrupted_download_goes_on_where_it_was(fetch, mirror):
    with pytest.raises(ModelError, match="the connection ended"):
        fetch("/cut")
    half = len(BODY) // 2
    assert fetch("/cut").read_bytes() == BODY
    assert mirror.asked[-1] == ("/cut", f"bytes={half}-")


def test_a_whole_download_that_was_not_yet_checked(fetch, mirror):
    fetch.begun("/file").write_bytes(BODY)
    assert fetch("/file").read_bytes() == BODY
    assert mirror.asked == []


def test_a_mirror_that_knows_no_ranges_begins_anew(fetch):
    fetch.begun("/plain").write_bytes(BODY[:1000])
    assert fetch("/plain").read_bytes() == BODY


@pytest.mark.parametrize("begun", [BODY[:1000][::-1], BODY[:-1] + b"x", BODY + b"more"])
def test_what_was_begun_wrongly_is_begun_anew(fetch, mirror, begun):
    fetch.begun("/file").write_bytes(begun)
    assert fetch("/file", size=len(BODY)).read_bytes() == BODY
    assert mirror.asked[-1] == ("/file", None)


def test_a_server_that_goes_on_at_another_byte(fetch):
    fetch.begun("/elsewhere").write_bytes(BODY[:1000])
    assert fetch("/elsewhere").read_bytes() == BODY


def test_another_file_is_refused_and_leaves_nothing(fetch):
    with pytest.raises(ModelError, match="SHA-256"):
        fetch("/other")
    assert not list(fetch.target.parent.iterdir())


@pytest.mark.parametrize("path", ["/endless", "/longer"])
def test_more_than_was_recorded_is_refused_at_once(fetch, path):
    with pytest.raises(ModelError, match="it has"):
        fetch(path, size=len(BODY))
    assert not list(fetch.target.parent.iterdir())


def test_a_file_of_unknown_length_has_a_limit_all_the_same(fetch, monkeypatch):
    monkeypatch.setattr(fetching, "MOST", 10_000_000)
    with pytest.raises(ModelError, match="more than 10000000"):
        fetch("/endless")
    assert not list(fetch.target.parent.iterdir())


def test_bytes_of_one_mirror_are_not_those_of_another(fetch, mirror):
    """The first sends half of something else, and keeps it to itself."""
    assert fetch("/garbage", "/file").read_bytes() == BODY
    assert mirror.asked == [("/garbage", None), ("/file", None)]


def test_what_came_before_a_stall_is_kept(fetch, monkeypatch):
    monkeypatch.setattr(fetching, "SECONDS", 0.3)
    with pytest.raises(ModelError, match="timed out"):
        fetch("/stall")
    assert fetch.begun("/stall").read_bytes() == BODY[:863_547]


@pytest.mark.parametrize("path", ["/trickle", "/slow-head"])
def test_a_trickle_ends(fetch, monkeypatch, path):
    """A byte now and then is enough for a socket, and is not for a person."""
    monkeypatch.setattr(fetching, "WINDOW", 0.3)
    with pytest.raises(ModelError, match=r"bytes a second|no answer within"):
        fetch(path)
    assert fetch("/file").read_bytes() == BODY


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "target"])
def test_nothing_is_written_through_a_link(fetch, tmp_path, kind):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    partial = fetch.begun("/file")
    match kind:
        case "symlink":
            partial.symlink_to(precious)
        case "hard link":
            partial.hardlink_to(precious)
        case "fifo":
            os.mkfifo(partial)
        case "target":
            fetch.target.symlink_to(precious)
    assert fetch("/file").read_bytes() == BODY
    assert precious.read_text() == "mine"
    assert not fetch.target.is_symlink()


def test_a_full_disk_is_told_and_what_came_is_kept(fetch, small):
    """Not the mirror's fault: the others are not asked."""
    target = small / "weights.ckpt"
    (small / "fill").write_bytes(bytes((4 << 20) - 600_000))
    source = Source(
        file="w", sha256=hashlib.sha256(BODY).hexdigest(), urls=fetch.urls("/file", "/plain")
    )
    with pytest.raises(PathError, match="the disk is full"):
        fetching.fetch(source, target, QUIET)
    assert [each[0] for each in fetch.asked] == ["/file"]
    (small / "fill").unlink()
    fetching.fetch(source, target, QUIET)
    assert target.read_bytes() == BODY
    assert fetch.asked[-1][1].startswith("bytes=")


def test_a_folder_that_cannot_be_made(fetch, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(PathError, match="cannot be written"):
        fetch("/file")


def test_nothing_answers(fetch):
    with pytest.raises(ModelError, match="Not Found"):
        fetch("/none")
    for url, told in (("http://127.0.0.1:9/x", "refused"), ("file:///etc/passwd", "http")):
        source = Source(file="x", sha256="0" * 64, urls=(url,))
        with pytest.raises(ModelError, match=told):
            fetching.fetch(source, fetch.target, QUIET)


def test_a_file_that_is_of_no_use_alone_is_not_to_be_fetched_by_hand(fetch, monkeypatch):
    """LarsNet has five: --model takes one."""
    with pytest.raises(ModelError) as caught:
        fetch("/none")
    assert "sep models import weights.ckpt" in caught.value.hint
    source = Source(file="x", sha256="0" * 64, urls=fetch.urls("/none"), stem="kick")
    with pytest.raises(ModelError) as caught:
        fetching.fetch(source, fetch.target, QUIET)
    assert "import" not in caught.value.hint
    assert "try again later" in caught.value.hint
    larsnet = replace(sep_models.find("larsnet"), sources=(replace(source, urls=()),))
    with pytest.raises(ModelError) as caught:
        pull.check(larsnet, offline=False)
    assert "import" not in caught.value.hint + models.how(larsnet)


def test_what_people_read_first():
    manifest = sep_models.find("drumsep")
    told = "\n".join(pull.described(manifest))
    assert "438 MB" in told
    assert manifest.licence in told
    assert "it splits drums into kick, snare" in told
    assert f"so says: {manifest.licence_source}" in told
    assert "a whole song into vocals" in "\n".join(
        pull.described(sep_models.find("mdx23c-music-4stem"))
    )


def test_a_model_without_an_address_says_how():
    manifest = sep_models.find("bs-roformer-sw")
    with pytest.raises(ModelError) as caught:
        pull.check(manifest, offline=False)
    assert manifest.sources[0].sha256 in caught.value.hint
    with pytest.raises(ModelError, match="offline"):
        pull.check(sep_models.find("drumsep"), offline=True)


@pytest.fixture
def larsnet(mirror, home, monkeypatch, larsnet_files):
    """The manifest of LarsNet, with its five files, as published, on the mirror."""
    files = {f"/{stem}": path.read_bytes() for stem, path in larsnet_files.items()}

    def do_get(handler):
        body = files[handler.path]
        handler.server.asked.append(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    monkeypatch.setattr(_Mirror, "do_GET", do_get)
    root = f"http://127.0.0.1:{mirror.server_port}"
    real = sep_models.find("larsnet")
    sources = tuple(
        replace(
            each,
            bytes=len(files[f"/{each.stem}"]),
            urls=(f"{root}/{each.stem}",),
            sha256=hashlib.sha256(files[f"/{each.stem}"]).hexdigest(),
        )
        for each in real.sources
    )
    return replace(real, sources=sources)


FETCHED = Path("cache", "sep", "models", "larsnet")


def test_larsnet_is_fetched_and_converted(larsnet, home, larsnet_files, mirror, capsys):
    """Weights among an optimizer's state; what killed ones left is cleared away."""
    from sep_launcher.doctor import look

    folder = home / "sep" / "models" / "larsnet"
    folder.mkdir(parents=True)
    (folder / ".weights.safetensors.4242").write_bytes(b"half")
    (folder / "mine.txt").write_text("mine")
    (folder.parent / ".sep-new-larsnet").mkdir()
    assert models.default() == sep_models.find("mdx23c-mini")
    pull.pull(larsnet, probe(), Terminal(Style()))
    told = capsys.readouterr().err
    assert (
        "larsnet is now the default; sep run drums.wav -m mdx23c-mini takes the bundled one" in told
    )
    assert models.folder(larsnet) == folder
    assert sorted(each.name for each in folder.iterdir()) == ["mine.txt", sep_models.WEIGHTS]
    assert [each.name for each in folder.parent.iterdir()] == ["larsnet"]
    assert not (home / "sep" / FETCHED).parent.exists()
    # The weights alone: a third of what was published.
    published = sum(path.stat().st_size for path in larsnet_files.values())
    assert (folder / sep_models.WEIGHTS).stat().st_size < 0.4 * published
    # Whoever waited meanwhile finds it here.
    count = len(mirror.asked)
    pull.pull(larsnet, probe(), QUIET)
    assert len(mirror.asked) == count
    # What they are now is noted, so that damage shows later.
    assert models.digest_of(larsnet) == models.digest(folder / sep_models.WEIGHTS)
    assert [each.fault for each in look.weights(all_of_it=True) if each.model == "larsnet"] == [""]
    with (folder / sep_models.WEIGHTS).open("rb+") as file:
        file.seek(-100, 2)
        file.write(b"damage")
    (found,) = [each for each in look.weights(all_of_it=True) if each.model == "larsnet"]
    assert "SHA-256" in found.fault


@pytest.mark.slow
def test_a_run_fetches_the_model_that_it_lacks(larsnet, home, tmp_path, noise, monkeypatch, capsys):
    """With --yes in one go: what it will be, where it comes from, the stems."""
    import soundfile

    monkeypatch.setattr(sep_models, "catalogue", lambda: (larsnet,))
    soundfile.write(tmp_path / "drums.wav", noise(2, 9000).T, 44100)
    typed = ["run", str(tmp_path / "drums.wav"), "-m", "larsnet", "-o", str(tmp_path / "out")]
    assert cli.main([*typed, "--dry-run", "--yes"]) == 16
    assert cli.main([*typed, "--offline", "--yes"]) == 16
    assert cli.main(typed) == 16  # nobody is here to ask
    assert "sep models pull larsnet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main([*typed, "--yes"]) == 0
    told = capsys.readouterr().err
    assert told.index("this will be fetched:") < told.index("model larsnet (for drums)")
    assert f"licence: {larsnet.licence}" in told
    assert "to use it" not in told  # it is in use
    assert (tmp_path / "out" / "drums" / "kick.wav").is_file()
    assert models.digest_of(larsnet)


def test_what_cannot_be_noted_is_not_fetched(larsnet, home, mirror):
    (home / "sep").mkdir()
    (home / "sep" / "facts.json").write_text('{"mine": 1}')
    with pytest.raises(PathError, match="it is not sep's"):
        pull.pull(larsnet, probe(), QUIET)
    assert mirror.asked == []


def test_weights_are_noted_before_they_count(larsnet, home, monkeypatch):
    """Ended between the conversion and its end: nothing is installed that nobody has noted."""

    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(facts, "write", lambda known, **_: ended() if known.weights else None)
    with pytest.raises(KeyboardInterrupt):
        pull.pull(larsnet, probe(), QUIET)
    assert models.folder(larsnet) is None
    assert (home / "sep" / FETCHED).is_dir()  # the next one goes on


def pulling(larsnet, tmp_path):
    """Begin a real `sep models pull larsnet` of these sources."""
    order = tmp_path / "sources.json"
    order.write_text(
        json.dumps([[each.urls[0], each.sha256, each.bytes] for each in larsnet.sources])
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PULL, order], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_three_at_once_fetch_once(larsnet, home, mirror, tmp_path):
    """They look before they wait for each other, and again when it is their turn."""
    begun = [pulling(larsnet, tmp_path) for _ in range(3)]
    told = [each.communicate()[1] for each in begun]
    assert [each.returncode for each in begun] == [0, 0, 0], told
    assert sorted(mirror.asked) == sorted(f"/{each.stem}" for each in larsnet.sources)
    assert sum("converting" in each for each in told) == 1


@pytest.mark.slow
def test_one_killed_in_the_middle_is_followed_by_another(
    larsnet, home, mirror, tmp_path, monkeypatch, larsnet_files
):
    """Nothing is installed by the dead one; the next one fetches what is missing alone."""
    middle = larsnet.sources[2].stem
    body, stalled, answer = larsnet_files[middle].read_bytes(), threading.Event(), _Mirror.do_GET

    def stall_once(handler):
        if handler.path != f"/{middle}" or stalled.is_set():
            answer(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        stalled.set()
        mirror.release.wait(60)

    monkeypatch.setattr(_Mirror, "do_GET", stall_once)
    killed = pulling(larsnet, tmp_path)
    assert stalled.wait(120)
    killed.kill()
    killed.communicate()
    assert models.folder(larsnet) is None
    after = pulling(larsnet, tmp_path)
    told = after.communicate()[1]
    assert after.returncode == 0, told
    assert mirror.asked == [f"/{each.stem}" for each in larsnet.sources]
    weights = models.folder(larsnet) / sep_models.WEIGHTS
    assert models.digest_of(larsnet) == models.digest(weights)


PULL = """
import dataclasses, json, sys
import sep_models
from sep_launcher import cli
real = sep_models.find("larsnet")
found = json.load(open(sys.argv[1]))
sources = tuple(
    dataclasses.replace(each, urls=(url,), sha256=sha256, bytes=size)
    for each, (url, sha256, size) in zip(real.sources, found, strict=True)
)
sep_models.find = lambda name: dataclasses.replace(real, sources=sources)
sys.exit(cli.main(["models", "pull", "larsnet", "--yes"]))
"""


def test_what_was_fetched_can_be_removed(sep, home):
    fetched = home / "sep" / FETCHED
    fetched.mkdir(parents=True)
    (fetched / "x.part").write_bytes(b"half")
    partial = home / "sep" / "models" / "larsnet" / ".weights.safetensors.4242"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    (partial.parent / "mine.txt").write_text("mine")
    told = sep("setup", "--remove", "--yes").stderr
    assert str(fetched.parent) in told
    assert str(partial) in told
    left = [each for each in (home / "sep").rglob("*") if each.is_file()]
    assert left == [partial.parent / "mine.txt"]


def test_a_disk_that_is_full_when_the_model_is_converted(larsnet, home, small, monkeypatch):
    monkeypatch.setenv("SEP_HOME", str(home / "sep"))
    models_folder = home / "sep" / "models"
    models_folder.parent.mkdir()
    models_folder.symlink_to(small)
    with pytest.raises(PathError, match=f"{models_folder}.*the disk is full"):
        pull.pull(larsnet, probe(), QUIET)
    assert not [each for each in small.rglob("*") if each.is_file()]
