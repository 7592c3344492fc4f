"""Container images: built from this installation, loaded from a tar, checked, taken away."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sep_launcher.engines.docker import images
from sep_launcher.engines.docker.container import ContainerEngine
from sep_launcher.machine import facts, paths
from sep_launcher.planning import route
from sep_launcher.setup import golden, torch_builds
from sep_launcher.setup.build import REPOSITORY, build, digest_of
from sep_launcher.setup.wheel import wheel_of_this
from sep_protocol.errors import (
    EngineError,
    NotReadyError,
    PathError,
    SepError,
)
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from sep_launcher.engines.docker.daemon import Daemon, Image
    from sep_launcher.machine.host import Docker, Host
    from sep_launcher.show.screen import Screen
    from sep_protocol import Precision

Variant = Literal["cpu", "cuda"]
LEFT = "what image builds have left that did not end well"
OTHER = 400  # MB: base and packages beside torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked of an image."""

    variant: Variant | None = None  # None: the one for this machine
    base: str | None = None
    index: str | None = None  # of packages
    torch: str | None = None
    torch_index: str | None = None
    wheelhouse: Path | None = None
    certificate: Path | None = None
    archive: Path | None = None  # a tar to load instead of building
    network: str | None = None  # of the build
    repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What has to be done; `done` where the image is there."""

    variant: Variant
    build: torch_builds.Build
    reason: str  # for torch's build
    wheel: Path
    digest: str  # of what goes into the image
    endpoint: str
    done: bool


def plan(host: Host, wish: Wish) -> Work:
    """Return the work; writes this installation's wheel into the cache and nothing else.

    Raises EngineError where no daemon answers, PathError for a named file that is missing.
    """
    docker = reachable(host)
    for path in (wish.wheelhouse, wish.certificate, wish.archive):
        if path is not None and not path.exists():
            raise PathError(f"there is no {path}")
    daemon = _connected(docker)
    try:
        variant = wish.variant or ("cuda" if _can_use_gpu(host) else "cpu")
        inside = replace(host, system="linux", arm=daemon.architecture == "arm64")
        if variant == "cpu":
            inside = replace(inside, gpus=())
        named = wish.torch or ("cu130" if variant == "cuda" and not host.gpus else None)
        choice = torch_builds.choose(inside, named, wish.torch_index)
        if variant == "cuda" and not choice.build.cuda:
            raise NotReadyError(f"no CUDA build of PyTorch fits: {choice.reason}")
        wheel = wheel_of_this(paths.cache() / "wheels")
        digest = digest_of(wheel, choice.build.torch, variant)
        there = next((each for each in daemon.images() if each.wheel == digest), None)
    finally:
        daemon.close()
    return Work(
        variant=variant,
        build=choice.build,
        reason=choice.reason,
        wheel=wheel,
        digest=digest,
        endpoint=docker.endpoint,
        done=there is not None and not wish.repair and wish.archive is None,
    )


def reachable(host: Host) -> Docker:
    """Return the endpoint, or raise EngineError with what is wrong with it."""
    docker = host.docker
    if docker is None:
        raise EngineError(route.NO_ENGINE, hint="sep setup --engine native")
    if docker.remote:
        raise EngineError(route.REMOTE, hint="unset DOCKER_HOST, or sep setup --engine native")
    if docker.fault:
        raise EngineError(f"Docker: {docker.fault}", hint="start Docker, or take --engine native")
    return docker


def _can_use_gpu(host: Host) -> bool:
    """Say whether CUDA in a container is a way that is not known to fail."""
    ways = route.candidates(host, "")
    return any(
        (way.engine, way.device) == ("container", "cuda") and not way.refused for way in ways
    )


def _connected(docker: Docker) -> Daemon:
    from sep_launcher.engines.docker.daemon import Daemon  # noqa: PLC0415 (0.2 s)

    return Daemon(docker.endpoint)


def described(work: Work, wish: Wish) -> list[str]:
    """Return what people read before they say yes."""
    if wish.archive:
        return [f"the image in {wish.archive}, loaded into {work.endpoint}"]
    build = work.build
    fetched, taken = (build.fetched + OTHER) / 1000, (build.installed + OTHER) / 1000
    base = wish.base or "python:3.13-slim"
    fetch = "" if wish.wheelhouse else f"fetches about {fetched:.1f} GB, then "
    return [
        f"the image {REPOSITORY}:{work.variant} with PyTorch {build.torch} ({work.reason})",
        f"in {work.endpoint}, on {base}",
        f"{fetch}takes {taken:.1f} GB of the engine's disk, for a while twice that",
        "then separates a clip of four seconds to see what works",
    ]


def carry_out(host: Host, work: Work, wish: Wish, screen: Screen) -> None:
    """Build or load the image, check it, record it; images that it replaces go.

    Raises NotReadyError where it cannot be made; the image before it stays then.
    """
    docker = reachable(host)
    facts.check()  # what cannot be noted need not be made
    daemon = _connected(docker)
    try:
        if wish.archive:
            with wish.archive.open("rb") as archive:
                for line in daemon.load(archive):
                    screen.log(line)
        elif not work.done:
            build(daemon, work, wish, screen)
        image = images.find(daemon, work.variant)
        _tag(daemon, image)
        screen.say(f"image: {image.size / 1e9:.2f} GB, {image.id.removeprefix('sha256:')[:12]}")
        _check(host, image, work, screen)
        for other in daemon.images():
            if other.variant == image.variant and other.id != image.id:
                with contextlib.suppress(SepError):  # a run may be using it
                    daemon.remove_image(other.id)
    finally:
        daemon.close()
        shutil.rmtree(paths.cache() / "wheels", ignore_errors=True)


def _tag(daemon: Daemon, image: Image) -> None:
    for tag in (image.variant, f"{__version__}-{image.variant}"):
        daemon.tag(image.id, f"{REPOSITORY}:{tag}")


def _check(host: Host, image: Image, work: Work, screen: Screen) -> None:
    """Separate the golden clip in the container; record whether it could use the GPU."""
    gpu: route.Kind | None = "cuda" if work.variant == "cuda" and host.gpus else None
    places = ", on the GPU and on the CPU" if gpu else ""
    screen.say(f"checking it with a clip of four seconds{places} ...")

    def run(device: route.Kind, precision: Precision, folder: Path) -> golden.Passed:
        chosen = route.Route(engine="container", device=device, reason="a check", ready=True)
        engine = ContainerEngine(screen.log, image.id)
        return golden.separated(host, chosen, device, engine, precision=precision, folder=folder)

    found = golden.measured(gpu, run, lambda _, fault: screen.warn(fault.message, fault.hint))
    device = found.passed.device
    check = facts.Check(
        python=image.id,
        machine=facts.fingerprint(host.system, host.version, host.gpus),
        torch=device.torch,
        cuda=found.works,
        snr=found.snr,
    )
    facts.write(facts.read().with_check(check))
    took = f"{found.passed.seconds:.1f} s"
    screen.say(f"works: {took} on {device.device} ({device.name}), {device.torch}")
    for line in golden.told(found.snr):
        screen.say(f"  {line}")
    if found.works is False:
        screen.warn("containers cannot use the NVIDIA GPU here; runs take another way")


def removable(host: Host) -> list[str]:
    """Return the images of ours that a daemon has, of all versions."""
    docker = host.docker
    if docker is None or docker.fault or docker.remote:
        return []
    daemon = _connected(docker)
    try:
        found = [f"{each.variant} image of sep {each.version}" for each in daemon.images()]
        return [*found, LEFT] if daemon.unfinished() else found
    finally:
        daemon.close()


def remove(host: Host, screen: Screen) -> None:
    """Take our images away; what is left of our containers, too."""
    daemon = _connected(reachable(host))
    try:
        for container, _ in daemon.containers():
            daemon.remove(container)
        for image in daemon.images():
            screen.say(f"removing the {image.variant} image of sep {image.version}")
            daemon.remove_image(image.id)
        daemon.remove_unfinished()
    finally:
        daemon.close()
