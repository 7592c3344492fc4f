"""Who may speak to the server: by table, and by what strangers can send."""

import socket

import psutil
import pytest

pytest.importorskip("starlette", reason="the extra `ui` is not installed")

from sep_launcher.ui.app import ROUTES
from sep_launcher.ui.gate import Asked, cookie, verdict

TOKEN, PORT = "t" * 43, 8737
OURS = f"http://127.0.0.1:{PORT}"
SIGNED = {"cookie": f"{cookie(PORT)}={TOKEN}"}
WRITES = {**SIGNED, "origin": OURS, "x-sep": "1"}


def judged(method, path, headers):
    given = {"host": f"127.0.0.1:{PORT}", **headers}
    every = {name: value if isinstance(value, tuple) else (value,) for name, value in given.items()}
    every = {name: value for name, value in every.items() if value != (None,)}
    return verdict(Asked(method=method, path=path, headers=every), port=PORT, token=TOKEN)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 0),
        ("GET", "/static/app.css", {}, 0),
        ("GET", "/api/state", {}, 401),
        ("GET", "/api/state", SIGNED, 0),
        ("GET", "/api/state", {"authorization": f"Bearer {TOKEN}"}, 0),
        ("GET", "/api/state", {"authorization": TOKEN}, 401),
        ("GET", "/api/state", {"authorization": "Bearer \xe9"}, 401),
        ("GET", "/api/state", {"cookie": f"{cookie(PORT + 1)}={TOKEN}"}, 401),
        ("GET", "/api/state", {"cookie": f"{cookie(PORT)}={TOKEN}x"}, 401),
        ("GET", "/api/state", {"cookie": ("a=b", f"{cookie(PORT)}={TOKEN}")}, 0),
        *[
            ("GET", path, {**SIGNED, "host": host}, 403)
            for path in ("/", "/api/state", "/static/app.css")
            for host in (
                f"evil.test:{PORT}",
                "127.0.0.1",
                "",
                None,
                f"127.0.0.1:{PORT}.evil.test",
                f"127.0.0.1:{PORT + 1}",
                (f"127.0.0.1:{PORT}", f"127.0.0.1:{PORT}"),
            )
        ],
        ("GET", "/api/state", {**SIGNED, "host": f"localhost:{PORT}"}, 0),
        ("GET", "/api/state", {**SIGNED, "host": f"[::1]:{PORT}"}, 0),
        ("GET", "/api/state", {**SIGNED, "origin": "null"}, 403),
        ("GET", "/api/state", {**SIGNED, "origin": "http://127.0.0.1:3000"}, 403),
        ("GET", "/api/state", {**SIGNED, "sec-fetch-site": "same-site"}, 403),
        ("GET", "/api/state", {**SIGNED, "sec-fetch-site": "cross-site"}, 403),
        ("GET", "/api/state", {**SIGNED, "sec-fetch-site": "same-origin"}, 0),
        ("GET", "/api/tracks/x/zip", {**SIGNED, "sec-fetch-site": "none"}, 0),
        ("GET", "/", {"sec-fetch-site": "cross-site"}, 0),
        ("POST", "/", {"sec-fetch-site": "cross-site", "origin": OURS}, 403),
        ("POST", "/api/jobs", WRITES, 0),
        ("POST", "/api/jobs", {**WRITES, "origin": f"http://localhost:{PORT}"}, 0),
        ("POST", "/api/jobs", {**WRITES, "origin": None}, 403),
        ("POST", "/api/jobs", {**WRITES, "origin": "null"}, 403),
        ("POST", "/api/jobs", {**WRITES, "origin": f"https://127.0.0.1:{PORT}"}, 403),
        ("POST", "/api/jobs", {**WRITES, "x-sep": None}, 403),
        ("POST", "/api/jobs", {**WRITES, "cookie": None}, 401),
        ("POST", "/api/jobs", {**WRITES, "sec-fetch-site": "none"}, 403),
        ("POST", "/api/jobs", {**WRITES, "sec-fetch-site": "same-origin"}, 0),
        ("OPTIONS", "/api/jobs", {"origin": "http://evil.test"}, 403),
    ],
)
def test_what_may_pass(method, path, headers, status):
    assert judged(method, path, headers) == status


def test_every_route_wants_the_token_but_the_shell(serve):
    served = serve()
    paths = [each.path for each in ROUTES if each.path.startswith("/api/")]
    assert len(paths) > 15
    for path in paths:
        asked = path.replace("{id}", "x").replace("{stem}", "x").replace("{name}", "x")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            without = {"origin": served.base, "x-sep": "1"}
            status, headers, body = served.raw(method, asked, headers=without)
            assert status in (401, 403), (method, path, status)
            assert body == b""
            assert not [each for each in headers if each.lower().startswith("access-control")]


def test_no_socket_is_opened_by_an_upgrade(serve):
    served = serve()
    upgrade = {
        **served.signed,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert served.raw("GET", "/api/events", headers={**upgrade, "authorization": ""})[0] in (
        401,
        403,
    )


def test_it_listens_on_loopback_alone(serve):
    served = serve()
    process = psutil.Process(served.process.pid)
    found = [each.laddr for each in process.net_connections() if each.status == "LISTEN"]
    assert [(each.ip, each.port) for each in found] == [("127.0.0.1", served.port)]
    others = [each.address for nic in psutil.net_if_addrs().values() for each in nic
              if each.family == socket.AF_INET and not each.address.startswith("127.")]  # fmt: skip
    for each in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((each, served.port), timeout=5)


def test_headers_of_every_answer(serve):
    served = serve()
    for path, headers in (("/", {}), ("/static/js/main.js", {}), ("/api/state", served.signed),
                          ("/api/state", {}), ("/nowhere", served.signed)):  # fmt: skip
        _, found, _ = served.raw("GET", path, headers=headers)
        assert "default-src 'self'" in found["content-security-policy"]
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == "same-origin"
    assert served.raw("GET", "/api/state", headers=served.signed)[1]["cache-control"] == "no-store"


def test_a_nonce_opens_once_and_the_token_is_in_no_page(serve):
    served = serve()
    once = served.ask("POST", "/api/nonce")["once"]
    status, headers, body = served.raw("GET", f"/enter?once={once}")
    assert (status, headers["location"], body) == (303, "/", b"")
    kept = headers["set-cookie"]
    assert kept.startswith(f"{cookie(served.port)}={served.token};")
    assert "HttpOnly" in kept
    assert "samesite=strict" in kept.lower()
    assert served.raw("GET", f"/enter?once={once}")[0] == 403
    assert served.raw("GET", "/enter?once=wrong")[0] == 403
    assert served.raw("GET", "/enter")[0] == 403
    assert served.raw("GET", "/enter?token=%C3%A9")[0] == 403
    assert served.raw("GET", f"/enter?token={served.token}")[0] == 303
    assert served.token.encode() not in served.raw("GET", "/")[2]


def test_a_nonce_is_good_for_a_minute(tmp_path, monkeypatch):
    from sep_launcher.ui import desk as desks

    now = [0.0]
    monkeypatch.setattr(desks.time, "monotonic", lambda: now[0])
    desk = desks.Desk(tmp_path, port=1, token=TOKEN)
    late, soon = desk.nonce(), desk.nonce()
    now[0] = 59.0
    assert desk.enters(soon, "")
    now[0] = 61.0
    assert not desk.enters(late, "")
    desk.end()


def test_the_note_is_for_its_user_alone(serve, home):
    served = serve()
    (note,) = home.rglob("ui.json")
    assert note.stat().st_mode & 0o777 == 0o600
    assert served.token in note.read_text()
    served.interrupt()
    assert not note.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/js/..%2f..%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/js",
        "/static/js/",
        "/static/main%00.js",
        "/static/js/CON",
        "/api/tracks/..%2f..%2fetc/files/passwd",
        "/api/tracks/%2e%2e/files/kick",
        "/api/tracks/x/files/..%2f..%2fpasswd",
        "/api/tracks/C:/files/x",
    ],
)
def test_no_path_leads_out(serve, path):
    served = serve()
    status, _, body = served.raw("GET", path, headers=served.signed)
    assert status in (400, 404)
    assert b"root:" not in body
