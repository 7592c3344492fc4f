"""Rules about models, disks and folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import rule
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Disk, Evidence

MIB = 1 << 20
NEARLY_FULL = 200 * MIB  # a track of five minutes takes 0.4 GB of stems
NOT_THE_RECORDED = "their SHA-256 is not the recorded one"
ELSEWHERE = "make room, or choose another folder"


@rule(
    Group.FILES,
    "error",
    breaks="every run with the bundled model",
    fix="{repair}; if that refuses, first in a clone of sep: sh installers/install.sh",
)
def bundled_weights_damaged(evidence: Evidence) -> str | None:
    """The bundled model's weights are damaged."""
    return _damaged(evidence, pulled=False) or evidence.heard(NOT_THE_RECORDED)


@rule(
    Group.FILES,
    "error",
    breaks="every run with that model",
    fix="sep models pull MODEL; one of your own: sep models import FILE --name MODEL --overwrite",
)
def weights_damaged(evidence: Evidence) -> str | None:
    """A model's weights are damaged."""
    if bundled_weights_damaged.detect(evidence):
        return None
    # Not what is whole and merely no weights, or of another network: to get that again is no help.
    said = evidence.heard("the weights")
    return _damaged(evidence, pulled=True) or (said if said and " damaged: " in said else None)


@rule(
    Group.FILES,
    "error",
    breaks="every run",
    fix="sep models pull NAME; the bundled one: sep setup --repair",
)
def no_model(evidence: Evidence) -> str | None:
    """The model is not here."""
    said = evidence.heard(
        "no model is installed", "is not installed", "are not installed", "there are no weights at"
    )
    return said if said and ("model" in said or "weights" in said) else None


@rule(
    Group.FILES,
    "error",
    breaks="setup and models: sep cannot write there",
    fix=Fix(
        everywhere='sudo chown -R "$USER" "{data}", or choose another folder by SEP_HOME',
        windows="give yourself the right to write {data}, or choose another folder by SEP_HOME",
    ),
)
def data_not_writable(evidence: Evidence) -> str | None:
    """The folder of sep's data cannot be written."""
    return _unwritable(evidence, "data")


@rule(
    Group.FILES,
    "warning",
    breaks="runs without -o: stems go to ./separated",
    fix="-o FOLDER chooses another",
)
def output_not_writable(evidence: Evidence) -> str | None:
    """The current folder cannot be written."""
    return _unwritable(evidence, "output")


@rule(
    Group.FILES,
    "warning",
    breaks="setup, and models that are fetched",
    fix="make room on that disk, or choose another folder by SEP_HOME",
)
def data_disk_full(evidence: Evidence) -> str | None:
    """The disk of sep's data is nearly full."""
    return _full(evidence, "data")


@rule(
    Group.FILES,
    "warning",
    breaks="setup, and checks by the golden clip",
    fix=Fix(everywhere=f"{ELSEWHERE} by TMPDIR", windows=f"{ELSEWHERE} by TEMP"),
)
def temporary_disk_full(evidence: Evidence) -> str | None:
    """The disk of temporary files is nearly full."""
    return _full(evidence, "temporary")


@rule(
    Group.FILES,
    "warning",
    breaks="runs without -o",
    fix=f"{ELSEWHERE} by -o",
)
def output_disk_full(evidence: Evidence) -> str | None:
    """The disk of the stems is full, or nearly."""
    return _full(evidence, "output") or evidence.heard(
        "the disk is full", "No space left on device"
    )


def _damaged(evidence: Evidence, *, pulled: bool) -> str | None:
    faults = [
        f"{each.model}: {each.fault} ({each.path})"
        for each in evidence.weights
        if each.fault and each.pulled is pulled
    ]
    return "; ".join(faults) or None


def _of(evidence: Evidence, what: str) -> Disk | None:
    return next((each for each in evidence.disks if each.what == what), None)


def _full(evidence: Evidence, what: str) -> str | None:
    disk = _of(evidence, what)
    if disk is None or disk.free >= NEARLY_FULL:
        return None
    return f"{disk.free / MIB:.0f} MiB are free in {disk.path}"


def _unwritable(evidence: Evidence, what: str) -> str | None:
    disk = _of(evidence, what)
    return disk.path if disk and not disk.writable else None


RULES = (
    bundled_weights_damaged,
    weights_damaged,
    no_model,
    data_not_writable,
    output_not_writable,
    data_disk_full,
    temporary_disk_full,
    output_disk_full,
)
