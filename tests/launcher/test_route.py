"""The routing table: a row per kind of machine, facts in, choice and reason out."""

from dataclasses import replace

import pytest

from sep_launcher.machine.host import Docker, Gpu, Host, Native
from sep_launcher.planning.route import Wanted, choose
from sep_protocol.errors import DeviceError, NoRouteError, UsageError

GPU = Gpu(name="RTX 3080", driver="580.1", capability=8.6, memory=10 << 30)
DOCKER = Docker(endpoint="unix:///var/run/docker.sock", version="28")
CPU_IMAGE = replace(DOCKER, images=("cpu",))
CUDA_IMAGE = replace(DOCKER, images=("cpu", "cuda"))
DOWN = Docker(endpoint="unix:///x", fault="it does not answer")
OWN = Native(python="/py", source="own")
CUDA_ENV = replace(OWN, torch="2.13.0+cu128", cuda=True)
CPU_ENV = replace(OWN, torch="2.13.0+cpu", cuda=False)

MAC = Host(system="macos", arm=True)
LINUX = Host(system="linux")
WINDOWS = Host(system="windows")
NVIDIA = replace(LINUX, gpus=(GPU,))

TABLE = [
    # host, engine, device, ready, part of the reason
    (replace(MAC, native=OWN), "native", "mps", True, "Metal"),
    (replace(MAC, native=OWN, docker=CPU_IMAGE), "native", "mps", True, "Metal"),
    (replace(MAC, native=replace(OWN, mps=False)), "native", "cpu", True, "Metal is not used"),
    (MAC, "native", "mps", False, "Metal"),
    (replace(MAC, docker=CPU_IMAGE), "container", "cpu", True, "mps would be faster"),
    (Host(system="macos", docker=CPU_IMAGE), "container", "cpu", True, "no GPU"),
    (Host(system="macos", docker=DOCKER, native=OWN), "container", "cpu", False, "no GPU"),
    (replace(NVIDIA, docker=CUDA_IMAGE), "container", "cuda", True, "RTX 3080"),
    (replace(NVIDIA, docker=CUDA_IMAGE, native=CUDA_ENV), "container", "cuda", True, "Docker"),
    (replace(NVIDIA, docker=DOCKER, native=CUDA_ENV), "native", "cuda", True, "no container image"),
    (replace(NVIDIA, docker=DOCKER), "container", "cuda", False, "RTX 3080"),
    (
        replace(NVIDIA, docker=replace(CUDA_IMAGE, gpu=False), native=CUDA_ENV),
        "native",
        "cuda",
        True,
        "could not use the GPU",
    ),
    (
        replace(NVIDIA, docker=replace(CUDA_IMAGE, gpu=False)),
        "container",
        "cpu",
        True,
        "native cuda",
    ),
    (replace(NVIDIA, native=CUDA_ENV), "native", "cuda", True, "no Docker engine"),
    (replace(NVIDIA, docker=DOWN, native=CUDA_ENV), "native", "cuda", True, "does not answer"),
    (replace(NVIDIA, native=CPU_ENV), "native", "cpu", True, "no Docker engine"),
    (replace(NVIDIA, docker=CPU_IMAGE, native=CPU_ENV), "container", "cpu", True, "container cuda"),
    (replace(NVIDIA, docker=replace(CUDA_IMAGE, podman=True)), "container", "cuda", True, "Docker"),
    (
        replace(NVIDIA, docker=replace(CUDA_IMAGE, desktop=True), native=CUDA_ENV),
        "native",
        "cuda",
        True,
        "Docker Desktop on Linux",
    ),
    (replace(WINDOWS, gpus=(GPU,), native=CUDA_ENV), "native", "cuda", True, "no Docker engine"),
    (
        replace(WINDOWS, gpus=(GPU,), docker=replace(CUDA_IMAGE, desktop=True)),
        "container",
        "cuda",
        True,
        "RTX 3080",
    ),
    (replace(WINDOWS, gpus=(GPU,)), "native", "cuda", False, "no Docker engine"),
    (replace(LINUX, docker=CPU_IMAGE, native=OWN), "container", "cpu", True, "no GPU found"),
    (replace(LINUX, docker=DOCKER, native=OWN), "native", "cpu", True, "no container image"),
    (replace(LINUX, docker=DOCKER), "container", "cpu", False, "no GPU found"),
    (LINUX, "native", "cpu", False, "no Docker engine"),
    (replace(LINUX, native=OWN), "native", "cpu", True, "no Docker engine"),
    (
        replace(LINUX, docker=replace(CPU_IMAGE, remote=True), native=OWN),
        "native",
        "cpu",
        True,
        "another machine",
    ),
    (
        replace(LINUX, docker=CPU_IMAGE, native=OWN, in_container=True),
        "native",
        "cpu",
        True,
        "already inside a container",
    ),
    (
        replace(NVIDIA, docker=CUDA_IMAGE, native=CUDA_ENV, batch_system="Slurm"),
        "native",
        "cuda",
        True,
        "Slurm",
    ),
]


@pytest.mark.parametrize(("host", "engine", "device", "ready", "reason"), TABLE)
def test_table(host, engine, device, ready, reason):
    route = choose(host)
    assert (route.engine, route.device, route.ready) == (engine, device, ready)
    assert reason in route.reason


def test_every_other_way_is_told_with_why():
    route = choose(replace(NVIDIA, docker=DOWN, native=CPU_ENV))
    told = {(each.engine, each.device): each.refused for each in route.alternatives}
    assert told == {
        ("container", "cuda"): "Docker: it does not answer",
        ("native", "cuda"): "its torch 2.13.0+cpu has no CUDA",
        ("container", "cpu"): "Docker: it does not answer",
    }


def test_missing_image_is_not_told_as_docker_without_gpu():
    route = choose(replace(NVIDIA, docker=DOCKER, native=CUDA_ENV))
    container = next(each for each in route.alternatives if each.engine == "container")
    assert not container.refused
    assert not container.ready


@pytest.mark.parametrize(
    ("wanted", "engine", "device"),
    [
        (Wanted(engine="native"), "native", "cuda"),
        (Wanted(device="cpu"), "container", "cpu"),
        (Wanted(engine="native", device="cpu"), "native", "cpu"),
        (Wanted(device="cuda:0"), "container", "cuda"),
    ],
)
def test_what_is_named_is_kept(wanted, engine, device):
    route = choose(replace(NVIDIA, docker=CUDA_IMAGE, native=CUDA_ENV), wanted)
    assert (route.engine, route.device) == (engine, device)
    assert "you asked for" in route.reason


def test_named_container_is_tried_inside_a_container_too():
    host = replace(LINUX, docker=CPU_IMAGE, in_container=True)
    assert choose(host, Wanted(engine="container")).engine == "container"


NAMED = replace(OWN, source="SEP_RUNTIME_PYTHON")


@pytest.mark.parametrize("native", [CUDA_ENV, NAMED])
def test_cuda_that_nvidia_smi_does_not_show_is_left_to_the_runtime(native):
    route = choose(replace(LINUX, native=native), Wanted(device="cuda"))
    assert (route.engine, route.device, route.ready) == ("native", "cuda", True)


@pytest.mark.parametrize("native", [None, OWN, CPU_ENV, replace(NAMED, cuda=False)])
@pytest.mark.parametrize("engine", ["auto", "native"])
@pytest.mark.parametrize("host", [LINUX, WINDOWS, MAC, replace(LINUX, docker=CUDA_IMAGE)])
def test_cuda_without_any_sign_of_it_is_refused(host, native, engine):
    with pytest.raises(DeviceError, match="there is no NVIDIA GPU"):
        choose(replace(host, native=native), Wanted(device="cuda:1", engine=engine))


@pytest.mark.parametrize("host", [LINUX, WINDOWS, NVIDIA])
def test_mps_elsewhere_is_refused(host):
    with pytest.raises(DeviceError, match="mps"):
        choose(replace(host, native=OWN), Wanted(device="mps"))


def test_mps_in_a_container_is_refused():
    with pytest.raises(DeviceError, match="--engine container"):
        choose(replace(MAC, docker=CPU_IMAGE), Wanted(engine="container", device="mps"))


def test_rosetta_stops_with_the_fix():
    with pytest.raises(NoRouteError) as caught:
        choose(replace(MAC, rosetta=True))
    assert "arm64" in caught.value.hint


def test_remote_engine_by_name_is_refused_with_the_reason():
    host = replace(LINUX, docker=replace(DOCKER, remote=True), native=OWN)
    with pytest.raises(NoRouteError, match="another machine"):
        choose(host, Wanted(engine="container"))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:99999999999", "", "CPU"])
def test_what_is_no_device_is_no_wish(device):
    with pytest.raises(UsageError, match="there is no device"):
        Wanted(device=device)


def test_without_a_driver_torch_for_cuda_is_no_sign():
    host = replace(LINUX, native=CUDA_ENV)
    assert choose(host, Wanted(device="cuda")).device == "cuda"
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        choose(replace(host, nvidia=False), Wanted(device="cuda"))
