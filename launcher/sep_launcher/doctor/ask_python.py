"""Run by the runtime's Python, of whatever version 3: says what can be imported there.

A line of JSON for each answer, as it comes: an import that crashes loses only what would follow.
"""

import json
import os
import platform
import subprocess
import sys
import time
import warnings
from importlib import import_module

BEGUN = time.time()
HERE = os.path.dirname(os.path.abspath(__file__))
# The folder of this script is no package of that Python's.
sys.path[:] = [each for each in sys.path if os.path.abspath(each or ".") != HERE]
PLAIN = ("numpy", "soundfile", "soxr", "av", "safetensors", "yaml")
SYSCTL = ["/usr/sbin/sysctl", "-n", "kern.hv_vmm_present"]


def tell(**facts: object) -> None:
    """Print some answers."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def first_line(fault: object) -> str:
    """Return what an exception says, and the one that caused it, in one line."""
    text = str(fault).strip().splitlines()
    told = "{}: {}".format(type(fault).__name__, text[0] if text else "")
    cause = getattr(fault, "__cause__", None)
    return told if cause is None else told + "; " + first_line(cause)


def look(name: str, version_in: str = ""):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Import a package; tell its version or why it cannot be."""
    tell(importing=name)
    try:
        module = import_module(name)
        version = getattr(import_module(version_in or name), "__version__", "here")
    except BaseException as fault:  # a foreign package may do anything
        tell(package={"name": name, "fault": first_line(fault)})
        return None
    tell(package={"name": name, "version": str(version)})
    return module


def distributions() -> dict:  # type: ignore[type-arg]
    """Return names and versions of all that is installed there."""
    try:
        metadata = import_module("importlib.metadata")
    except ImportError:
        return {}
    found = [(each.metadata["Name"], each.version) for each in metadata.distributions()]
    return {name: version for name, version in found if name}


def about_cuda(torch) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Tell what a torch that was built for CUDA can do here."""
    flags = getattr(torch._C, "_cuda_getArchFlags", None)
    if flags is not None:
        tell(architectures=(flags() or "").split())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = bool(torch.cuda.is_available())
    fault = "".join(first_line(each.message) for each in caught[:1])
    if not fault and not available:
        try:
            torch.zeros(1, device="cuda")
        except Exception as raised:
            fault = first_line(raised)
    tell(cuda_available=available, cuda_fault=fault)


def about_mps(torch) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Tell what a torch can do with Metal. Never run on a Mac."""
    mps = torch.backends.mps
    tell(mps_built=bool(mps.is_built()), mps_available=bool(mps.is_available()))
    done = subprocess.run(SYSCTL, capture_output=True, check=False)
    tell(virtual=done.stdout.strip() == b"1")
    if mps.is_available():
        try:
            float(torch.zeros(1, device="mps").cpu())
        except Exception as raised:
            tell(mps_fault=first_line(raised))


def main() -> None:
    """Answer everything."""
    tell(python=platform.python_version())
    installed = distributions()
    tell(distributions=installed)
    names = [name.lower().replace("_", "-") for name in installed]
    tell(onnx=sorted(name for name in names if name in ("onnxruntime", "onnxruntime-gpu")))
    look("sep_runtime", "sep_protocol.version")
    models = look("sep_models", "sep_protocol.version")
    if models is not None:
        tell(models=os.path.dirname(models.__file__))
    for name in PLAIN:
        look(name)
    torch = look("torch")
    if torch is not None:
        tell(cuda=torch.version.cuda or "")
        if torch.version.cuda:
            about_cuda(torch)
        if sys.platform == "darwin":
            about_mps(torch)
    if "torchaudio" in names:
        look("torchaudio")
    tell(seconds=time.time() - BEGUN)


if __name__ == "__main__":
    main()
