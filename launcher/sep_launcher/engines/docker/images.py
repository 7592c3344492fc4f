"""The image for a device: there, of this sep and for this processor, or what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.engines import IMAGE_SETUP
from sep_protocol.errors import NotReadyError
from sep_protocol.version import PROTOCOL, __version__

if TYPE_CHECKING:
    from sep_launcher.engines.docker.daemon import Daemon, Image
    from sep_launcher.planning.plan import Plan


def check(plan: Plan) -> None:
    """Raise NotReadyError unless there is an image for a plan, EngineError without a daemon."""
    from sep_launcher.engines.docker.daemon import Daemon  # noqa: PLC0415

    daemon = Daemon(plan.endpoint)
    try:
        find(daemon, plan.route.device)
    finally:
        daemon.close()


def find(daemon: Daemon, device: str) -> Image:
    """Return the image for a device; raise NotReadyError where it is missing, stale or foreign.

    The image for CUDA also does without a GPU.
    """
    listed = daemon.images()
    for variant in (device, "cuda") if device == "cpu" else (device,):
        found = [each for each in listed if each.variant == variant]
        if found:
            break
    else:
        raise NotReadyError(f"there is no image for {device}", hint=IMAGE_SETUP)
    current = [each for each in found if each.version == __version__]
    if not current or current[0].protocol != str(PROTOCOL):
        was = (current or found)[0]
        raise NotReadyError(
            f"the image for {variant} has sep {was.version} (protocol {was.protocol}), "
            f"this is {__version__} (protocol {PROTOCOL})",
            hint=IMAGE_SETUP,
        )
    image = current[0]
    if image.architecture != daemon.architecture:
        raise NotReadyError(
            f"the image for {variant} is for {image.architecture}, "
            f"this engine runs {daemon.architecture}",
            hint=IMAGE_SETUP,
        )
    return image
