"""What a page asks for, as a Request; errors are in the command line's own words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted
from sep_launcher.ui.tracks import PEAKS
from sep_protocol import Output
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import UsageError
from sep_protocol.job import BitDepth, Format  # noqa: TC001 (decode reads them)

if TYPE_CHECKING:
    from pathlib import Path

    from sep_launcher.ui.tasks import Existing


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, as a page says it."""

    paths: tuple[str, ...] = ()  # files and folders of this computer
    batch: str = ""  # or uploads
    model: str | None = None
    from_mix: str | None = None  # a model, or `auto`
    stems: tuple[str, ...] | None = None
    format: Format = "wav"
    bit_depth: BitDepth | None = None
    residual: bool = False
    engine: Literal["auto", "native", "container"] = "auto"
    device: str = "auto"
    out: str = ""  # a folder; empty: beside the songs, or the user's music for uploads
    existing: Literal["ask", "keep", "replace"] = "ask"

    def request(self, files: tuple[str, ...], out: Path, existing: Existing) -> Request:
        """Return the Request; raise UsageError where the options exclude each other."""
        return Request(
            files=files,
            out=out,
            model=self.model or None,
            from_mix=self.from_mix or None,
            output=Output(
                stems=self.stems or None,
                format=self.format,
                bit_depth=self.bit_depth,
                residual=self.residual,
                resume=existing == "keep",
                overwrite=existing == "replace",
            ),
            wanted=Wanted(engine=self.engine, device=self.device),
            peaks=PEAKS,
        )


def wish(found: Any) -> Wish:  # noqa: ANN401 (JSON)
    """Return what a document asks for; raise UsageError where it is none."""
    try:
        made = decode(Wish, found)
    except FormError as fault:
        raise UsageError(f"that is no job: {fault}") from fault
    if bool(made.paths) == bool(made.batch):
        raise UsageError("a job is of paths or of uploads")
    return made
