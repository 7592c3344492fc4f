"""One published file from its mirrors onto this disk: bounded, resumed, proved by its hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import stat
import threading
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sep_launcher.planning import models
from sep_protocol.errors import ModelError, PathError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

    from sep_launcher.show.screen import Screen
    from sep_models import Source

SECONDS = 30.0  # without a byte
WINDOW = 60.0  # seconds in which a server must answer, and over which speed is measured
SLOWEST = 1000  # bytes a second
MOST = 8 << 30  # bytes of a file whose author does not say how long it is
BLOCK = 1 << 20
BEYOND = http.client.REQUESTED_RANGE_NOT_SATISFIABLE
BUSY = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
LONGEST = 200  # characters of what a server says that are told
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _OtherError(ValueError):
    """What comes is another file; nothing of it is kept."""


class _CutError(ValueError):
    """No more comes; what came is kept."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes where it is sent, by http and https alone, and never from https to http."""

    inf_msg = "it redirects without end: "

    def redirect_request(  # noqa: PLR0917 (urllib's own)
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return what to ask next; raise URLError where that is not allowed."""
        was, now = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if now not in (was, "https"):
            fp.close()
            raise urllib.error.URLError(f"it redirects from {was} to {now}: {newurl}")
        # What was asked for, a range of bytes among it, is asked for there, too.
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    """Return what asks by http and https, through the proxies that are set, and knows no more."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def fetch(source: Source, target: Path, screen: Screen) -> None:
    """Bring one file here, from the first mirror that has it; goes on where it was interrupted.

    Each mirror goes on with its own bytes alone. Raises ModelError where none of them gives the
    file with the recorded SHA-256, PathError where it cannot be written.
    """
    if _is(target, source):
        return
    with _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    faults = []
    for url in source.urls:
        screen.say(f"fetching {url} ...")
        partial = partial_of(target, url)
        try:
            _from(url, source, partial, screen)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            faults.append(f"{url}: {_short(fault)}")
            screen.warn(faults[-1])
            continue
        with _written(target):
            partial.replace(target)
        return
    again = "try again later: what came is kept"
    raise ModelError(
        f"{source.file} could not be fetched: {faults[-1] if faults else 'no address is known'}",
        hint=again if source.stem else f"{again}; or {models.by_hand(source)}",
    )


def partial_of(target: Path, url: str) -> Path:
    """Return where the bytes of one mirror are until the file is whole."""
    mirror = hashlib.sha256(url.encode()).hexdigest()[:12]
    return target.with_name(f"{target.name}.{mirror}.part")


def _from(url: str, source: Source, partial: Path, screen: Screen) -> None:
    """Bring the whole file from one mirror; raises _OtherError where it is not the recorded one."""
    with _written(partial):
        begun = _begun(partial, source)
    # What was begun may be wrong: then once more from the first byte.
    for start in dict.fromkeys((begun, 0)):
        try:
            _go_on(url, source, partial, start, screen)
        except _OtherError:
            with _written(partial):
                partial.unlink(missing_ok=True)
            if start == 0:
                raise
        else:
            return


def _go_on(url: str, source: Source, partial: Path, start: int, screen: Screen) -> None:
    if not (start and _is(partial, source)):
        try:
            _download(url, source, partial, start, screen)
        except _CutError:
            if not _is(partial, source):  # else the server said too much of its length
                raise
    if not _is(partial, source):
        raise _OtherError("another file than the one recorded (SHA-256)")


def _begun(partial: Path, source: Source) -> int:
    """Return how many bytes are here; what is no plain file of ours alone is taken away."""
    try:
        found = partial.lstat()
    except FileNotFoundError:
        return 0
    # A link, of either kind, is another file by another name.
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if plain and found.st_size <= (source.bytes or MOST):
        return found.st_size
    partial.unlink()
    return 0


def _download(url: str, source: Source, partial: Path, start: int, screen: Screen) -> None:
    """Append to the file, or begin it; every byte that came is on the disk, whatever ends it."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("neither http nor https")
    request = urllib.request.Request(url, headers={"User-Agent": f"sep/{__version__}"})  # noqa: S310
    if start:
        request.add_header("Range", f"bytes={start}-")
    answer = _answer(request)
    if answer is None:
        return  # it was whole already; its hash tells
    with answer:
        encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise _CutError(f"it comes compressed ({encoding}), which was not asked for")
        if answer.status != http.client.PARTIAL_CONTENT:
            start = 0
        elif not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            raise _OtherError("the server goes on at another byte")
        total = source.bytes or 0
        if answer.length is not None:
            if total and start + answer.length != total:
                # A page that says to log in, or to wait, tells nothing of what came before it.
                kind = _OtherError if start else _CutError
                raise kind(f"it has {start + answer.length} bytes, {total} are expected")
            total = start + answer.length
        with _written(partial), _opened(partial, start) as file:
            done = _copy(answer, file, start, source, screen)
    if done < total:
        raise _CutError(f"the connection ended after {done} of {total} bytes")


def _answer(request: urllib.request.Request) -> http.client.HTTPResponse | None:
    """Return the answer, None where the server has nothing beyond what is here.

    The whole head of it must come within a window: a socket's own limit is for each byte.
    """
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(_opener().open(request, timeout=SECONDS))
        except Exception as fault:  # noqa: BLE001 (raised again below)
            found.append(fault)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(WINDOW)
    if not found:
        raise TimeoutError(f"no answer within {WINDOW:.0f} s")
    match found[0]:
        case http.client.HTTPResponse() as answer:
            return answer
        case urllib.error.HTTPError() as fault:
            fault.close()
            if fault.code == BEYOND and request.has_header("Range"):
                return None
            raise fault
        case Exception() as fault:
            raise fault
    raise ValueError("no answer")


def _copy(
    answer: http.client.HTTPResponse, file: IO[bytes], done: int, source: Source, screen: Screen
) -> int:
    """Write what comes, as it comes; return the length of the file then."""
    most = source.bytes or MOST
    total = source.bytes or done + (answer.length or 0)
    begun, before = time.monotonic(), done
    while block := _read(answer):
        if done + len(block) > most:
            raise _OtherError(f"it has more than {most} bytes")
        rest = memoryview(block)
        while rest:
            rest = rest[file.write(rest) :]
        done += len(block)
        screen.meter(source.file, done, total)
        elapsed = time.monotonic() - begun
        if elapsed >= WINDOW:
            if done - before < SLOWEST * elapsed:
                raise _CutError(f"less than {SLOWEST} bytes a second")
            begun, before = time.monotonic(), done
    return done


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Return what has come; the network's faults are not the disk's."""
    try:
        return answer.read1(BLOCK)
    except http.client.IncompleteRead as fault:
        raise _CutError("the connection ended within the file") from fault
    except (OSError, http.client.HTTPException) as fault:
        raise _CutError(_short(fault)) from fault


def _opened(partial: Path, start: int) -> IO[bytes]:
    """Open the file for more bytes at its end, or anew; never another one through a link."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if start == 0:
        partial.unlink(missing_ok=True)
        flags |= os.O_EXCL
    file = os.fdopen(os.open(partial, flags, 0o666), "wb", buffering=0)
    file.seek(start)
    return file


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn the disk's faults into PathError."""
    try:
        yield
    except OSError as fault:
        why = "the disk is full" if fault.errno in FULL else fault.strerror
        raise PathError(
            f"{path} cannot be written: {why}", hint="make room, or make that folder writable"
        ) from fault


def _is(path: Path, source: Source) -> bool:
    """Say whether this is the recorded file."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or source.bytes not in (None, found.st_size):
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256
    except OSError:
        return False


def _short(fault: Exception) -> str:
    """Return one line of what happened."""
    reason = getattr(fault, "reason", None) or getattr(fault, "strerror", None)
    text = str(reason or fault) or type(fault).__name__
    if isinstance(fault, urllib.error.HTTPError):
        known = http.client.responses.get(fault.code, "is not known here")
        text = f"{fault.code} {reason or known}"
        wait = fault.headers.get("Retry-After", "")
        if fault.code in BUSY and wait:
            text += f"; it asks to wait {wait}{' s' if wait.isdigit() else ''}"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
