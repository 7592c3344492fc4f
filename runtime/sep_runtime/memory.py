"""Words of others for "there is not enough memory", in one place; standard library only."""

from __future__ import annotations

import ctypes
import errno
import math
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sep_protocol.errors import MemoryLimitError, SepError

if sys.platform != "win32":
    import resource  # early: there may be no memory for it when it is needed

if TYPE_CHECKING:
    from collections.abc import Iterator

# Torch's allocators, CUDA's libraries, C++, numpy, the C library, the dynamic linker.
_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "failed to map segment",
    "alloc_failed",
    "bad_alloc",
)
# What such a lack may look like, as other faults do: oneDNN's scratch pad, a thread's stack.
_PERHAPS = ("could not create a primitive", "can't start new thread")
CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
_NOT = "static tls block"  # the dynamic linker's own limit, which no memory widens


def is_short(fault: BaseException) -> bool:
    """Say whether it was raised because memory was short."""
    if isinstance(fault, MemoryError):
        return True
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.errno == errno.ENOMEM
    text = str(fault).lower()
    if _NOT in text:
        return False
    return any(word in text for word in _WORDS) or (
        _is_limited() and any(word in text for word in _PERHAPS)
    )


def brief(fault: BaseException) -> str:
    """Return what was short, in two sentences: torch has more about its allocators around them."""
    said = re.split(r"(?<=\.) ", str(fault).partition("\n")[0])
    short = (i for i, each in enumerate(said) if any(word in each.lower() for word in _WORDS))
    first = next(short, 0)
    return " ".join(said[first : first + 2]).removesuffix(".")


def error(fault: BaseException) -> MemoryLimitError:
    """Return what people are told of it."""
    first = brief(fault)
    return MemoryLimitError(
        f"out of memory: {first}" if first else "out of memory",
        hint="close other programs, or load the model with batch=1 or device='cpu'",
        command="close other programs, or try --batch 1 --device cpu",
    )


def give_back() -> None:
    """Give what the C library keeps of freed memory back to the system, where it can."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries have no such call
            ctypes.CDLL(None).malloc_trim(0)


def holds(count: int) -> bool:
    """Say whether so many bytes are free, in the machine and within what a container may take.

    Yes where nobody tells: only Linux does.
    """
    return count <= min(_free(), _allowed())


def _free() -> float:
    with suppress(OSError, LookupError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return math.inf


def _allowed() -> float:
    """Return what is left of the limit of this process's control group, of version 2 or 1."""
    for folder, limit, used, cached in CGROUPS:
        with suppress(OSError, ValueError):  # "max" is no number
            most = int(Path(folder, limit).read_text(encoding="ascii"))
            taken = int(Path(folder, used).read_text(encoding="ascii"))
            told = Path(folder, "memory.stat").read_text(encoding="ascii").split()
            # What the kernel keeps of files that were read goes when something else is needed.
            files = int(told[told.index(cached) + 1])
            return most - taken + files
    return math.inf


@contextmanager
def named() -> Iterator[None]:
    """Raise MemoryLimitError for whatever a library raises inside where memory is short."""
    try:
        yield
    except SepError:
        raise
    except Exception as fault:
        if is_short(fault):
            raise error(fault) from fault
        raise


def _is_limited() -> bool:
    """Say whether this process may take less memory than there is (ulimit -v, -d)."""
    if sys.platform == "win32":
        return False
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(each)[0] != resource.RLIM_INFINITY for each in kinds)
