"""Routes by which a page has something done: files in, jobs, what the machine needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sep_launcher.planning.files import ENDINGS, VIDEOS
from sep_launcher.ui import desk as desks
from sep_launcher.ui.answers import GoneError, answering, document, read
from sep_launcher.ui.wish import wish
from sep_protocol.errors import PathError, UsageError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sep_launcher.ui.desk import Desk
    from sep_launcher.ui.tasks import Task
    from sep_launcher.ui.uploads import Upload

MOST_NAMES = 5000  # of a folder that are shown
DOCTOR_SECONDS = 300


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
        if not offset.isdecimal():
            raise UsageError("a slice has an offset")
        try:
            await uploads.take(found, int(offset), request.stream())
        except ClientDisconnect:
            return Response(status_code=400)
    return document({"here": found.here, "done": found.done})


@answering
async def browse(request: Request) -> Response:
    """Return the folders and the audio of a folder; of none, the user's own."""
    asked = request.query_params.get("path", "")
    return document(await run_in_threadpool(_listed, Path(asked or Path.home())))


def _listed(folder: Path) -> dict[str, Any]:
    if not folder.is_absolute():
        raise PathError(f"{folder} is no whole path")
    folders, names = [], []
    with os.scandir(folder) as entries:
        for each in entries:
            if each.name.startswith("."):
                continue
            if each.is_dir():
                folders.append(each.name)
            elif Path(each.name).suffix.lower() in ENDINGS | VIDEOS:
                names.append(each.name)
    return {
        "path": str(folder),
        "parent": str(folder.parent),
        "folders": sorted(folders, key=str.lower)[:MOST_NAMES],
        "files": sorted(names, key=str.lower)[:MOST_NAMES],
    }


@answering
async def add_job(request: Request) -> Response:
    """Split songs: the job waits for its turn."""
    wanted = wish(await read(request))
    task = await run_in_threadpool(_desk(request).run, wanted)
    return document({"id": task.id}, 201)


@answering
async def end_job(request: Request) -> Response:
    """End a job that goes on or waits; forget one that has ended."""
    queue, task = _desk(request).queue, _task(request)
    if task.is_open:
        queue.cancel(task)
    else:
        queue.forget(task)
    return Response(status_code=204)


@answering
async def again(request: Request) -> Response:
    """Do a job once more, or answer what it asked."""
    task, found = _task(request), await read(request)
    if task.state in ("waiting", "running"):
        raise UsageError("it goes on already")
    existing = found.get("existing", "keep")
    if existing not in ("keep", "replace"):
        raise UsageError("what is there may be kept or replaced")
    _desk(request).queue.again(task, existing, agreed=found.get("agreed") is True)
    return Response(status_code=204)


@answering
async def machine(_: Request) -> Response:
    """Return where a run would be computed, and the models."""
    return document(await run_in_threadpool(desks.machine))


@answering
async def doctor(_: Request) -> Response:
    """Return what is wrong with this machine."""
    return document(await run_in_threadpool(_examined))


def _examined() -> dict[str, Any]:
    # It speaks on standard output, which is this server's own here.
    command = [sys.executable, "-P", "-m", "sep_launcher", "doctor", "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=DOCTOR_SECONDS, stdin=-3, check=False
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as fault:
        raise PathError(f"the doctor could not look: {type(fault).__name__}") from fault
    return found if isinstance(found, dict) else {}


@answering
async def setup(request: Request) -> Response:
    """Prepare this machine: the job asks before it does anything."""
    return document({"id": _desk(request).setup().id}, 201)


@answering
async def pull(request: Request) -> Response:
    """Fetch a model: the job asks before it does anything."""
    return document({"id": _desk(request).pull(request.path_params["name"]).id}, 201)
