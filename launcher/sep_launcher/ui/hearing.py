"""Routes by which a page hears what is done: samples, shapes, files, an archive."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from sep_launcher.planning import names
from sep_launcher.ui import pcm as samples
from sep_launcher.ui.answers import NO_STORE, GoneError, answering, document, number
from sep_launcher.ui.reveal import reveal as show
from sep_launcher.ui.tracks import OTHER, TYPES
from sep_launcher.ui.zipped import zipped
from sep_protocol.errors import AudioError, UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sep_launcher.ui.desk import Desk
    from sep_launcher.ui.tracks import Track

MOST_FRAMES = 1 << 20  # of one window: some twenty seconds


def _track(request: Request) -> Track:
    desk: Desk = request.app.state.desk
    found = desk.tracks.every.get(request.path_params["id"])
    if found is None:
        raise GoneError("there is no such track")
    return found


@answering
async def track(request: Request) -> Response:
    """Return what is known of a track and how its samples lie; or forget it."""
    desk: Desk = request.app.state.desk
    found = _track(request)
    if request.method == "DELETE":
        desk.tracks.forget(found)
        return Response(status_code=204)
    return document({**found.document(), "samples": await run_in_threadpool(_lie, found)})


def _lie(found: Track) -> dict[str, Any] | None:
    """Return how the samples of all stems lie; None where a browser has to decode them."""
    try:
        every = {stem: samples.wav(found.file(stem)) for stem in found.stems}
    except AudioError:
        return None
    return {
        stem: {"kind": each.kind, "channels": each.channels, "frames": each.frames}
        for stem, each in every.items()
    }


@answering
async def pcm(request: Request) -> Response:
    """Return a window of all stems: their frames as they lie, one stem after the other."""
    found = _track(request)
    start, count = (number(request.query_params.get(each, "")) for each in ("start", "frames"))
    if count > MOST_FRAMES:
        raise UsageError(f"a window has at most {MOST_FRAMES} frames")
    wavs = await run_in_threadpool(lambda: [samples.wav(found.file(each)) for each in found.stems])
    stream = samples.frames(wavs, start, count)
    return StreamingResponse(stream, media_type=OTHER, headers=NO_STORE)


@answering
async def peaks(request: Request) -> Response:
    """Return the shapes of all stems, of a track that is done or in the making.

    A song that has just failed, as a page may not know yet, has none.
    """
    desk: Desk = request.app.state.desk
    name = request.path_params["id"]
    found: dict[str, bytes] = {}
    with desk.feed.changing:
        songs = (song for task in desk.queue.tasks.values() for song in task.songs)
        song = next((each for each in songs if each.id == name), None)
        running = song is not None and song.state == "running"
        if song is not None and running:
            found = {stem: bytes(each) for stem, each in song.peaks.items()}
    if song is None or (not running and name in desk.tracks.every):
        found = await run_in_threadpool(desk.tracks.peaks, _track(request))
    return document({stem: base64.b64encode(each).decode() for stem, each in found.items()})


@answering
async def file(request: Request) -> Response:
    """Return a stem as a file, which no browser shows: whatever is in it, it is for the disk."""
    found = _track(request)
    path = found.file(request.path_params["stem"])
    kind = TYPES.get(path.suffix.lower(), OTHER)
    name = f"{_folder(found)} {path.name}"
    return FileResponse(path, media_type=kind, headers={**NO_STORE, **_attached(name)})


@answering
async def archive(request: Request) -> Response:
    """Return stems, those that are named or all, as one archive."""
    found = _track(request)
    wanted = request.query_params.getlist("stem")
    files = [found.file(each) for each in wanted or found.stems]
    folder = _folder(found)
    stream = zipped([(f"{folder}/{each.name}", each) for each in files])
    headers = {**NO_STORE, **_attached(f"{folder}.zip")}
    return StreamingResponse(stream, media_type="application/zip", headers=headers)


def _folder(found: Track) -> str:
    """Return what a track is called in an archive: a name that leads nowhere, in any system."""
    title = found.title.encode("utf-8", "replace").decode()
    return names.folder(title.rpartition(".")[0] or title) or "stems"


def _attached(name: str) -> dict[str, str]:
    """Return the header that gives a file its name (RFC 6266)."""
    quoted = quote(name.encode("utf-8", "replace"), safe="")
    return {"content-disposition": f"attachment; filename*=utf-8''{quoted}"}


@answering
async def reveal(request: Request) -> Response:
    """Show a track's folder in the file manager."""
    await run_in_threadpool(show, Path(_track(request).out))
    return Response(status_code=204)
