"""Object stores, and whatever else fsspec reaches by a URL. The only module that imports fsspec.

Credentials are found by fsspec's backends: in the environment, in their own files, in the machine's
role. None is asked for here, none is part of a URL, and none comes out in an error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import sys
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from sep_protocol.errors import NotReadyError, PathError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

T = TypeVar("T")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # one letter is a drive of Windows
LOCAL = frozenset({"file", "local", "memory"})  # no buckets: folders come with their files
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
}
ATTEMPTS = 7  # of one request, all faults of the network together
PATIENT = frozenset({"gcsfs"})  # tries by itself, for half a minute, and cannot be kept from it
FIRST_WAIT, MOST_WAIT = 0.25, 16.0  # seconds between two of them
BLOCK = 8 << 20  # bytes that one request asks for
CONNECT_SECONDS, READ_SECONDS = 10, 60
CREDENTIALS = "credentials come from the environment, or from the role of this machine"
SETTINGS = "look at AWS_PROFILE, AWS_ENDPOINT_URL and their like, and at ~/.aws/config"
# What clients raise whatever the network does: profiles, files, endpoints that are none.
WRONG = re.compile(r"ProfileNotFound|Config\w+|ValueError")
# What clients raise before they have asked anybody.
UNKNOWN = re.compile(
    r"NoCredentials|PartialCredentials|CredentialRetrieval|DefaultCredentials|Token"
)
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)
NOWHERE = ".sep-none"
LEAST_SECRET = 8  # characters: shorter ones are words of any message
PRECONDITION_FAILED = 412


class StorageError(PathError):
    """A store does not give or take what it should: it is missing, refused, or out of reach."""


class StoppedError(Exception):
    """What was going on is no more wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object as a listing tells of it."""

    url: str
    size: int  # bytes
    etag: str = ""  # changes with the content; empty: the store has none
    mtime_ns: int = 0  # 0: not known

    def is_as(self, size: object, etag: object, mtime_ns: object) -> bool:
        """Say whether what was noted is of this content: by the time only where no ETag tells."""
        if self.size != size:
            return False
        if self.etag:
            return self.etag == etag
        return self.mtime_ns != 0 and self.mtime_ns == mtime_ns


def is_url(text: object) -> bool:
    """Say whether this is a URL and no path."""
    return isinstance(text, str) and URL.match(text) is not None


def check(url: str) -> None:
    """Raise UsageError for a URL that is not for us, NotReadyError where its package is missing.

    No message repeats a password.
    """
    scheme = url.partition("://")[0].lower()
    try:
        parts = urlsplit(url)
    except ValueError as fault:
        raise UsageError(f"{scheme}:// is followed by what is no address: {fault}") from None
    if ":" in parts.netloc.rpartition("@")[0]:
        raise UsageError(f"a {scheme}:// address with a password is not taken", hint=CREDENTIALS)
    if "::" in url:
        raise UsageError(f"{url}: chained addresses are not taken")
    if scheme not in PACKAGES and scheme not in LOCAL:
        raise UsageError(
            f"{scheme}:// is not read: sep takes object stores like s3:// and gs://",
            hint="fetch the file first, and name it",
        )
    if scheme not in LOCAL and not parts.netloc:
        raise UsageError(f"{url} names no bucket", hint=f"as in {scheme}://bucket/folder/")
    _system(scheme)


def joined(url: str, *parts: str) -> str:
    """Return the address of something below a URL."""
    below = "/".join(each.strip("/") for each in parts if each.strip("/"))
    return f"{url.rstrip('/')}/{below}" if below else url.rstrip("/")


def parent(url: str) -> str:
    """Return the address of the folder that an object is in."""
    return url.rstrip("/").rpartition("/")[0]


def name(url: str) -> str:
    """Return the last part of an address."""
    return url.rstrip("/").rpartition("/")[2]


def stat(url: str, stop: threading.Event | None = None) -> Entry | None:
    """Return what is known of an object, None where there is none; raises StorageError."""
    system, path = _at(url)

    def ask() -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = system.info(path)
        except FileNotFoundError:
            return None
        return found

    found = _tried(ask, url, "looked at", stop)
    return None if found is None or found["type"] == "directory" else _entry(url, found)


def below(url: str) -> list[Entry]:
    """Return all objects below a folder, however deep, in the order of their names.

    Raises StorageError where the bucket is missing, or may not be listed.
    """
    system, path = _at(url)
    found = _tried(lambda: system.find(path, detail=True), url, "listed")
    if not found:
        check_bucket(url)
    return _entries(url, path, found.values())


def inside(url: str) -> list[Entry]:
    """Return the objects in a folder itself; none for a folder that is not there."""
    system, path = _at(url)

    def ask() -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = system.ls(path, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    return _entries(url, path, _tried(ask, url, "listed"))


def matching(pattern: str, fixed: str) -> list[Entry]:
    """Return the objects that a glob names, in the order of their names; `fixed` begins it."""
    system, path = _at(pattern)
    found = _tried(lambda: system.glob(path, detail=True), pattern, "listed")
    if not found:
        check_bucket(fixed)
    return _entries(fixed, _at(fixed)[1], found.values())


def read(url: str, most: int, stop: threading.Event | None = None) -> bytes | None:
    """Return a small object; None where there is none, or it has more than `most` bytes."""
    found = stat(url, stop)
    return None if found is None else read_listed(found, most, stop)


def read_listed(entry: Entry, most: int, stop: threading.Event | None = None) -> bytes | None:
    """Return a small object that was listed; None where it is gone, or too large."""
    if entry.size > most:
        return None
    system, path = _at(entry.url)

    def ask() -> bytes | None:
        try:
            # By a range: a client asks for the size of what is to be had whole.
            return bytes(system.cat_file(path, start=0, end=entry.size)) if entry.size else b""
        except FileNotFoundError:
            return None

    return _tried(ask, entry.url, "read", stop)


def fetch(entry: Entry, path: Path, stop: threading.Event) -> None:
    """Write an object into a new file.

    Raises StorageError where it cannot be had or is another than `entry` says, OSError where the
    file cannot be written, StoppedError when `stop` is set. What is cut off is asked for again from
    where it ended, so that a whole file is what was stored, or there is an error.
    """
    system, where = _at(entry.url)
    with path.open("xb") as file:
        while (begin := file.tell()) < entry.size:
            end = min(begin + BLOCK, entry.size)

            def ask(begin: int = begin, end: int = end) -> bytes:
                block = bytes(system.cat_file(where, start=begin, end=end))
                if len(block) != end - begin:
                    raise ConnectionError("the connection was cut")
                return block

            file.write(_tried(ask, entry.url, "fetched", stop))
    now = stat(entry.url, stop)
    if now is None or not entry.is_as(now.size, now.etag, now.mtime_ns):
        raise StorageError(
            f"{entry.url} is another one than when this run began", hint="run it again"
        )


def send(path: Path, url: str, stop: threading.Event) -> Entry:
    """Store a file under an address, whatever is there; return what is there now.

    Raises StorageError, OSError where the file cannot be read, StoppedError.
    """
    system, where = _at(url)
    with path.open("rb"):  # a fault of this disk is none of the network
        pass
    _tried(lambda: system.put_file(str(path), where), url, "stored", stop)
    found = stat(url, stop)
    if found is None or found.size != path.stat().st_size:
        raise StorageError(f"{url} could not be stored: another writer is at it")
    return found


def put(url: str, data: bytes, stop: threading.Event) -> None:
    """Store a small object, whatever is there."""
    system, where = _at(url)
    _tried(lambda: system.pipe_file(where, data), url, "stored", stop)


def create(url: str, data: bytes, stop: threading.Event) -> bool:
    """Store a small object where there is none, and say whether that was so.

    The store itself decides between two that come at once. One of these same bytes counts as ours:
    its answer to us may have been lost.
    """
    system, where = _at(url)

    def ask() -> bool:
        try:
            system.pipe_file(where, data, mode="create")
        except FileExistsError:
            return False
        except OSError as fault:
            if _status(fault) == PRECONDITION_FAILED:
                return False
            raise
        return True

    return _tried(ask, url, "stored", stop) or read(url, len(data), stop) == data


def remove(url: str, stop: threading.Event) -> None:
    """Remove an object, there or not."""
    system, where = _at(url)

    def ask() -> None:
        with contextlib.suppress(FileNotFoundError):
            system.rm_file(where)

    _tried(ask, url, "removed", stop)


def missing_package(scheme: str) -> NotReadyError:
    """Return the error for a kind of store whose package is not installed beside this launcher."""
    packages = " ".join(dict.fromkeys(("fsspec", PACKAGES.get(scheme, "fsspec"))))
    return NotReadyError(
        f"{scheme}:// needs packages that are not installed",
        hint=f"run: {sys.executable} -m pip install {packages}",
    )


@lru_cache
def _system(scheme: str) -> Any:  # noqa: ANN401 (fsspec has no types)
    """Return the file system of a kind of URL."""
    try:
        import fsspec  # noqa: PLC0415 (the extra `cloud`)

        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as fault:
        raise missing_package(scheme) from fault
    # The plain one of gcsfs: its newer one asks for minutes what kind of bucket it is.
    kind = next((each for each in kind.__mro__ if each.__module__ == "gcsfs.core"), kind)
    options: dict[str, Any] = {}
    if PACKAGES.get(scheme) == "s3fs":
        # Each request is tried again here, where a stop is heard and the tries are counted once.
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
    if scheme in LOCAL:
        options["auto_mkdir"] = True
    system = kind(use_listings_cache=False, skip_instance_cache=True, **options)
    if hasattr(system, "retries"):
        system.retries = 1
    # What it would write to standard error, page after page, is told in one line of ours.
    logging.getLogger(kind.__module__.partition(".")[0]).setLevel(logging.CRITICAL)
    return system


def _at(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    scheme, _, rest = url.partition("://")
    system = _system(scheme.lower())
    path = system._strip_protocol(f"{scheme.lower()}://{rest}")  # noqa: SLF001 (URL to path)
    return system, str(path)


def _entries(url: str, path: str, found: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return what is listed below a URL, whose path in the store is `path`, without folders."""
    start = len(path.rstrip("/"))
    entries = [
        _entry(joined(url, each["name"][start:]), each)
        for each in found
        if each["type"] != "directory" and each["name"].rstrip("/") != path.rstrip("/")
    ]
    return sorted(entries, key=lambda each: each.url)


def _entry(url: str, found: dict[str, Any]) -> Entry:
    changed = next(
        (
            found[k]
            for k in ("LastModified", "last_modified", "mtime", "updated", "created")
            if found.get(k)
        ),
        0,
    )
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    return Entry(
        url=url,
        size=int(found["size"] or 0),
        etag=str(found.get("ETag") or found.get("etag") or "").strip('"'),
        mtime_ns=round(float(changed) * 1e6) * 1000,
    )


def check_bucket(url: str) -> None:
    """Raise StorageError where the bucket is missing: a listing of nothing does not say it."""
    scheme, _, rest = url.partition("://")
    # Of a folder that is not there: a whole bucket may be long to list.
    system, path = _at(f"{scheme}://{rest.partition('/')[0]}/{NOWHERE}")
    if scheme.lower() not in LOCAL:
        _tried(lambda: system.find(path), url, "listed")


def _tried(ask: Callable[[], T], url: str, done: str, stop: threading.Event | None = None) -> T:
    """Return what a request gives, tried again where the network or the store may be at fault."""
    wait = FIRST_WAIT
    scheme = url.partition("://")[0].lower()
    attempts = 1 if PACKAGES.get(scheme) in PATIENT else ATTEMPTS
    for attempt in range(1, attempts + 1):
        if stop is not None and stop.is_set():
            raise StoppedError
        try:
            return ask()
        except Exception as fault:  # noqa: BLE001 (every client has its own)
            if why := _final(fault):
                raise StorageError(f"{url} could not be {done}: {why}", hint=_hint(why)) from None
            if attempt == attempts:
                times = f", {attempts} times" if attempts > 1 else ""
                raise StorageError(
                    f"{url} could not be {done}: {_reason(fault)}{times}",
                    hint="look at the network and at the store; --resume goes on",
                ) from None
        pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 (so that many do not come at once)
        (stop or threading.Event()).wait(pause)
        wait = min(2 * wait, MOST_WAIT)
    raise AssertionError


def _final(fault: Exception) -> str:
    """Return why another try is of no use, nothing where it may be."""
    if isinstance(fault, FileNotFoundError):
        return "it is not there"
    if isinstance(fault, PermissionError):
        return f"it is refused ({_clean(fault)})"
    if isinstance(fault, IsADirectoryError | NotADirectoryError | FileExistsError):
        return "a folder and a file are in each other's place"
    kinds = [each.__name__ for each in type(fault).__mro__]
    if any(UNKNOWN.search(each) for each in kinds):
        return "there are no credentials for it"
    if "ParamValidationError" in kinds:
        return "the store has no such names"
    if WRONG.fullmatch(kinds[0]):
        return f"its settings are wrong ({_clean(fault)})"
    return ""


def _hint(why: str) -> str:
    if "settings" in why:
        return SETTINGS
    return CREDENTIALS if "refused" in why or "credentials" in why else ""


def _reason(fault: Exception) -> str:
    status = _status(fault)
    if status:
        return f"the store says {status}"
    if "Timeout" in type(fault).__name__:
        return "no answer came in time"
    told = _clean(fault)
    return f"{type(fault).__name__}: {told}" if told else type(fault).__name__


def _status(fault: BaseException | None) -> int:
    """Return the HTTP status behind a fault, 0 where there is none."""
    while fault is not None:
        answer = getattr(fault, "response", None)
        if isinstance(answer, dict):
            return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if isinstance(code := getattr(fault, "code", None), int):
            return code
        fault = fault.__cause__
    return 0


def _clean(fault: Exception) -> str:
    """Return a fault's first line without what the environment keeps secret."""
    told = str(fault).partition("\n")[0][:300]
    for key, value in os.environ.items():
        if len(value) >= LEAST_SECRET and SECRET.search(key):
            told = told.replace(value, "***")
    return told
