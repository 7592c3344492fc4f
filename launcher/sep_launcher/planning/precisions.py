"""Which precision a Job asks for, by what was measured of this machine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sep_launcher.machine.host import Host, Snr
    from sep_launcher.planning.route import Kind, Route
    from sep_protocol import Precision

PLAIN: Final = "fp32"
ENOUGH = 40.0  # dB beside the CPU's stems in fp32: what nobody hears
LOWER: dict[Kind, tuple[Precision, ...]] = {"cpu": ("bf16",), "mps": ("fp16",), "cuda": ("fp16",)}


def resolved(wanted: Precision, host: Host, route: Route) -> Precision:
    """Return the precision of the Job: `auto` is fp32 where a lower one is known not to pass.

    Where nothing is known the runtime decides, and a precision that was named stays.
    """
    if wanted != "auto":
        return wanted
    where = host.native if route.engine == "native" else host.docker
    known = where.snr if where else ()
    return PLAIN if any(each.device == route.device for each in not_passed(known)) else "auto"


def not_passed(known: tuple[Snr, ...]) -> list[Snr]:
    """Return the measurements of precisions below fp32 that did not pass."""
    return [each for each in known if each.precision != PLAIN and not passes(each.decibels)]


def passes(decibels: float | None) -> bool:
    """Say whether stems are as good as the CPU's; None: there are none."""
    return decibels is not None and decibels >= ENOUGH
