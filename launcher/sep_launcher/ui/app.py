"""The page's routes, as a table; what is not in it is not there."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from sep_launcher.ui import doing, hearing
from sep_launcher.ui.answers import answering, document, number
from sep_launcher.ui.gate import Gate, cookie
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request

    from sep_launcher.ui.desk import Desk

STATIC = resources.files("sep_launcher.ui") / "static"
# Not asked of the system: on some Windows machines `.js` is text/plain, which no browser runs.
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FRESH = {"cache-control": "no-cache"}
VERSION = "{version}"  # in the shell, for the addresses of its assets


async def shell(_: Request) -> Response:
    """Return the page without any data."""
    text = (STATIC / "index.html").read_text("utf-8").replace(VERSION, __version__)
    return Response(text, media_type=TYPES["html"], headers=FRESH)


async def static(request: Request) -> Response:
    """Return an asset of the package."""
    parts = request.path_params["path"].split("/")
    ending = parts[-1].rpartition(".")[2]
    file = STATIC
    for part in parts:
        if part not in {each.name for each in file.iterdir()} if file.is_dir() else True:
            return Response(status_code=404)
        file /= part
    if not file.is_file() or ending not in TYPES:
        return Response(status_code=404)
    return Response(file.read_bytes(), media_type=TYPES[ending], headers=FRESH)


async def icon(_: Request) -> Response:
    """Return the page's sign, for browsers that ask for it by this name."""
    return Response((STATIC / "icon.svg").read_bytes(), media_type=TYPES["svg"])


async def enter(request: Request) -> Response:
    """Exchange a nonce or the token for the cookie."""
    desk: Desk = request.app.state.desk
    query = request.query_params
    if not desk.enters(query.get("once", ""), query.get("token", "")):
        return Response("this address is used up: type sep ui again", status_code=403)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(cookie(desk.port), desk.token, httponly=True, samesite="strict", path="/")
    return answer


@answering
async def state(request: Request) -> Response:
    """Return all that the page shows, and the number of the last event that is in it."""
    return document(request.app.state.desk.snapshot())


@answering
async def events(request: Request) -> Response:
    """Return the stream of events after a number."""
    last = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    after = number(last)
    stream = request.app.state.desk.feed.stream(after)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


ROUTES = [
    Route("/", shell),
    Route("/favicon.ico", icon),
    Route("/static/{path:path}", static),
    Route("/enter", enter),
    Route("/api/state", state),
    Route("/api/events", events),
    Route("/api/nonce", doing.nonce, methods=["POST"]),
    Route("/api/uploads", doing.begin_upload, methods=["POST"]),
    Route("/api/uploads/{id}", doing.upload, methods=["GET", "PUT", "DELETE"]),
    Route("/api/browse", doing.browse),
    Route("/api/jobs", doing.add_job, methods=["POST"]),
    Route("/api/jobs/{id}", doing.forget, methods=["DELETE"]),
    Route("/api/jobs/{id}/cancel", doing.cancel, methods=["POST"]),
    Route("/api/jobs/{id}/again", doing.again, methods=["POST"]),
    Route("/api/machine", doing.machine),
    Route("/api/doctor", doing.doctor),
    Route("/api/setup", doing.setup, methods=["POST"]),
    Route("/api/models/{name}", doing.pull, methods=["POST"]),
    Route("/api/tracks/{id}", hearing.track, methods=["GET", "DELETE"]),
    Route("/api/tracks/{id}/pcm", hearing.pcm),
    Route("/api/tracks/{id}/peaks", hearing.peaks),
    Route("/api/tracks/{id}/files/{stem}", hearing.file),
    Route("/api/tracks/{id}/zip", hearing.archive),
    Route("/api/tracks/{id}/reveal", hearing.reveal, methods=["POST"]),
]


def app(desk: Desk) -> Gate:
    """Return the server's application, behind its gate."""
    made = Starlette(routes=ROUTES)
    made.state.desk = desk
    return Gate(made, port=desk.port, token=desk.token)
