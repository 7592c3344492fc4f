"""Who may speak to the page's server: in front of everything, for every kind of connection.

Browsers carry requests of strangers' pages to loopback: by a name that now means 127.0.0.1 (only
`Host` tells), from other ports of this machine (which cookies do not tell apart), from frames
without an origin. So the order is: Host, Origin, token; what is not allowed is refused.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
OPEN = ("/", "/enter", "/favicon.ico")  # without a token, with the shell's assets: no data
READS = ("GET", "HEAD")
MARK = "x-sep"  # a header that no other page may send: it needs a permission that nobody gives
FORBIDDEN, UNKNOWN = 403, 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request says of itself."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]  # by their names in lower case

    def one(self, name: str) -> str | None:
        """Return a header that is there once."""
        found = self.headers.get(name, ())
        return found[0] if len(found) == 1 else None


def cookie(port: int) -> str:
    """Return the name of the cookie with the token: cookies do not know ports."""
    return f"sep_{port}"


def verdict(asked: Asked, *, port: int, token: str) -> int:
    """Return 0 where a request may pass, else the status that refuses it."""
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    if asked.one("host") not in hosts:
        return FORBIDDEN
    writes = asked.method not in READS
    origins = asked.headers.get("origin", ())
    ours = [f"http://{host}" for host in hosts]
    if any(origin not in ours for origin in origins) or (writes and not origins):
        return FORBIDDEN
    is_open = asked.path in OPEN or asked.path.startswith("/static/")
    site = asked.one("sec-fetch-site")
    if site not in ((None, "same-origin") if writes else (None, "same-origin", "none")):
        # A link on somebody's page may open ours; nothing may be read or done from there.
        return 0 if is_open and not writes else FORBIDDEN
    if writes and asked.one(MARK) != "1":
        return FORBIDDEN
    if is_open and not writes:
        return 0
    given = asked.headers.get("authorization", ())
    known = any(hmac.compare_digest(each, f"Bearer {token}") for each in _ascii(given))
    known = known or any(
        hmac.compare_digest(each, token) for each in _ascii(_cookies(asked, cookie(port)))
    )
    return 0 if known else UNKNOWN


def _cookies(asked: Asked, name: str) -> Iterable[str]:
    """Yield the values of a cookie; those of others, which may be of any form, are passed over."""
    for header in asked.headers.get("cookie", ()):
        for part in header.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                yield value


def _ascii(texts: Iterable[str]) -> Iterable[str]:
    return (each for each in texts if each.isascii())


class Gate:
    """Lets a request through to the app, or refuses it."""

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self._app = app
        self._port = port
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", ())}
                more = [each for each in HEADERS if each[0] not in own]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        status = verdict(_asked(scope), port=self._port, token=self._token)
        if not status:
            await self._app(scope, receive, guarded)
            return
        await guarded({"type": "http.response.start", "status": status, "headers": []})
        await guarded({"type": "http.response.body", "body": b""})


def _asked(scope: Scope) -> Asked:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        headers[key] = (*headers.get(key, ()), value.decode("latin-1"))
    return Asked(method=scope["method"], path=scope["path"], headers=headers)
