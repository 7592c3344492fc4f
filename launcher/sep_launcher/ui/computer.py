"""What the page tells of this computer: where it computes, models, folders, the doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sep_launcher.machine import disk
from sep_launcher.machine.probe import probe
from sep_launcher.planning import models, own
from sep_launcher.planning import route as routes
from sep_launcher.planning.files import ENDINGS, VIDEOS
from sep_launcher.planning.places import place
from sep_launcher.ui.desk import music
from sep_protocol.errors import EngineError, SepError

MOST_NAMES = 5000  # of a folder that are shown
DOCTOR_SECONDS = 300


def machine() -> dict[str, Any]:
    """Return where a run would be computed and why, and which models there are."""
    host = probe()
    try:
        wanted = routes.Wanted()
        route = routes.choose(host, wanted)
        way: dict[str, Any] = {
            "engine": route.engine,
            "device": route.device,
            "ready": route.ready,
            "reason": route.reason,
            "place": place(host, route, wanted),
        }
    except SepError as fault:
        way = {"ready": False, "fault": fault.message, "hint": fault.hint}
    found = [*models.table(), *(models.row(each) for each in own.every())]
    return {
        "route": way,
        "devices": ["cpu", *(["cuda"] if host.gpus else []), *(["mps"] if host.apple_gpu else [])],
        "music": str(music()),
        "models": [_told(each) for each in found],
        "audio": sorted(ENDINGS),
        "films": sorted(VIDEOS),
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a model."""
    told = ("name", "summary", "expects", "stems", "installed", "default", "bytes", "licence")
    sources = row.get("sources") or []
    fetchable = bool(sources) and all(each["urls"] for each in sources)
    return {**{key: row.get(key) for key in told}, "fetchable": fetchable}


def listed(folder: Path) -> dict[str, Any]:
    """Return the folders and the audio in a folder; raises OSError where it cannot be read."""
    folders, names = [], []
    for each in os.listdir(folder):  # noqa: PTH208 (names alone)
        if each.startswith("."):
            continue
        if disk.is_dir(str(folder / each)):
            folders.append(each)
        elif Path(each).suffix.lower() in ENDINGS | VIDEOS:
            names.append(each)
    return {
        "path": str(folder),
        "parent": str(folder.parent),
        "folders": sorted(folders, key=str.lower)[:MOST_NAMES],
        "files": sorted(names, key=str.lower)[:MOST_NAMES],
    }


def examined() -> dict[str, Any]:
    """Return what the doctor finds; raise EngineError where it cannot look."""
    # It speaks on standard output, which is this server's own here.
    command = [sys.executable, "-P", "-m", "sep_launcher", "doctor", "--json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=DOCTOR_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as fault:
        raise EngineError(f"the doctor could not look: {type(fault).__name__}") from fault
    return found if isinstance(found, dict) else {}
