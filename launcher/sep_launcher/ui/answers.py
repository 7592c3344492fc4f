"""Answers to a page: documents, and errors in the words of the command line."""

from __future__ import annotations

import errno
import functools
import json
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sep_launcher.ui.uploads import FullError, OffsetError, TooMuchError
from sep_protocol.errors import PathError, SepError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Handler = Callable[[Request], Awaitable[Response]]

NO_STORE = {"cache-control": "no-store"}
MOST_BYTES = 4 << 20  # of a document that a page sends
MOST_DIGITS = 15  # of a number in an address


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
            name = f"{fault.filename}: " if fault.filename else ""
            about = {"message": f"{name}{fault.strerror or fault}", "hint": ""}
            return document({"error": about}, _REASONS.get(fault.errno or 0, 404))
        except (ValueError, UnicodeError):  # a path that no system takes
            about = {"message": "that is no name of a file", "hint": ""}
            return document({"error": about}, 400)
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


_REASONS = {errno.ENOSPC: 507, errno.EDQUOT: 507, errno.EACCES: 403, errno.EPERM: 403}
_STATUS: tuple[tuple[type[SepError], int], ...] = (
    (OffsetError, 409),
    (FullError, 507),
    (TooMuchError, 413),
    (GoneError, 404),
    (PathError, 404),
)


def _status(fault: SepError) -> int:
    return next((status for kind, status in _STATUS if isinstance(fault, kind)), 400)


def number(text: str) -> int:
    """Return a number of an address; raise UsageError for what is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise UsageError(f"{text[:40]!r} is no number")
    return int(text)


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
