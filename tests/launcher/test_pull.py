"""Models are fetched from a real server, proved by hash, and what came is never lost."""

import hashlib
import http.server
import threading

import pytest

import sep_models
from sep_launcher.setup import pull
from sep_launcher.show.render import Screen, Style
from sep_models import Source
from sep_protocol.errors import ModelError

BODY = bytes(range(256)) * 5000


class _Mirror(http.server.BaseHTTPRequestHandler):
    """Serves BODY with ranges; /cut ends early, /other is another file, /none is not there."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.path == "/none":
            self.send_error(404)
            return
        body = BODY[::-1] if self.path == "/other" else BODY
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: len(rest) // 2] if self.path == "/cut" else rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(mirror, tmp_path, home):
    target = tmp_path / "cache" / "weights.ckpt"

    def run(*paths):
        urls = tuple(f"http://127.0.0.1:{mirror.server_port}{path}" for path in paths)
        sha256 = hashlib.sha256(BODY).hexdigest()
        source = Source(file="weights.ckpt", sha256=sha256, urls=urls)
        pull.fetch(source, target, Screen(Style(quiet=True)))
        return target

    run.target = target
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
    with pytest.raises(ModelError, match=r"ended after|IncompleteRead"):
        fetch("/cut")
    half = len(BODY) // 2
    assert fetch("/file").read_bytes() == BODY
    assert mirror.asked[-1] == ("/file", f"bytes={half}-")


def test_a_whole_download_that_was_not_yet_checked(fetch, mirror):
    fetch.target.parent.mkdir()
    fetch.target.with_name("weights.ckpt.part").write_bytes(BODY)
    assert fetch("/file").read_bytes() == BODY


def test_another_file_is_refused_and_leaves_nothing(fetch):
    with pytest.raises(ModelError, match="SHA-256"):
        fetch("/other")
    assert not list(fetch.target.parent.iterdir())


def test_nothing_answers(fetch):
    with pytest.raises(ModelError, match="Not Found"):
        fetch("/none")
    source = Source(file="x", sha256="0" * 64, urls=("http://127.0.0.1:9/x",))
    with pytest.raises(ModelError, match="refused"):
        pull.fetch(source, fetch.target, Screen(Style(quiet=True)))


def test_what_people_read_first():
    manifest = sep_models.find("drumsep")
    told = "\n".join(pull.described(manifest))
    assert "438 MB" in told
    assert manifest.licence in told


def test_a_model_without_an_address_says_how():
    manifest = sep_models.find("mdx23c-instvoc-hq")
    with pytest.raises(ModelError) as caught:
        pull.check(manifest, offline=False)
    assert manifest.sources[0].sha256 in caught.value.hint
    with pytest.raises(ModelError, match="offline"):
        pull.check(sep_models.find("drumsep"), offline=True)


def test_larsnet_is_fetched_and_converted(mirror, tmp_path, home, monkeypatch, larsnet_files):
    """Its five files, as published: weights among an optimizer's state."""
    from dataclasses import replace

    from sep_launcher.doctor import look
    from sep_launcher.machine.probe import probe
    from sep_launcher.planning import models

    files = {f"/{stem}": path.read_bytes() for stem, path in larsnet_files.items()}

    def do_get(handler):
        body = files[handler.path]
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
            urls=(f"{root}/{each.stem}",),
            sha256=hashlib.sha256(files[f"/{each.stem}"]).hexdigest(),
        )
        for each in real.sources
    )
    pull.pull(replace(real, sources=sources), probe(), Screen(Style(quiet=True)))
    folder = models.folder(real)
    assert folder == home / "sep" / "models" / "larsnet"
    assert not (home / "sep" / "cache" / "models" / "larsnet").exists()
    # The weights alone: a third of what was published.
    published = sum(path.stat().st_size for path in larsnet_files.values())
    assert (folder / sep_models.WEIGHTS).stat().st_size < 0.4 * published
    # What they are now is noted, so that `sep doctor --deep` sees damage later.
    assert models.digest_of(real) == models.digest(folder / sep_models.WEIGHTS)
    assert [each.fault for each in look.weights(all_of_it=True) if each.model == "larsnet"] == [""]
    with (folder / sep_models.WEIGHTS).open("rb+") as file:
        file.seek(-100, 2)
        file.write(b"damage")
    (found,) = [each for each in look.weights(all_of_it=True) if each.model == "larsnet"]
    assert "SHA-256" in found.fault
