"""Routes by which a page has something done: files in, jobs, what the machine needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sep_launcher.ui import computer
from sep_launcher.ui.answers import GoneError, answering, document, number, read
from sep_launcher.ui.desk import whole
from sep_launcher.ui.tasks import Existing
from sep_launcher.ui.wish import wish
from sep_protocol.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sep_launcher.ui.desk import Desk
    from sep_launcher.ui.tasks import Task
    from sep_launcher.ui.uploads import Upload


def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


def _task(request: Request) -> Task:
    found = _desk(request).queue.tasks.get(request.path_params["id"])
    if found is None:
        raise GoneError("there is no such job")
    return found


@answering
async def nonce(request: Request) -> Response:
    """Return a word that opens the page once."""
    return document({"once": _desk(request).nonce()})


@answering
async def begin_upload(request: Request) -> Response:
    """Begin a file, or go on with it: its id and the bytes that are here."""
    found = await read(request)
    batch, path, size = found.get("batch"), found.get("path"), found.get("size")
    if not isinstance(batch, str) or not isinstance(path, str) or type(size) is not int:
        raise UsageError("an upload has a batch, a path and a size")
    made = await run_in_threadpool(_desk(request).uploads.begin, batch, path, size)
    return document({"id": made.id, "here": made.here, "done": made.done})


@answering
async def upload(request: Request) -> Response:
    """Say how much of a file is here, take a slice of it, or take it away."""
    uploads = _desk(request).uploads
    found: Upload | None = uploads.every.get(request.path_params["id"])
    if found is None:
        raise GoneError("there is no such upload")
    if request.method == "DELETE":
        uploads.drop(found)
        return Response(status_code=204)
    if request.method == "PUT":
        offset = request.query_params.get("offset", "")
        await uploads.take(found, number(offset), request.stream())
    return document({"here": found.here, "done": found.done})


@answering
async def browse(request: Request) -> Response:
    """Return the folders and the audio of a folder; of none, the user's own."""
    asked = request.query_params.get("path", "")
    folder = Path(whole(asked or "~"))
    return document(await run_in_threadpool(computer.listed, folder))


@answering
async def add_job(request: Request) -> Response:
    """Split songs: the job waits for its turn."""
    wanted = wish(await read(request))
    task = await run_in_threadpool(_desk(request).run, wanted)
    return document({"id": task.id}, 201)


@answering
async def cancel(request: Request) -> Response:
    """End a job that goes on, waits or asks."""
    await run_in_threadpool(_desk(request).queue.cancel, _task(request))
    return Response(status_code=204)


@answering
async def forget(request: Request) -> Response:
    """Take away a job that has ended."""
    await run_in_threadpool(_desk(request).queue.forget, _task(request))
    return Response(status_code=204)


@answering
async def again(request: Request) -> Response:
    """Do a job once more, or answer what it asked."""
    task, found = _task(request), await read(request)
    if task.state in ("waiting", "running"):
        raise UsageError("it goes on already")
    if task.spent:
        raise GoneError("its copies are gone: drop the songs again")
    # What is done stays, unless a person has said otherwise of this job.
    usual = "keep" if task.songs and task.existing == "ask" and not task.question else task.existing
    existing = found.get("existing", usual)
    if existing not in get_args(Existing):
        raise UsageError("what is there may be kept or replaced")
    _desk(request).queue.again(task, existing, agreed=found.get("agreed") is True)
    return Response(status_code=204)


@answering
async def machine(_: Request) -> Response:
    """Return where a run would be computed, and the models."""
    return document(await run_in_threadpool(computer.machine))


@answering
async def doctor(_: Request) -> Response:
    """Return what is wrong with this machine."""
    return document(await run_in_threadpool(computer.examined))


@answering
async def setup(request: Request) -> Response:
    """Prepare this machine: the job asks before it does anything."""
    return document({"id": _desk(request).setup().id}, 201)


@answering
async def pull(request: Request) -> Response:
    """Fetch a model: the job asks before it does anything."""
    return document({"id": _desk(request).pull(request.path_params["name"]).id}, 201)
