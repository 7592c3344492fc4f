"""The build of an image: its context, its arguments, and why it failed."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tarfile
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING

import sep_containers
from sep_launcher.setup import running
from sep_protocol.errors import NotReadyError, PathError, SepError
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from collections.abc import Generator

    from sep_launcher.engines.docker.daemon import Daemon
    from sep_launcher.setup.image import Wish, Work
    from sep_launcher.show.screen import Screen

REPOSITORY = "sep-audio"
FOLDER = Path(sep_containers.__file__).parent
CONSTRAINTS = "constraints.txt"
EXTRAS = {"cpu": "runtime", "cuda": "runtime,torchaudio"}
STEP = re.compile(r"Step \d+(?:/\d+)? : (\w+)")
# The Dockerfile's parts in words, each with the instruction that begins it.
PARTS = (("FROM", "the base image"), ("COPY", "PyTorch and other packages"), ("FROM", "the image"))
NOISE = (" --->", "Removing intermediate container")  # lines that are no step's
AGAIN = "fix that and run it again; --verbose shows all of the build"
OTHERS = "--base IMAGE takes another one, --from-tar FILE an image that was built elsewhere"


def digest_of(wheel: Path, torch: str, variant: str) -> str:
    """Return what an image is known by: all that goes into it."""
    parts = [wheel, *(FOLDER / each for each in ("Dockerfile", CONSTRAINTS, "hashes.txt"))]
    found = hashlib.sha256(f"{variant} {torch}".encode())
    for part in parts:
        found.update(part.read_bytes())
    return found.hexdigest()[:16]


def write_constraints(folder: Path) -> Path:
    """Write the versions that images take into a folder; raises PathError."""
    target = folder / "sep-constraints.txt"
    try:
        target.unlink(missing_ok=True)  # it may be a link to another file
        target.write_bytes((FOLDER / CONSTRAINTS).read_bytes())
    except OSError as fault:
        raise PathError(f"{target} cannot be written: {fault.strerror}") from fault
    return target


def build(daemon: Daemon, work: Work, wish: Wish, screen: Screen) -> None:
    """Build the image; raises NotReadyError with the reason of the step that failed."""
    arguments = {
        "TORCH": work.build.requirement,
        "TORCH_INDEX": "" if wish.wheelhouse else work.build.index,
        "EXTRAS": EXTRAS[work.variant],
        "VARIANT": work.variant,
        "VERSION": __version__,
        "PROTOCOL": str(PROTOCOL),
        "WHEEL": work.digest,
        "PIP_OPTIONS": "--no-index" if wish.wheelhouse else "",
    }
    if wish.index:
        arguments["PIP_OPTIONS"] = f"--index-url {wish.index}"
    if wish.base:
        arguments["BASE"] = wish.base
    with tempfile.TemporaryFile() as context:
        _write_context(context, work, wish)
        context.seek(0)
        tag = f"{REPOSITORY}:{__version__}-{work.variant}-{work.digest}"
        try:
            _follow(daemon.build(context, tag, arguments, wish.network), screen)
        finally:
            # What the packages were installed in: as large as the image itself.
            with contextlib.suppress(SepError):
                daemon.remove_unfinished()


def _follow(lines: Generator[str, None, None], screen: Screen) -> None:
    """Show what a build says, part by part; raises NotReadyError, with a part's last words."""
    part, what = 0, "what goes into it"
    told: deque[str] = deque(maxlen=running.LAST)
    try:
        with contextlib.closing(lines):
            for line in lines:
                screen.log(line)
                if step := STEP.match(line):
                    told.clear()
                    if part < len(PARTS) and step[1] == PARTS[part][0]:
                        what, part = PARTS[part][1], part + 1
                        screen.say(f"{part}/{len(PARTS)} {what} ...")
                elif not line.startswith(NOISE):
                    told.append(re.sub(r"\x1b\[[0-9;]*m", "", line))  # errors come in red
                if not screen.open:
                    running.meter(line, what, screen)
    except NotReadyError as fault:
        if part == 1:
            message = f"{what} cannot be fetched: {fault.message}"
            raise NotReadyError(message, hint=OTHERS) from fault
        # Docker says the whole step, as it is written; what was wrong stands above.
        why = running.tell_last(told, screen) or fault.message
        raise NotReadyError(f"the image cannot be made ({what}): {why}", hint=AGAIN) from fault
    finally:
        screen.meter_end()


def _write_context(file: IO[bytes], work: Work, wish: Wish) -> None:
    with tarfile.open(fileobj=file, mode="w") as context:
        context.add(FOLDER / "Dockerfile", "Dockerfile")
        context.add(FOLDER / CONSTRAINTS, CONSTRAINTS)
        context.add(FOLDER / "hashes.txt", "hashes.txt")
        context.add(work.wheel, work.wheel.name)
        for folder in ("wheelhouse", "certs"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            context.addfile(entry)
        if wish.wheelhouse:
            for wheel in sorted(wish.wheelhouse.glob("*.whl")):
                if not wheel.name.startswith("sep_audio-"):
                    context.add(wheel, f"wheelhouse/{wheel.name}")
        if wish.certificate:
            context.add(wish.certificate, f"certs/{wish.certificate.stem}.crt")
