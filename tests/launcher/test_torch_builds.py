"""The torch table: a row per kind of machine. No row here has run on such hardware but the CPU."""

from dataclasses import replace

import pytest

from sep_launcher.machine.host import Gpu, Host
from sep_launcher.setup import torch_builds
from sep_launcher.setup.torch_builds import choose, table
from sep_protocol.errors import NoRouteError, UsageError

LINUX = Host(system="linux", version="6.8")
WINDOWS = Host(system="windows", version="11")
MAC = Host(system="macos", version="15.1", arm=True)


def gpu(capability, driver="580.65.06", name="GPU"):
    return Gpu(name=name, driver=driver, capability=capability, memory=8 << 30)


def with_gpus(host, *gpus):
    return replace(host, gpus=gpus)


CPU = "https://download.pytorch.org/whl/cpu"
TABLE = [
    # machine, build, torch, index
    (MAC, "mps", "2.13.0", ""),
    (replace(MAC, version="13.6"), "mps", "2.11.0", ""),  # torch 2.12 needs macOS 14
    (LINUX, "cpu", "2.13.0+cpu", CPU),
    (replace(LINUX, arm=True), "cpu", "2.13.0+cpu", CPU),
    (WINDOWS, "cpu", "2.13.0+cpu", CPU),
    (replace(WINDOWS, arm=True), "cpu", "2.13.0+cpu", CPU),
    (with_gpus(LINUX, gpu(8.6)), "cu130", "2.13.0", ""),  # the ordinary index's own build
    (with_gpus(LINUX, gpu(12.0)), "cu130", "2.13.0", ""),
    (
        with_gpus(WINDOWS, gpu(8.9, "581.29")),
        "cu130",
        "2.13.0+cu130",
        "https://download.pytorch.org/whl/cu130",
    ),
    (
        with_gpus(replace(LINUX, arm=True), gpu(9.0)),
        "cu130",
        "2.13.0+cu130",
        "https://download.pytorch.org/whl/cu130",
    ),
    (
        with_gpus(LINUX, gpu(8.6, "550.144.03")),
        "cu128",
        "2.11.0+cu128",
        "https://download.pytorch.org/whl/cu128",
    ),
    (
        with_gpus(WINDOWS, gpu(7.5, "528.33")),
        "cu128",
        "2.11.0+cu128",
        "https://download.pytorch.org/whl/cu128",
    ),
    (with_gpus(WINDOWS, gpu(7.5, "527.41")), "cpu", "2.13.0+cpu", CPU),
    (
        with_gpus(LINUX, gpu(6.1)),  # a GTX 1080 with the newest driver
        "cu126",
        "2.10.0+cu126",
        "https://download.pytorch.org/whl/cu126",
    ),
    (
        with_gpus(LINUX, gpu(7.0)),  # a V100
        "cu128-volta",
        "2.10.0+cu128",
        "https://download.pytorch.org/whl/cu128",
    ),
    (
        with_gpus(LINUX, gpu(7.0), gpu(12.0)),  # beside an RTX 5090
        "cu128-volta",
        "2.10.0+cu128",
        "https://download.pytorch.org/whl/cu128",
    ),
    (
        with_gpus(LINUX, gpu(6.1), gpu(8.6)),  # the older card decides
        "cu126",
        "2.10.0+cu126",
        "https://download.pytorch.org/whl/cu126",
    ),
    (with_gpus(LINUX, gpu(6.1), gpu(12.0)), "cpu", "2.13.0+cpu", CPU),
    (with_gpus(LINUX, gpu(3.5)), "cpu", "2.13.0+cpu", CPU),
    (with_gpus(LINUX, gpu(8.6, "470.256.02")), "cpu", "2.13.0+cpu", CPU),
    (with_gpus(LINUX, gpu(8.6), gpu(8.6, "470.1")), "cpu", "2.13.0+cpu", CPU),
]


@pytest.mark.parametrize(("host", "build", "torch", "index"), TABLE)
def test_table(host, build, torch, index):
    found = choose(host).build
    assert (found.name, found.torch, found.index) == (build, torch, index)


def test_every_row_is_chosen_by_some_machine():
    chosen = {choose(host).build for host, *_ in TABLE}
    # On Windows the two oldest rows are those of Linux with another driver.
    chosen |= {choose(with_gpus(WINDOWS, gpu(cap))).build for cap in (6.1, 7.0)}
    assert chosen == set(table().build)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (with_gpus(LINUX, gpu(8.6, "470.256.02")), "driver is older than 525.60.13"),
        (with_gpus(LINUX, gpu(6.1), gpu(12.0)), "CUDA_VISIBLE_DEVICES"),
        (with_gpus(LINUX, gpu(3.5)), "compute capability 3.5"),
        (with_gpus(replace(WINDOWS, arm=True), gpu(8.7)), "no CUDA build for this system"),
        (LINUX, "no NVIDIA GPU"),
    ],
)
def test_a_cpu_build_says_why(host, why):
    found = choose(host)
    assert found.build.name == "cpu"
    assert why in found.reason


def test_intel_macs_are_refused_with_the_way_out():
    with pytest.raises(NoRouteError) as caught:
        choose(Host(system="macos", version="15", arm=False))
    assert "Docker" in caught.value.hint


@pytest.mark.parametrize(
    ("named", "torch", "index"),
    [
        ("cpu", "2.13.0+cpu", CPU),
        ("cu126", "2.10.0+cu126", "https://download.pytorch.org/whl/cu126"),
        ("2.9.1", "2.9.1+cpu", CPU),
        ("2.9.1+cu128", "2.9.1+cu128", "https://download.pytorch.org/whl/cu128"),
    ],
)
def test_the_user_may_name_another(named, torch, index):
    found = choose(LINUX, named)
    assert (found.build.torch, found.build.index) == (torch, index)
    assert named in found.reason


@pytest.mark.parametrize("named", ["cu999", "2.9.1+cu999", "mps", ""])
def test_a_name_that_no_row_has(named):
    if not named:
        assert choose(LINUX, named).build.name == "cpu"
        return
    with pytest.raises(UsageError, match=r"no torch build.*Linux"):
        choose(LINUX, named)


def test_another_index():
    assert choose(LINUX, index="https://mirror/whl").build.index == "https://mirror/whl"
    assert not choose(LINUX, index=torch_builds.DEFAULT).build.index


def test_the_wheel_indexes_are_named_in_the_table_alone():
    from pathlib import Path

    root = Path(torch_builds.__file__).parents[3]
    named = [
        path
        for folder in ("launcher", "runtime", "models", "containers", "installers")
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".toml", ".txt", ".sh", ".ps1", ".md", "")
        and path.is_file()
        and "pytorch.org/whl" in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert [path.name for path in named] == ["torch.toml"]
