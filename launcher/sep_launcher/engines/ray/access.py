"""Who may use a cluster: its token, what listens where, and what Ray is told before it begins.

Whoever reaches a cluster's port without a token runs code on all of its nodes. So one that we start
is bound to loopback and has a token; one of others that has none is refused.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from sep_protocol.errors import EngineError

# For every cluster: Ray reports usage unless told otherwise, and asks for one patch of Python.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
}
# For one that we start. Ray turns a node's address 127.0.0.1 into an outside one unless this
# variable says that there is no other node.
OWN = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
TOKEN, TOKEN_PATH, MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"
# Would lead a cluster of our own elsewhere, or be its token in every process's environment.
NOT_OWN = ("RAY_ADDRESS", TOKEN)
PREFIX = "sep-ray-"
SHORT = 40  # Ray's sockets lie below it, and a socket's path has 107 bytes at most
SECONDS = 5.0  # that a cluster may take to answer
ASK = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"  # any question that changes nothing
SECURE = "start its nodes with RAY_AUTH_MODE=token (docs/cluster.md), or add --insecure-cluster"
BRING = (
    "put the cluster's token into a file of yours and name it by RAY_AUTH_TOKEN_PATH; "
    "`ray get-auth-token` on its head prints it"
)


def token_file() -> Path:
    """Make a folder for a cluster of our own, and in it a token; both are for us alone.

    Ray's own folder goes beside it: Ray opens that one to everybody.
    """
    sweep()
    base = tempfile.gettempdir()
    if len(base) > SHORT and os.access("/tmp", os.W_OK):  # noqa: S108 (the folder in it is ours)
        base = "/tmp"  # noqa: S108
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    token = made / "token"
    token.touch(mode=0o600)
    token.write_text(_secret(), encoding="ascii")
    return token


@cache
def _secret() -> str:
    """Return the token of this process's clusters: Ray reads one once, and never again."""
    return secrets.token_hex(32)


def sweep() -> None:
    """Remove what clusters left whose launcher was killed."""
    for base in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108
        for each in Path(base).glob(f"{PREFIX}*-*"):
            pid = each.name.removeprefix(PREFIX).partition("-")[0]
            with suppress(OSError):
                ours = os.name == "nt" or each.lstat().st_uid == os.getuid()
                if ours and pid.isdigit() and not psutil.pid_exists(int(pid)):
                    shutil.rmtree(each, ignore_errors=True)


def for_own(token: Path) -> dict[str, str]:
    """Return the variables of a cluster of our own with this file of a token."""
    return {**QUIET, **OWN, TOKEN_PATH: str(token)}


def for_foreign(address: str, *, insecure: bool) -> dict[str, str]:
    """Return the variables for somebody's cluster.

    Raises EngineError where it does not answer, where everybody is let in and that was not allowed,
    and where it asks for a token that is not here or another one.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # certificates on both sides
        return QUIET
    if _lets_in(address, ""):
        if not insecure:
            raise EngineError(
                f"the Ray cluster at {address} has no token: whoever reaches it runs code there",
                hint=SECURE,
            )
        return {**QUIET, MODE: "disabled"}
    token = _token()
    if not token:
        raise EngineError(
            f"the Ray cluster at {address} asks for a token, and none is here", hint=BRING
        )
    if not _lets_in(address, token):
        raise EngineError(f"the Ray cluster at {address} has another token", hint=BRING)
    return {**QUIET, MODE: "token"}


def _token() -> str:
    """Return the token as Ray would find it, nothing where there is none."""
    if named := os.environ.get(TOKEN):
        return named.strip()
    named = os.environ.get(TOKEN_PATH)
    with suppress(OSError, UnicodeDecodeError, RuntimeError):
        path = Path(named) if named else Path.home() / ".ray" / "auth_token"
        return path.read_text(encoding="utf-8").strip()
    return ""


def _lets_in(address: str, token: str) -> bool:
    """Say whether a cluster answers one who has this token, or none; Ray itself takes 20 s."""
    import grpc  # noqa: PLC0415 (comes with Ray, which few have)

    try:
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
            called = channel.unary_unary(ASK)
            called(
                b"",
                timeout=SECONDS,
                metadata=(("authorization", f"Bearer {token}"),) if token else (),
            )
    except grpc.RpcError as fault:
        if fault.code() == grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise EngineError(
            f"no Ray cluster answers at {address}",
            hint="ray status on its head shows whether it runs; --address is HOST:PORT of the head",
        ) from fault
    return True
