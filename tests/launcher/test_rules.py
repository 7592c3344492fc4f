"""Every rule fires on facts that show its failure, and not on the nearest healthy ones."""

from dataclasses import replace

import pytest

from sep_launcher.doctor.catalogue import RULES, examine, explain
from sep_launcher.doctor.evidence import (
    Answers,
    Disk,
    Evidence,
    Graphics,
    Mount,
    Package,
    Ray,
    Recorded,
    Store,
    Tried,
    Weights,
)
from sep_launcher.machine.host import Docker, Gpu, Host, Native, Snr

GIB = 1 << 30
RTX = Gpu(name="RTX 3080", driver="580.65.06", capability=8.6, memory=10 * GIB)
GTX = replace(RTX, name="GTX 1080 Ti", capability=6.1)
B200 = replace(RTX, name="future", capability=15.0)

LINUX = Host(system="linux", version="6.8.0", cores=8, memory=32 * GIB)
NVIDIA = replace(LINUX, gpus=(RTX,))
MAC = Host(system="macos", version="15.1", arm=True, cores=8, memory=16 * GIB)
WINDOWS = Host(system="windows", version="11", cores=8, memory=16 * GIB)
WSL = replace(LINUX, wsl=True, version="5.15.153.1-microsoft-standard-WSL2")
NATIVE = Native(python="/env/bin/python", source="setup")
NAMED = replace(NATIVE, python="/opt/py", source="SEP_RUNTIME_PYTHON")
DOCKER = Docker(
    endpoint="unix:///var/run/docker.sock",
    version="28.2.2",
    memory=16 * GIB,
    system="linux",
    root="/var/lib/docker",
    api="1.50",
    runtimes=("runc",),
)
CPU_IMAGE = replace(DOCKER, images=("cpu",), digests=("sha256:1",))
CARD = Graphics(vendors=("nvidia",), driver="580.65.06", smi_here=True)
TOOLKIT = replace(CARD, toolkit=True)
MIXED = "Failed to initialize NVML: Driver/library version mismatch"
REFUSED = 'Docker cannot give the GPU to containers: could not select device driver ""'


def on(host=LINUX, **facts):
    return Evidence(host=host, **facts)


def docker(host=LINUX, was=DOCKER, **facts):
    return on(replace(host, docker=replace(was, **facts)))


def said(text, host=LINUX, **facts):
    return on(host, said=text, **facts)


def answers(host=LINUX, torch="2.13.0", native=NATIVE, packages=(), **facts):
    found = (Package(name="torch", version=torch), *packages)
    told = Answers(python="3.12.4", packages=found, **facts)
    return on(replace(host, native=native), answers=told)


def lacking(name, fault):
    return answers(packages=(Package(name=name, fault=fault),))


def disk(what, free=100 * GIB, *, writable=True):
    return on(disks=(Disk(what=what, path="/data", free=free, writable=writable),))


def tried(**facts):
    return on(tried=(Tried(engine="native", device="mps", **facts),))


RAY = Ray(
    version="2.60.0", has_token=True, file="/t", file_mode=0o600, shared_memory=GIB, temporary="/t"
)


def ray(host=LINUX, *, variables=(), **facts):
    here = replace(RAY, **facts)
    return on(host, ray=here, python="3.12", looked_far=True, variables=variables)


def mounted(kind, *options):
    return on(mounts=(Mount(where="SEP_OUT", point="/mnt", kind=kind, options=options),))


def store(missing):
    return on(stores=(Store(where="SEP_OUT", url="s3://bucket/out", missing=missing),))


HEAD = ("RAY_ADDRESS", "192.0.2.1:6379")

# id: (facts that it fires on, facts beside them that it does not fire on)
CASES = {
    "rosetta": (on(replace(MAC, rosetta=True)), on(MAC)),
    "intel-mac": (on(replace(MAC, arm=False)), on(replace(MAC, arm=False, docker=DOCKER))),
    "macos-version-hidden": (on(replace(MAC, version="10.16")), on(MAC)),
    "little-memory": (on(replace(LINUX, memory=2 * GIB)), on(LINUX)),
    "wsl-memory": (on(replace(WSL, memory=4 * GIB)), on(replace(LINUX, memory=4 * GIB))),
    "wsl-one": (on(replace(WSL, version="4.4.0-19041-Microsoft")), on(WSL)),
    "no-avx2": (on(avx2=False), on(avx2=None)),
    "one-core": (on(replace(LINUX, cores=0.5)), on(replace(LINUX, cores=2))),
    "illegal-instruction": (
        said("the runtime was ended by signal 4 without a last word"),
        said("the runtime was ended by signal 15 without a last word"),
    ),
    "killed": (
        said("the runtime was ended by signal 9 without a last word"),
        said("the runtime died at it 3 times: the runtime was ended by signal 9"),
    ),
    "python-variables": (
        on(replace(LINUX, native=NAMED), variables=(("PYTHONPATH", "/x"),)),
        on(replace(LINUX, native=NATIVE), variables=(("PYTHONPATH", "/x"),)),
    ),
    "nvidia-without-driver": (on(graphics=Graphics(vendors=("nvidia",))), on(graphics=CARD)),
    "nvidia-smi-missing": (
        on(graphics=Graphics(vendors=("nvidia",), driver="580.65.06")),
        on(graphics=CARD),
    ),
    "nvidia-driver-mixed": (
        on(graphics=replace(CARD, smi=MIXED)),
        on(graphics=replace(CARD, smi="No devices were found")),
    ),
    "nvidia-smi-fails": (
        on(graphics=replace(CARD, smi="No devices were found")),
        on(graphics=replace(CARD, smi=MIXED)),
    ),
    "nvidia-selinux": (
        on(graphics=replace(CARD, smi="Failed to initialize NVML: Insufficient Permissions")),
        on(graphics=replace(CARD, smi="No devices were found")),
    ),
    "nvidia-driver-old": (on(replace(LINUX, gpus=(replace(RTX, driver="470.1"),))), on(NVIDIA)),
    "gpu-without-kernels": (
        on(replace(LINUX, gpus=(B200,))),
        on(replace(LINUX, gpus=(GTX,))),
    ),
    "gpu-hidden": (
        on(graphics=replace(CARD, hidden="")),
        on(NVIDIA, graphics=replace(CARD, hidden="0")),
    ),
    "gpu-memory-small": (on(replace(LINUX, gpus=(replace(RTX, memory=2 * GIB),))), on(NVIDIA)),
    "gpu-memory-full": (said("out of memory: CUDA out of memory. Tried"), said("out of memory: x")),
    "gpu-not-supported": (
        on(graphics=Graphics(vendors=("amd", "intel"))),
        on(NVIDIA, graphics=Graphics(vendors=("intel", "nvidia"))),
    ),
    "wsl-linux-driver": (
        on(WSL, graphics=Graphics(wsl_library="/usr/lib/x86_64-linux-gnu/libcuda.so.1")),
        on(WSL, graphics=Graphics(wsl_library="/usr/lib/wsl/lib/libcuda.so.1")),
    ),
    "cuda-lost": (
        said("unexpected RuntimeError: CUDA unknown error - this may be due to"),
        said("unexpected RuntimeError: CUDA error: device-side assert"),
    ),
    "mps-without-limit": (
        on(MAC, variables=(("PYTORCH_MPS_HIGH_WATERMARK_RATIO", "0.0"),)),
        on(MAC, variables=(("PYTORCH_MPS_HIGH_WATERMARK_RATIO", "0.7"),)),
    ),
    "docker-stopped": (
        docker(fault="unix:///var/run/docker.sock does not answer (Connection refused)"),
        docker(),
    ),
    "docker-missing": (
        said("container cpu: no Docker engine was found"),
        said("container cpu: no Docker engine was found", docker_command="/usr/bin/docker"),
    ),
    "docker-host-silent": (
        replace(
            docker(endpoint="unix:///x", fault="unix:///x does not answer (timed out)"),
            variables=(("DOCKER_HOST", "unix:///x"),),
        ),
        docker(fault="unix:///x does not answer (timed out)"),
    ),
    "docker-permission": (
        docker(fault="no permission to use unix:///var/run/docker.sock"),
        docker(fault="unix:///x does not answer (timed out)"),
    ),
    "docker-context-unknown": (
        docker(fault="there is no Docker context called 'lab'"),
        docker(),
    ),
    "docker-remote": (docker(endpoint="tcp://192.0.2.1:2375", remote=True), docker()),
    "docker-sees-other-files": (
        said("the Docker daemon does not see this computer's files: invalid mount config"),
        said("the Docker daemon refused: invalid mount config"),
    ),
    "folder-not-shared": (
        said("Docker Desktop does not share this folder: Mounts denied: /Volumes/x"),
        said("the Docker daemon refused: no such container"),
    ),
    "place-not-mountable": (
        said("\\\\wsl$\\music is of a Linux machine: Docker cannot mount it"),
        said("/music cannot be written: Permission denied"),
    ),
    "docker-old": (docker(version="19.03.1", api="1.40"), docker()),
    "docker-windows-containers": (docker(WINDOWS, system="windows"), docker(WINDOWS)),
    "docker-disk-full": (
        said("the disk of the Docker daemon is full"),
        said("/out/song: the disk is full"),
    ),
    "docker-memory-small": (docker(memory=2 * GIB), docker(memory=8 * GIB)),
    "container-memory": (
        said("the container ran out of memory: its limit is 0.2 GiB"),
        said("out of memory: allocator"),
    ),
    "wsl-integration": (on(WSL, docker_command="/usr/bin/docker"), docker(WSL)),
    "toolkit-missing": (said(REFUSED), said(REFUSED, graphics=TOOLKIT)),
    "toolkit-not-configured": (said(REFUSED, graphics=TOOLKIT), said(REFUSED)),
    "cdi-stale": (
        on(graphics=replace(CARD, cdi=("565.77",))),
        on(graphics=replace(CARD, cdi=("580.65.06",))),
    ),
    "rootless-gpu": (
        said("nvidia-container-cli: mount error: bpf_prog_query(BPF_CGROUP_DEVICE) failed"),
        said("nvidia-container-cli: initialization error"),
    ),
    "docker-from-snap": (
        docker(NVIDIA, root="/var/snap/docker/common/var-lib-docker"),
        docker(NVIDIA),
    ),
    "docker-desktop-on-linux": (docker(NVIDIA, desktop=True), docker(desktop=True)),
    "podman": (docker(NVIDIA, podman=True), docker(podman=True)),
    "docker-hyper-v": (
        docker(replace(WINDOWS, gpus=(RTX,)), kernel="6.10.14-linuxkit"),
        docker(replace(WINDOWS, gpus=(RTX,)), kernel="5.15.153.1-microsoft-standard-WSL2"),
    ),
    "wsl-without-adapter": (
        said("nvidia-container-cli: WSL environment detected but no adapters were found"),
        said("nvidia-container-cli: initialization error: nvml error: driver not loaded"),
    ),
    "image-missing": (docker(), docker(was=CPU_IMAGE)),
    "image-stale": (
        docker(stale=("the image for cpu has sep 0.0.9 (protocol 1)",)),
        docker(was=CPU_IMAGE),
    ),
    "image-for-another-processor": (
        said("the image for cuda is for s390x, this engine runs amd64"),
        said("the image for cuda has sep 0.0.9 (protocol 1), this is 0.1.0 (protocol 1)"),
    ),
    "image-broken": (
        said("the image cannot run sep: No module named sep_runtime"),
        said("the runtime ended with code 1 without a last word"),
    ),
    "bundled-weights-damaged": (
        on(weights=(Weights(model="mdx23c-mini", path="/w", fault="it is cut off: 12 bytes"),)),
        on(weights=(Weights(model="larsnet", path="/w", fault="it is cut off", pulled=True),)),
    ),
    "weights-damaged": (
        on(weights=(Weights(model="larsnet", path="/w", fault="it is cut off", pulled=True),)),
        on(weights=(Weights(model="larsnet", path="/w", pulled=True),)),
    ),
    "memory-refused": (
        lacking("numpy", "ImportError: libopenblas.so: failed to map segment from shared object"),
        lacking("torch", "ImportError: libjemalloc.so: cannot allocate memory in static TLS block"),
    ),
    "runtime-crashed": (
        said("the runtime was ended by signal 11 without a last word"),
        said("the runtime was ended by signal 6 without a last word: what(): std::bad_alloc"),
    ),
    "no-model": (
        said("the model larsnet is not installed"),
        said("there is no model called nope"),
    ),
    "data-not-writable": (disk("data", writable=False), disk("data")),
    "output-not-writable": (disk("output", writable=False), disk("output")),
    "data-disk-full": (disk("data", 50 << 20), disk("data")),
    "temporary-disk-full": (disk("temporary", 50 << 20), disk("temporary")),
    "output-disk-full": (said("/out/song: the disk is full"), disk("output")),
    "nothing-set-up": (on(), on(replace(LINUX, native=NATIVE))),
    "environment-stale": (
        on(recorded=Recorded(python="/env/bin/python", version="0.0.9", exists=True)),
        on(
            replace(LINUX, native=NATIVE),
            recorded=Recorded(python="/env/bin/python", version="0.1.0", exists=True),
        ),
    ),
    "environment-gone": (
        on(recorded=Recorded(python="/env/bin/python", version="0.1.0", exists=False)),
        on(recorded=Recorded(python="/env/bin/python", version="0.1.0", exists=True)),
    ),
    "facts-damaged": (on(recorded=Recorded(fault="facts.json: Expecting value")), on()),
    "runtime-python-missing": (
        on(replace(LINUX, native=NAMED), answers=Answers(fault="/opt/py cannot be started: no")),
        on(replace(LINUX, native=NATIVE), answers=Answers(fault="/py cannot be started: no")),
    ),
    "environment-broken": (
        on(replace(LINUX, native=NATIVE), answers=Answers(fault="/py ended by signal 11: ")),
        answers(),
    ),
    "python-old": (
        on(replace(LINUX, native=NAMED), answers=Answers(python="3.9.16")),
        on(replace(LINUX, native=NAMED), answers=Answers(python="3.11.2")),
    ),
    "environment-incomplete": (
        lacking("soxr", "ModuleNotFoundError: No module named 'soxr'"),
        lacking("torchaudio", "OSError: libc10_cuda.so"),
    ),
    "torch-missing": (
        on(
            replace(LINUX, native=NATIVE),
            answers=Answers(packages=(Package(name="torch", fault="No module named 'torch'"),)),
        ),
        answers(),
    ),
    "torch-not-importable": (
        on(
            replace(LINUX, native=NATIVE),
            answers=Answers(packages=(Package(name="torch", fault="OSError: libtorch_cpu.so"),)),
        ),
        on(
            replace(LINUX, native=NATIVE),
            answers=Answers(packages=(Package(name="torch", fault="No module named 'torch'"),)),
        ),
    ),
    "torch-untested": (answers(torch="2.14.0"), answers(torch="2.6.0+cu124")),
    "torchaudio-of-another-torch": (
        lacking("torchaudio", "OSError: libc10_cuda.so: cannot open shared object file"),
        lacking("soxr", "ModuleNotFoundError: No module named 'soxr'"),
    ),
    "onnx-twice": (
        answers(onnx=("onnxruntime", "onnxruntime-gpu")),
        answers(onnx=("onnxruntime-gpu",)),
    ),
    "torch-without-cuda": (answers(NVIDIA, torch="2.13.0+cpu"), answers(NVIDIA, cuda="13.0")),
    "torch-without-kernels": (
        answers(replace(LINUX, gpus=(GTX,)), cuda="13.0", architectures=("sm_75", "sm_86")),
        answers(NVIDIA, cuda="13.0", architectures=("sm_75", "sm_80", "compute_120")),
    ),
    "cuda-not-available": (
        answers(NVIDIA, cuda="13.0", cuda_available=False),
        answers(NVIDIA, cuda="13.0", cuda_available=True),
    ),
    "cudnn-missing": (
        said("unexpected OSError: libcudnn_ops.so.9: cannot open shared object file"),
        said("unexpected OSError: libsndfile.so: cannot open shared object file"),
    ),
    "torch-without-mps": (answers(MAC, mps_built=False), answers(MAC, mps_built=True)),
    "mps-not-available": (
        answers(MAC, mps_built=True, mps_available=False),
        answers(MAC, mps_built=True, mps_available=True),
    ),
    "mps-in-virtual-machine": (answers(MAC, virtual=True), answers(MAC, virtual=False)),
    "mps-does-not-work": (
        answers(MAC, mps_available=True, mps_fault="RuntimeError: x", virtual=False),
        answers(MAC, mps_available=True, mps_fault="RuntimeError: x", virtual=True),
    ),
    "mps-operator-missing": (
        said("unexpected NotImplementedError: The operator 'aten::x' is not currently "
             "implemented for the MPS device"),
        said("unexpected NotImplementedError: x"),
    ),
    "device-wrong": (tried(snr=31.0), tried(snr=55.0)),
    "device-inexact": (tried(snr=55.0), tried(snr=90.0)),
    "precision-not-good": (
        tried(precision="fp16", snr=31.0),
        tried(precision="fp16", snr=58.0),
    ),
    "way-fails": (tried(fault="device mps cannot be used"), tried(snr=90.0)),
    "faster-way": (
        on(replace(NVIDIA, docker=CPU_IMAGE)),
        on(replace(LINUX, docker=CPU_IMAGE)),
    ),
    "ray-missing": (
        on(looked_far=True, variables=(("SEP_ENGINE", "ray"),)),
        ray(variables=(("SEP_ENGINE", "ray"),)),
    ),
    "ray-version": (ray(version="2.58.0"), ray(version="2.61.1")),
    "ray-of-another": (
        ray(command="/usr/bin/ray", command_version="2.60.0", command_python="3.11"),
        ray(command="/usr/bin/ray", command_version="2.60.0", command_python="3.12"),
    ),
    "ray-address": (
        ray(variables=(("RAY_ADDRESS", "ray://192.0.2.1:10001"),)),
        ray(variables=(HEAD,)),
    ),
    "ray-token-missing": (
        ray(variables=(HEAD,), has_token=False),
        ray(variables=(HEAD, ("RAY_USE_TLS", "1")), has_token=False),
    ),
    "ray-token-readable": (ray(file_mode=0o644), ray(file_mode=0o400)),
    "ray-open": (
        ray(variables=(("RAY_AUTH_MODE", "disabled"),)),
        ray(variables=(("RAY_AUTH_MODE", "token"),)),
    ),
    "ray-shared-memory": (
        ray(shared_memory=64 << 20),
        ray(MAC, shared_memory=64 << 20),
    ),
    "ray-socket-path": (ray(temporary="/" + "t" * 39), ray(temporary="/" + "t" * 38)),
    "locks-not-shared": (mounted("nfs", "nolock", "vers=3"), mounted("nfs4", "nolock")),
    "cloud-missing": (store("s3fs"), store("")),
    "clock-wrong": (
        said("s3://b/x could not be listed: it is refused (The difference between the request "
             "time and the current time is too large.)"),
        said("s3://b/x could not be listed: it is refused (Access Denied)"),
    ),
    "store-refuses": (
        said("s3://b/x could not be listed: it is refused (Access Denied)"),
        said("s3://b/x could not be listed: the store has no such names"),
    ),
    "store-unreachable": (
        said("s3://b/x could not be fetched: the store says 503, 7 times"),
        said("s3://b/x could not be fetched: it is not there"),
    ),
    "runtime-silent": (
        said("the runtime died at it 3 times: nothing was heard of the runtime for 120 s"),
        said("the runtime was ended by signal 9 without a last word"),
    ),
    "track-quarantined": (
        said("the runtime died at it 3 times: the runtime was ended by signal 9"),
        said("the runtime was ended by signal 9 without a last word"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_rule(rule):
    fires, beside = CASES[rule.id]
    finding = rule.examine(fires)
    assert finding is not None
    assert rule.examine(beside) is None
    assert finding.detail
    assert finding.fix
    assert finding.title[0].isupper()
    assert not finding.title.endswith(".")


def test_every_rule_is_in_the_table_and_has_a_name_of_its_own():
    names = [rule.id for rule in RULES]
    assert sorted(names) == sorted(CASES)
    assert len(set(names)) == len(names)


BAD = Snr(device="cuda", precision="fp16", decibels=31.0)


@pytest.mark.parametrize(
    ("evidence", "detail"),
    [
        (tried(precision="fp16", fault="it broke"), "native mps fp16: it fails"),
        (tried(precision="fp16", refused="there is none"), None),
        (tried(precision="fp32", snr=31.0), None),  # that is another rule's
        (on(replace(NVIDIA, native=replace(NATIVE, snr=(BAD,)))), "native cuda fp16: 31 dB"),
        (
            on(replace(NVIDIA, docker=replace(CPU_IMAGE, snr=(BAD,)))),
            "container cuda fp16: 31 dB",
        ),
        (on(replace(NVIDIA, native=replace(NATIVE, snr=(replace(BAD, decibels=58.0),)))), None),
        # What was tried just now counts more than what was noted before.
        (
            replace(
                tried(precision="fp16", snr=58.0),
                host=replace(NVIDIA, native=replace(NATIVE, snr=(BAD,))),
            ),
            None,
        ),
        # Nobody gets it on the CPU who does not name it.
        (on(tried=(Tried(engine="native", device="cpu", precision="bf16", snr=37.0),)), None),
    ],
)
def test_a_precision_that_did_not_pass(evidence, detail):
    found = {each.id: each.detail for each in examine(evidence)}
    assert found.get("precision-not-good") == detail
    if detail:
        assert not {"device-wrong", "way-fails"} & set(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_every_rule_has_a_fix_for_every_system(rule):
    for system in ("linux", "macos", "windows"):
        assert rule.fix.on(system)
        assert "\n" not in rule.fix.on(system)


HEALTHY = {
    "linux": answers(replace(LINUX, native=NATIVE)),
    "nvidia": replace(
        answers(
            replace(NVIDIA, docker=replace(DOCKER, images=("cuda",), digests=("sha256:1",))),
            torch="2.13.0",
            cuda="13.0",
            cuda_available=True,
            architectures=("sm_75", "sm_80", "sm_86"),
        ),
        graphics=TOOLKIT,
        avx2=True,
    ),
    "mac": answers(MAC, mps_built=True, mps_available=True, virtual=False),
    "windows": answers(WINDOWS),
    "cluster": replace(answers(LINUX), ray=RAY, python="3.12", looked_far=True, variables=(HEAD,)),
    "wsl": answers(WSL),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_wrong_with_a_healthy_machine(name):
    assert examine(HEALTHY[name]) == []


@pytest.mark.parametrize(
    ("kind", "option", "fires"),
    [
        ("nfs", "local_lock=none", False),
        ("nfs", "local_lock=flock", True),
        ("nfs", "local_lock=posix", False),  # sep's locks are of the other kind
        ("nfs4", "local_lock=all", True),
        ("lustre", "flock", False),
        ("lustre", "localflock", True),
    ],
)
def test_locks_of_a_shared_disk(kind, option, fires):
    (told,) = [each.detail for each in examine(mounted(kind, option)) if "locks" in each.id] or [""]
    assert (option in told) == fires


@pytest.mark.parametrize("address", ["auto", "local", "ray://h:10001", "head", "h:port", ":6379"])
def test_addresses_of_ray_that_sep_does_not_take(address):
    found = examine(ray(variables=(("RAY_ADDRESS", address),)))
    assert "ray-address" in {each.id for each in found}


def test_what_runs_do_not_use_is_a_warning():
    fault = replace(DOCKER, fault="unix:///x does not answer (timed out)")
    (alone,) = [each for each in examine(on(replace(LINUX, docker=fault))) if "docker" in each.id]
    (beside,) = examine(on(replace(LINUX, docker=fault, native=NATIVE)))
    assert (alone.id, alone.severity) == ("docker-stopped", "error")
    assert (beside.id, beside.severity) == ("docker-stopped", "warning")


def test_fixes_name_this_machine():
    fault = "OSError: libc10_cuda.so: cannot open shared object file"
    (found,) = examine(lacking("torchaudio", fault))
    assert found.fix.startswith("/env/bin/python -m pip uninstall torchaudio")
    (found,) = [each for each in examine(disk("data", writable=False)) if "data" in each.id]
    assert '"/data"' in found.fix


def test_an_engine_that_was_not_found_is_stopped_or_missing():
    message = "container cpu: no Docker engine was found"
    here = explain(on(docker_command="/usr/bin/docker"), message)
    absent = explain(on(), message)
    assert here is not None
    assert absent is not None
    assert (here.id, absent.id) == ("docker-stopped", "docker-missing")


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("setup", "sep setup --repair"),
        ("SEP_RUNTIME_PYTHON", "unset SEP_RUNTIME_PYTHON, or"),
        ("own", "in a clone of sep: /env/bin/python -m pip install"),
    ],
)
def test_setup_mends_its_own_environment_alone(source, fix):
    fault = (Package(name="soxr", fault="ModuleNotFoundError: No module named 'soxr'"),)
    (found,) = examine(answers(native=replace(NATIVE, source=source), packages=fault))
    assert found.fix.startswith(fix)


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (REFUSED, "toolkit-missing"),
        ("container cpu: Docker: no permission to use unix:///x", "docker-permission"),
        ("container cpu: Docker: unix:///x does not answer (timed out)", "docker-stopped"),
        ("the Docker daemon does not answer: Connection aborted", "docker-stopped"),
        ("there is no image for cuda", "image-missing"),
        ("the image for cpu has sep 0.0.9 (protocol 1), this is 0.1.0 (protocol 1)", "image-stale"),
        ("/py has sep 0.0.9 (protocol 1), this is 0.1.0 (protocol 1)", "environment-stale"),
        ("no Python environment with torch is set up", "nothing-set-up"),
        ("the weights w.safetensors are damaged: header too large", "weights-damaged"),
        ("the weights /m/w.ckpt are damaged: their end is missing", "weights-damaged"),
        ("the weights of larsnet are damaged: their SHA-256 is not the one noted",
         "weights-damaged"),
        ("the weights of mdx23c-mini are damaged: their SHA-256 is not the recorded one",
         "bundled-weights-damaged"),
        ("the weights are not this network's: 80 missing, first 'first_conv.weight'", None),
        ("/m/w.ckpt holds no state dict", None),
        ("/m/w.ckpt is a web page, not weights", None),
        ("/m/w.ckpt holds more than weights, 'os.system', so it is not loaded", None),
        ("the weights /m/w.ckpt cannot be read: Permission denied", None),
        ("out of memory: libtorch_cpu.so: failed to map segment from shared object",
         "memory-refused"),
        ("the runtime was ended by signal 6 without a last word: std::bad_alloc",
         "memory-refused"),
        ("the container ran out of memory: its limit is 0.2 GiB", "container-memory"),
        ("the runtime's environment is not complete: No module named 'soxr'",
         "environment-incomplete"),
        ("the runtime died at it 3 times: the runtime was ended by signal 9 without a last word",
         "track-quarantined"),
        ("the runtime died at it 3 times: the runtime was ended by signal 11 without a last word",
         "runtime-crashed"),
        ("the runtime died at it 2 times: nothing was heard of the runtime for 900 s",
         "runtime-silent"),
        ("3 tracks died one after the other on h, and none was done: ended by signal 9", "killed"),
        ("the runtime died at it 3 times: the GPU has too little memory", "track-quarantined"),
        ("Ray is not installed beside sep", "ray-missing"),
        ("Ray: Version mismatch: The cluster was started with Ray 2.58.0", "ray-of-another"),
        ("the Ray cluster at h:1 has no token: whoever reaches it runs code there", "ray-open"),
        ("the Ray cluster at h:1 asks for a token, and none is here", "ray-token-missing"),
        ("the Ray cluster at h:1 has another token", "ray-token-missing"),
        ("s3:// needs packages that are not installed", "cloud-missing"),
        ("s3://b/x could not be stored: there are no credentials for it", "store-refuses"),
        ("s3://b/x could not be stored: it is refused (RequestTimeTooSkewed)", "clock-wrong"),
        ("gs://b/x could not be stored: no answer came in time, 7 times", "store-unreachable"),
        ("s3://b/x could not be listed: the store has no such names", None),
        ("another sep works here: process 12 on host", None),
        ("there is no file song.wav", None),
        ("song.wav is no audio file", None),
    ],
)  # fmt: skip
def test_a_failed_run_is_explained_by_its_own_words(message, rule):
    """Whatever else is wrong with the machine: what was wrong before is not behind it."""
    worn = replace(
        on(replace(LINUX, docker=replace(DOCKER, fault="x does not answer"))),
        variables=(("PYTHONPATH", "/x"),),
        docker_command="/usr/bin/docker",
    )
    found = explain(worn, message)
    assert (found.id if found else None) == rule
