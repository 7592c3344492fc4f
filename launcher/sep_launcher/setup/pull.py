"""Models of others onto this host: fetched from their mirrors, proved by hash, converted once."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import sep_models
from sep_launcher.engines.native import NativeEngine
from sep_launcher.machine import facts, paths
from sep_launcher.planning import models, route
from sep_launcher.planning import plan as plans
from sep_launcher.planning.request import Request
from sep_launcher.setup import golden
from sep_protocol import Install, Model, Published
from sep_protocol.errors import ModelError, NotReadyError, PathError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sep_launcher.machine.host import Host
    from sep_launcher.show.render import Screen
    from sep_models import Manifest, Source

SECONDS = 30.0  # without a byte
BLOCK = 1 << 20
PARTIAL_CONTENT = 206


def described(manifest: Manifest) -> list[str]:
    """Return what people read before they say yes."""
    size = sum(source.bytes or 0 for source in manifest.sources)
    known = f"{size / 1e6:.0f} MB" if size else "of a size that its author does not say"
    lines = [f"the model {manifest.name}, {known}", f"licence: {manifest.licence}"]
    for source in manifest.sources:
        lines += [f"{source.file} ({source.sha256[:12]}...) from {url}" for url in source.urls[:1]]
    return [*lines, f"into {paths.models() / manifest.name}"]


def installed(manifest: Manifest) -> bool:
    """Say whether it is here and whole."""
    folder = models.folder(manifest)
    if folder is None:
        return False
    return not models.fault(manifest, folder / sep_models.WEIGHTS, hashed=True)


def check(manifest: Manifest, *, offline: bool) -> None:
    """Raise ModelError where the model cannot be fetched."""
    if offline:
        raise ModelError(f"{manifest.name} is not here and --offline forbids fetching it")
    for source in manifest.sources:
        if not source.urls:
            raise ModelError(
                f"no address of {source.file} is known",
                hint=f"get it from its author (SHA-256 {source.sha256}), then --model FILE",
            )


def pull(manifest: Manifest, host: Host, screen: Screen) -> None:
    """Fetch and convert a model; what was fetched is kept until the weights are whole."""
    if host.native is None:
        raise NotReadyError("converting a model needs the native environment", hint="sep setup")
    folder = paths.cache() / "models" / manifest.name
    files = []
    for source in manifest.sources:
        target = folder / f"{source.sha256[:16]}{Path(source.file).suffix}"
        fetch(source, target, screen)
        files.append(Published(file=str(target), stem=source.stem))
    target = paths.models() / manifest.name
    screen.say(f"converting {manifest.name} ...")
    order = Install(files=tuple(files), folder=str(target))
    chosen = route.Route(engine="native", device="cpu", reason="a conversion", ready=True)
    request = Request(files=(), out=Path(), wanted=route.Wanted(device="cpu"))
    model = Model(name=manifest.name)
    plan = plans.plan(request, host, chosen, found=[], model=model, manifest=None)
    golden.follow(replace(plan, job=replace(plan.job, install=order)), NativeEngine(screen.log))
    found = models.digest(target / sep_models.WEIGHTS)
    noted = facts.Converted(model=manifest.name, sha256=found)
    facts.write(facts.read().with_weights(noted))
    shutil.rmtree(folder, ignore_errors=True)


def fetch(source: Source, target: Path, screen: Screen) -> None:
    """Bring one file here, from the first mirror that has it; goes on where it was interrupted.

    Raises ModelError where none of them gives the file with the recorded SHA-256.
    """
    if target.is_file() and _digest(target) == source.sha256:
        return
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise PathError(f"{target.parent} cannot be made: {fault.strerror}") from fault
    faults = []
    for url in source.urls:
        screen.say(f"fetching {url} ...")
        try:
            _download(url, partial, lambda done, total: screen.meter(source.file, done, total))
        except (OSError, http.client.HTTPException, ValueError) as fault:
            faults.append(f"{url}: {_short(fault)}")
            screen.warn(f"{url}: {_short(fault)}")
            continue
        if _digest(partial) == source.sha256:
            partial.replace(target)
            return
        # Not a byte of another file may stay, or the next attempt would go on with it.
        partial.unlink()
        faults.append(f"{url}: another file than the one recorded (SHA-256)")
        screen.warn(faults[-1])
    raise ModelError(
        f"{source.file} could not be fetched: {faults[-1] if faults else 'no address is known'}",
        hint="try again later: what came is kept; or get the file and use --model FILE",
    )


def _download(url: str, partial: Path, meter: Callable[[int, int], None]) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"sep/{__version__}"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310 (from a manifest)
    except urllib.error.HTTPError as fault:
        if fault.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # it was whole already; its hash tells
        raise
    with answer, partial.open("ab" if answer.status == PARTIAL_CONTENT else "wb") as file:
        done = file.tell()
        total = done + int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(BLOCK):
            file.write(block)
            done += len(block)
            meter(done, total)
    if total > done:
        raise ValueError(f"the connection ended after {done} of {total} bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(fault: Exception) -> str:
    reason = getattr(fault, "reason", None)
    return str(reason or getattr(fault, "strerror", None) or fault)
