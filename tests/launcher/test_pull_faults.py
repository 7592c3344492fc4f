"""Whatever a server does: nothing bad is ever installed, and what came of the file is not lost."""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

from sep_launcher.setup import fetch as fetching
from sep_launcher.show.render import Style, Terminal
from sep_models import Source
from sep_protocol.errors import ModelError

BODY = bytes(range(256)) * 2000
SIZE = len(BODY)
HALF = SIZE // 2
MODEL = "mdx23c-drumsep-5stem"
SHA256 = hashlib.sha256(BODY).hexdigest()
QUIET = Terminal(Style(quiet=True))
PAGE = b"<html>please log in</html>"


def head(status, **headers):
    """Return the head of an answer; `_` in a name stands for `-`."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def honest(asked, start, body=BODY, **more):
    status = "206 Partial Content" if start else "200 OK"
    if start >= len(body):
        return head("416 Range Not Satisfiable", Content_Length=0)
    if start:
        more["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return head(status, Content_Length=len(body) - start, **more) + body[start:]


def whole(body=BODY, status="200 OK", **headers):
    """Return what answers the same, whatever range is asked for."""
    return lambda asked, start: head(status, **headers) + body


def sent_to(place, status="302 Found"):
    return lambda asked, start: head(status, Content_Length=0, Location=place)


def once(first, then):
    """Answer so at first, and so from then on."""

    def answer(asked, start):
        return (first if asked == 0 else then)(asked, start)

    return answer


def in_chunks(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def chunked(end):
    """Half of it in chunks, then what is given."""
    start = head("200 OK", Transfer_Encoding="chunked")
    return lambda *_: start + in_chunks(BODY[:1000], BODY[1000:HALF]) + end


LONG = {"Content_Length": SIZE}
RESET, HANG = object(), object()  # how an answer ends, if not by a close
# Name: the answer, what sep says, and how much is kept; None: any beginning of the file.
FAULTS = {
    "truncated": (whole(BODY[:HALF], **LONG), r"ended after|IncompleteRead", HALF),
    "corrupt": (whole(BODY[:99] + b"!" + BODY[100:], **LONG), "another file than", 0),
    "a page": (whole(PAGE, Content_Length=len(PAGE)), "it has 26 bytes, 512000 are", 0),
    "a page in chunks": (
        whole(in_chunks(PAGE, b""), Transfer_Encoding="chunked"),
        "ended after 26 of",
        PAGE,
    ),
    "nothing": (whole(b"", Content_Length=0), "it has 0 bytes", 0),
    "no content": (whole(b"", "204 No Content"), "it has 0 bytes", 0),
    "endless": (whole(BODY * 9), "more than 512000 bytes", 0),
    "says it is longer": (whole(Content_Length=SIZE + 9), "it has 512009 bytes", 0),
    "says it is shorter": (whole(Content_Length=SIZE - 9), "it has 511991 bytes", 0),
    "compressed": (whole(Content_Encoding="gzip", **LONG), r"compressed \(gzip\)", 0),
    "another part": (
        whole(BODY[5:], "206 Partial Content", Content_Range=f"bytes 5-{SIZE - 1}/*"),
        "goes on at another byte",
        0,
    ),
    "missing": (whole(b"", "404 Not Found", Content_Length=0), "404 Not Found", 0),
    "forbidden": (whole(b"", "403 Forbidden", Content_Length=0), "403 Forbidden", 0),
    "broken": (whole(b"", "500 ", Content_Length=0), "500 Internal Server Error", 0),
    "too many": (
        whole(b"", "429 Too Many Requests", Retry_After=120, Content_Length=0),
        "429 Too Many Requests; it asks to wait 120 s",
        0,
    ),
    "busy": (
        whole(b"", "503 Busy", Retry_After="Fri, 31 Dec 2027 23:59:59 GMT", Content_Length=0),
        "503 Busy; it asks to wait Fri, 31 Dec 2027",
        0,
    ),
    "talks": (whole(b"", f"500 {'no ' * 9000}", Content_Length=0), r"500 no no .*\.\.\.", 0),
    "circle": (sent_to("/circle"), "redirects without end", 0),
    "to a file": (sent_to("file:///etc/passwd"), "not allowed", 0),
    "to ftp": (sent_to("ftp://127.0.0.1:9/x"), "it redirects from http to ftp", 0),
    "to nobody": (sent_to("http://127.0.0.1:9/x"), "refused", 0),
    "to no address": (sent_to("http://[::1/x"), "IPv6", 0),
    "nowhere": (whole(b"", "302 Found", Content_Length=0), "302 Found", 0),
    "silent": (lambda *_: b"", r"without response|reset", 0),
    "no http": (lambda *_: b"220 mail.example ESMTP\r\n\r\n", "220 mail", 0),
    "a long line": (lambda *_: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99999, "65536", 0),
    "many lines": (lambda *_: b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 999, "100 headers", 0),
    "reset in the head": (lambda *_: (b"HTTP/1.1 200 OK\r\nX-A", RESET), r"reset|closed", 0),
    "reset in the body": (
        lambda *_: (head("200 OK", **LONG) + BODY[:HALF], RESET),
        r"reset|ended",
        None,
    ),
    "stalls in the head": (lambda *_: (b"HTTP/1.1 200 OK\r\nX-A", HANG), "timed out|no answer", 0),
    "stalls": (lambda *_: (head("200 OK", **LONG) + BODY[:HALF], HANG), "timed out", HALF),
    "chunks end": (chunked(b""), "connection ended", HALF),
    "chunks end within": (
        chunked(b"ffff\r\n" + BODY[HALF : HALF + 9]),
        "connection ended",
        HALF + 9,
    ),
    "chunks are none": (chunked(b"many\r\n"), "connection ended", HALF),
    "chunks are few": (chunked(b"0\r\n\r\n"), "ended after 256000 of 512000", HALF),
}


class _Answer(socketserver.StreamRequestHandler):
    def handle(self):
        words = self.rfile.readline().decode().split()
        asked = {}
        for line in self.rfile:
            if not line.strip():
                break
            name, _, value = line.decode().partition(":")
            asked[name.lower()] = value.strip()
        path, range_ = words[1], asked.get("range")
        count = sum(each[0] == path for each in self.server.asked)
        self.server.asked.append((path, range_))
        self.server.heads.append(asked)
        start = int(range_[6:-1]) if range_ else 0
        answer = self.server.answer(count, start)
        data, end = answer if isinstance(answer, tuple) else (answer, None)
        try:
            self.wfile.write(data)
        except OSError:  # we hang up on what is too long
            return
        if end is HANG:
            self.server.release.wait(60)
        elif end is RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, answer, certificate=None):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answer = answer
        self.asked, self.heads = [], []
        self.release = threading.Event()
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path="/file", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.server_address[1]}{path}"

    def handle_error(self, *_):
        """A client that does not like a certificate is no fault here."""


@pytest.fixture
def serve():
    servers = []

    def make(answer, **options):
        servers.append(_Server(answer, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.release.set()
        server.shutdown()
        server.server_close()


# The model has one file, which is no checkpoint: nothing that is not wholly proved gets so far as
# to be converted.
PULL = """
import dataclasses, json, sys
import sep_models
from sep_launcher import cli
from sep_launcher.setup import fetch
urls, sha256, size, seconds = json.loads(sys.argv[1])
if seconds:
    fetch.SECONDS, fetch.WINDOW = seconds
real = sep_models.find("mdx23c-drumsep-5stem")
source = sep_models.Source(file="weights.ckpt", sha256=sha256, bytes=size, urls=tuple(urls))
sep_models.find = lambda name: dataclasses.replace(real, sources=(source,))
sys.exit(cli.main(["models", "pull", "mdx23c-drumsep-5stem", "--yes"]))
"""


def pull(*urls, seconds=None, **environment):
    """Begin a real `sep models pull`."""
    order = json.dumps([urls, SHA256, SIZE, seconds])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PULL, order],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def ended(process, code):
    """Return what a process says on stderr, in one line, when it has ended with this code."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return " ".join(err.split())


def left(home):
    """Return the bytes of every file that holds any of a model."""
    files = [each for each in (home / "sep").rglob("*") if each.is_file()]
    return {each.name: each.read_bytes() for each in files if "models" in each.parts}


def fetched(home):
    """Return where the model's file is until it is converted."""
    return home / "sep" / "cache" / "sep" / "models" / MODEL / f"{SHA256[:16]}.ckpt"


def fetch(*servers_or_urls, target, size=SIZE):
    urls = tuple(each if isinstance(each, str) else each.url() for each in servers_or_urls)
    fetching.fetch(Source(file="x", sha256=SHA256, bytes=size, urls=urls), target, QUIET)
    assert target.read_bytes() == BODY
    assert not list(target.parent.glob("*.part"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_pull_from_a_faulty_server(name, serve, home):
    answer, said, kept = FAULTS[name]
    server = serve(answer)
    url = server.url("/circle" if name == "circle" else "/file")
    told = ended(pull(url, seconds=(1, 3) if name.startswith("stalls") else None), 16)
    assert f"weights.ckpt could not be fetched: {url}: " in told
    assert re.search(said, told), told
    assert len(told) < 2000
    found = left(home)
    if isinstance(kept, int):
        assert [*found.values()] == ([BODY[:kept]] if kept else [])
    elif kept is None:
        assert all(BODY.startswith(each) for each in found.values())
    else:
        assert [*found.values()] == [kept]
    # Once it is as it should be, the same begun file becomes the right one.
    server.release.set()
    server.answer = honest
    fetch(url, target=fetched(home))
    if isinstance(kept, int) and kept:
        assert server.asked[-1][1] == f"bytes={kept}-"


def test_a_file_that_nobody_gives_is_as_if_nothing_had_been(serve, home):
    servers = [serve(FAULTS[name][0]) for name in ("corrupt", "a page", "missing")]
    told = ended(pull(*(each.url() for each in servers)), 16)
    assert told.count("could not be fetched") == 1
    assert [len(each.asked) for each in servers] == [1, 1, 1]
    assert left(home) == {}


REFUSING = {
    "ranges are not known": whole(**LONG),
    "no range will do": once(
        whole(b"", "416 Range Not Satisfiable", Content_Length=0), lambda _, start: honest(0, start)
    ),
    "another range": once(
        whole(BODY[7:], "206 Partial Content", Content_Range=f"bytes 7-{SIZE - 1}/*"), honest
    ),
    "several ranges": once(
        whole(b"--x", "206 Partial Content", Content_Type="multipart/byteranges; boundary=x"),
        honest,
    ),
    "a range that ends early": once(
        whole(
            BODY[1000:2000],
            "206 Partial Content",
            Content_Range=f"bytes 1000-1999/{SIZE}",
            Content_Length=1000,
        ),
        honest,
    ),
}


@pytest.mark.parametrize("name", REFUSING)
def test_a_begun_file_where_ranges_are_refused(name, serve, tmp_path):
    server, target = serve(REFUSING[name]), tmp_path / "file"
    fetching.partial_of(target, server.url()).write_bytes(BODY[:1000])
    fetch(server, target=target)
    assert server.asked[0][1] == "bytes=1000-"


@pytest.mark.parametrize("name", ["a page", "compressed", "missing", "too many", "silent"])
def test_a_server_out_of_order_costs_nothing_that_came_before(name, serve, tmp_path):
    server, target = serve(FAULTS[name][0]), tmp_path / "file"
    partial = fetching.partial_of(target, server.url())
    partial.write_bytes(BODY[:HALF])
    with pytest.raises(ModelError):
        fetch(server, target=target)
    assert partial.read_bytes() == BODY[:HALF]
    server.answer = honest
    fetch(server, target=target)
    assert server.asked[-1][1] == f"bytes={HALF}-"


@pytest.mark.parametrize("tags", [("", ""), ('"old"', '"new"')], ids=["no tags", "tags"])
@pytest.mark.parametrize("length", [SIZE, SIZE + 999], ids=["as long", "longer"])
def test_a_file_that_changes_between_attempts(tags, length, serve, tmp_path):
    """To another one: refused. And from another one to the right one: taken."""
    other = (BODY[::-1] * 2)[:length]
    old, new = ({"ETag": tag} if tag else {} for tag in tags)
    changing = once(
        whole(BODY[:HALF], **LONG, **old), lambda _, start: honest(0, start, other, **new)
    )
    server, target = serve(changing), tmp_path / "file"
    for _ in range(2):
        with pytest.raises(ModelError):
            fetch(server, target=target)
    assert not target.exists()
    assert all(other.startswith(each.read_bytes()) for each in tmp_path.glob("*.part"))
    server = serve(
        once(whole(other[:HALF], Content_Length=SIZE, **old), lambda _, s: honest(0, s, **new))
    )
    with pytest.raises(ModelError):
        fetch(server, target=target)
    fetch(server, target=target)


def test_lengths_that_lie_of_a_file_whose_length_nobody_recorded(serve, tmp_path):
    fetch(serve(whole(Content_Length=SIZE + 9)), target=tmp_path / "longer", size=None)
    fetch(serve(whole(Content_Length="many")), target=tmp_path / "no number", size=None)
    fetch(serve(whole(Content_Length=-1)), target=tmp_path / "less than none", size=None)
    with pytest.raises(ModelError, match="another file"):
        fetch(serve(whole(Content_Length=HALF)), target=tmp_path / "shorter", size=None)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "less than none",
        "longer",
        "no number",
    ]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_to_another_host_keeps_the_range(status, serve, tmp_path):
    other = serve(honest)
    server, target = serve(sent_to(other.url("/there", "localhost"), status)), tmp_path / "file"
    fetching.partial_of(target, server.url()).write_bytes(BODY[:1000])
    fetch(server, target=target)
    assert server.asked == [("/file", "bytes=1000-")]
    assert other.asked == [("/there", "bytes=1000-")]
    assert other.heads[0]["user-agent"].startswith("sep/")


def test_a_redirect_to_where_ranges_are_not_known(serve, tmp_path):
    server, target = serve(sent_to(serve(whole(**LONG)).url())), tmp_path / "file"
    fetching.partial_of(target, server.url()).write_bytes(BODY[:1000])
    fetch(server, target=target)


def test_redirects_to_ever_new_places_end(serve, tmp_path):
    count = itertools.count()
    server = serve(lambda *_: sent_to(f"/{next(count)}")(0, 0))
    with pytest.raises(ModelError, match="redirects without end"):
        fetch(server, target=tmp_path / "file")
    assert len(server.asked) < 20


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, which nobody trusts, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate")
    made = tmp_path_factory.mktemp("tls") / "server.pem"
    order = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    for_it = ("-addext", "subjectAltName=IP:127.0.0.1")
    places = ("-keyout", made, "-out", made.with_suffix(".crt"))
    subprocess.run(["openssl", *order.split(), *for_it, *places], check=True, capture_output=True)
    made.write_bytes(made.read_bytes() + made.with_suffix(".crt").read_bytes())
    return made


def test_a_certificate_that_nobody_vouches_for(certificate, serve, home):
    server = serve(honest, certificate=certificate)
    assert "CERTIFICATE_VERIFY_FAILED" in ended(pull(server.url()), 16)
    assert server.asked == []
    assert left(home) == {}


def test_a_redirect_never_leaves_https(certificate, serve, home):
    """From http to https and within https it is followed."""
    plain = serve(honest)
    down = serve(sent_to(plain.url()), certificate=certificate)
    trusted = {"SSL_CERT_FILE": str(certificate.with_suffix(".crt"))}
    told = ended(pull(down.url(), **trusted), 16)
    assert f"it redirects from https to http: {plain.url()}" in told
    assert plain.asked == []
    assert left(home) == {}
    broken = serve(FAULTS["truncated"][0], certificate=certificate)
    within = serve(sent_to(broken.url()), certificate=certificate)
    up = serve(sent_to(within.url()))
    ended(pull(up.url(), **trusted), 16)
    assert [*left(home).values()] == [BODY[:HALF]]


def test_one_killed_in_the_middle_and_the_next(serve, home):
    """It goes on where the dead one was, and finds no lock of it."""
    server = serve(FAULTS["stalls"][0])
    killed = pull(server.url())
    partial = fetching.partial_of(fetched(home), server.url())
    for _ in range(3000):
        if partial.exists() and partial.stat().st_size == HALF:
            break
        threading.Event().wait(0.02)
    killed.send_signal(signal.SIGKILL)
    ended(killed, -signal.SIGKILL)
    assert partial.read_bytes() == BODY[:HALF]
    server.release.set()
    server.answer = lambda _, start: (honest(0, start)[: -HALF // 2], None)
    ended(pull(server.url()), 16)
    assert server.asked[-1] == ("/file", f"bytes={HALF}-")
    assert partial.read_bytes() == BODY[: -HALF // 2]


def test_two_at_once_from_a_faulty_server(serve, home):
    """They take turns: the second goes on where the first was cut."""
    server = serve(lambda _, start: honest(0, start)[:-100_000])
    both = [pull(server.url()) for _ in range(2)]
    told = [ended(each, 16) for each in both]
    assert all("the connection ended" in each for each in told)
    (first, second) = [range_ for _, range_ in server.asked]
    assert (first, second) == (None, f"bytes={SIZE - 100_000}-")
    ((_, kept),) = left(home).items()
    assert BODY.startswith(kept)


def test_addresses_that_are_neither_http_nor_https(tmp_path):
    (tmp_path / "there").write_bytes(BODY)
    for url in (f"file://{tmp_path}/there", "ftp://127.0.0.1:9/x", "data:,x", "x"):
        assert urlsplit(url).scheme not in ("http", "https")
        with pytest.raises(ModelError, match="neither http nor https"):
            fetch(url, target=tmp_path / "file")


def test_a_disk_that_gets_full(serve, home, small, monkeypatch):
    monkeypatch.setenv("SEP_HOME", str(small))
    (small / "fill").write_bytes(bytes((4 << 20) - HALF))
    server, other = serve(honest), serve(honest)
    told = ended(pull(server.url(), other.url()), 3)
    assert "the disk is full" in told
    assert other.asked == []  # it is not the mirror's fault
    (partial,) = small.rglob("*.part")
    came = partial.read_bytes()
    assert BODY.startswith(came)
    assert len(came) > HALF // 2
    (small / "fill").unlink()
    fetch(server, target=small / "cache" / "sep" / "models" / MODEL / f"{SHA256[:16]}.ckpt")
    assert server.asked[-1][1] == f"bytes={len(came)}-"
