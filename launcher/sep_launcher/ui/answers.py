"""Answers to a page: documents, and errors in the words of the command line."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sep_launcher.ui.uploads import OffsetError
from sep_protocol.errors import PathError, SepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Handler = Callable[[Request], Awaitable[Response]]

NO_STORE = {"cache-control": "no-store"}
MOST_BYTES = 4 << 20  # of a document that a page sends
FULL = "are free"  # how a disk that is too small is told


class GoneError(SepError):
    """There is nothing by this id."""


def document(found: Any, status: int = 200) -> Response:  # noqa: ANN401 (JSON)
    """Return a document in ASCII, so that names of any bytes come through."""
    text = json.dumps(found)
    return Response(text, status, headers=NO_STORE, media_type="application/json")


def answering(handler: Handler) -> Handler:
    """Return the handler with its errors as documents: message and hint."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except SepError as fault:
            about: dict[str, Any] = {"message": fault.message, "hint": fault.hint}
            if isinstance(fault, OffsetError):
                about["size"] = fault.size
            return document({"error": about}, _status(fault))
        except OSError as fault:
            told = f"{fault.filename}: {fault.strerror}"
            return document({"error": {"message": told, "hint": ""}}, 404)

    return answer


def _status(fault: SepError) -> int:
    if isinstance(fault, OffsetError):
        return 409
    if isinstance(fault, PathError):
        return 507 if fault.message.endswith(FULL) else 404
    return 404 if isinstance(fault, GoneError) else 400


async def read(request: Request) -> dict[str, Any]:
    """Return the document that a page sent; raise UsageError for what is none, or is too much."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_BYTES:
            raise UsageError("that is too much for one request")
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError) as fault:
        raise UsageError("that is no JSON") from fault
    if not isinstance(found, dict):
        raise UsageError("that is no document")
    return found
