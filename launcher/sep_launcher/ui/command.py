"""`sep ui`: one server a user, on this machine alone; a second one hands its files to the first."""

from __future__ import annotations

import http.client
import json
import os
import platform
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sep_launcher.machine import paths
from sep_launcher.machine.stopping import alone, stoppable
from sep_launcher.show import render
from sep_launcher.ui.reveal import has_desktop
from sep_protocol.errors import EngineError, ExitCode, NotReadyError, PathError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sep_launcher.ui.desk import Desk

LOOPBACK = "127.0.0.1"
PORT = 8737
TRIES = 20  # ports from that one on
PIP = f"{sys.executable} -m pip install starlette uvicorn"
GRACE_SECONDS = 3  # that requests in the middle may take at the end
ANSWER_SECONDS = 300.0  # large folders are looked through first
NOTE = "ui.json"  # where the living server is; for its user alone


class _LivesError(Exception):
    """Another server holds the lock."""


def ui(files: Sequence[str], *, port: int | None, browser: bool) -> int:
    """Serve the page until Ctrl-C, or give the files to the server that is there.

    Raises NotReadyError without its packages, UsageError for a port that is taken.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise NotReadyError("the page's packages are not installed", hint=f"run: {PIP}")
    found = [str(Path(each).absolute()) for each in files]
    for each in found:
        if not os.path.exists(each):  # noqa: PTH110 (never raises)
            raise PathError(f"there is no file {each}")
    home = paths.data() / "ui" / (platform.node() or "here")  # homes are shared by machines
    try:
        with alone(home / ".lock", _lives):
            return _serve(home, found, port=port, browser=browser)
    except _LivesError:
        return _hand_over(home, found, browser=browser)


def _lives() -> None:
    raise _LivesError


def _serve(home: Path, files: list[str], *, port: int | None, browser: bool) -> int:
    import uvicorn  # noqa: PLC0415 (one command needs it)

    from sep_launcher.ui.app import app  # noqa: PLC0415 (as above)
    from sep_launcher.ui.desk import Desk  # noqa: PLC0415 (as above)
    from sep_launcher.ui.wish import Wish  # noqa: PLC0415 (as above)

    note = home / NOTE
    note.unlink(missing_ok=True)  # of one that was killed
    listening = _listen(port)
    number = listening.getsockname()[1]
    token = secrets.token_urlsafe(32)
    desk = Desk(home, port=number, token=token)
    _note(note, {"port": number, "token": token, "pid": os.getpid()})

    class Server(uvicorn.Server):
        """Ends the pages' streams before it waits for them."""

        def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401 (uvicorn's)
            # A signal comes in the middle of anything, also of what reads the feed in this thread.
            threading.Thread(target=desk.bye, daemon=True).start()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app(desk),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        proxy_headers=False,
        http="h11",  # whatever else is installed
        loop="asyncio",
        ws="none",
    )
    try:
        with stoppable():
            if files:
                desk.run(Wish(paths=tuple(files)))
            render.lines([_told(number, token), "Ctrl-C ends it"])
            if browser:
                _open(f"{_address(number)}/enter?once={desk.nonce()}")
            Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        note.unlink(missing_ok=True)
        _end(desk)
    return ExitCode.INTERRUPTED


def _end(desk: Desk) -> None:
    if desk.queue.busy:
        with suppress(OSError):  # the terminal may be gone
            render.lines(["stopping ..."])
    desk.end()


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine alone; raise UsageError for a taken port."""
    fault: OSError | None = None
    for number in [port] if port is not None else range(PORT, PORT + TRIES):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform == "win32":  # or another program could take it, too; never run there
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((LOOPBACK, number or 0))
            made.listen(128)
        except OSError as why:
            made.close()
            fault = why
            continue
        return made
    what = f"port {port}" if port is not None else f"every port from {PORT} to {PORT + TRIES - 1}"
    told = fault.strerror if fault else ""
    raise UsageError(f"{what} is taken: {told}", hint="--port 0 takes any that is free")


def _note(note: Path, found: dict[str, Any]) -> None:
    """Write where the server is, for this user alone."""
    try:
        note.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(note, flags, 0o600), "w") as file:
            json.dump(found, file)
    except OSError as fault:
        raise PathError(f"{note} cannot be written: {fault.strerror}") from fault


def _address(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _told(port: int, token: str) -> str:
    return f"sep is at {_address(port)}/enter?token={token}"


def _open(address: str) -> None:
    """Open the browser where there is one; a thread, because some browsers do not come back."""
    if os.environ.get("SSH_CONNECTION") or not (has_desktop() or os.environ.get("BROWSER")):
        return
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _hand_over(home: Path, files: list[str], *, browser: bool) -> int:
    """Give files to the server that is there, and open a page of it; raise EngineError."""
    try:
        note = json.loads((home / NOTE).read_text())
        port, token = int(note["port"]), str(note["token"])
    except (OSError, ValueError, LookupError, TypeError) as fault:
        hint = "wait a moment and try again"
        raise EngineError("another sep ui is starting or ending", hint=hint) from fault
    if files:
        _post(port, token, "/api/jobs", {"paths": files})
    render.lines([_told(port, token), "it runs already, and Ctrl-C where it was started ends it"])
    if browser:
        once = _post(port, token, "/api/nonce", {})["once"]
        _open(f"{_address(port)}/enter?once={once}")
    return ExitCode.OK


def _post(port: int, token: str, path: str, about: dict[str, Any]) -> dict[str, Any]:
    """Ask the server that is there; no proxy of the environment is between."""
    headers = {
        "authorization": f"Bearer {token}",
        "origin": _address(port),
        "x-sep": "1",
        "content-type": "application/json",
    }
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", path, json.dumps(about), headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read() or b"{}")
    except (OSError, ValueError, http.client.HTTPException) as fault:
        hint = "end it with Ctrl-C where it was started, and type sep ui again"
        raise EngineError("the sep ui that is there does not answer", hint=hint) from fault
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST:
        error = found.get("error") or {}
        raise PathError(str(error.get("message") or answer.reason), str(error.get("hint") or ""))
    return found
