"""What a file that was given as weights is: its first bytes tell, its suffix does not."""

from __future__ import annotations

import os
import stat
import zipfile
from typing import TYPE_CHECKING, Literal

from sep_protocol.errors import ModelError
from sep_runtime import memory

if TYPE_CHECKING:
    from pathlib import Path

# safetensors; torch's zip, whose bytes can be mapped; torch's zip compressed, and older than 1.6.
Kind = Literal["safetensors", "stored", "streamed"]

AGAIN = "download it again"
UNPACK = "unpack it, then name the checkpoint that is in it"
OTHER_FORM = "sep reads PyTorch's checkpoints and safetensors: get one of those"
CHECKPOINT = "give the checkpoint, and beside it the settings that were published with it"
HEADER_MOST = 100 << 20  # bytes of a safetensors header, by its specification
LEAST = 10  # bytes of what could be weights
CUT = "their end is missing"
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
UNPACKED_MOST = 1 << 30  # bytes that a small file may grow to, and
UNPACKED_TIMES = 64  # how many times as large a large one may become: weights are no text
PIECE = 1 << 20

# (offset, bytes there, what such a file is, what to do)
_OTHERS = (
    (0, b"version https://git-lfs", "a note where the weights are (Git LFS), not weights", AGAIN),
    (0, b"GGUF", "a GGUF model", OTHER_FORM),
    (0, b"\x89HDF\r\n", "an HDF5 model", OTHER_FORM),
    (0, b"\x93NUMPY", "a NumPy array", OTHER_FORM),
    (4, b"TFL3", "a TensorFlow Lite model", OTHER_FORM),
    (0, b"\x1f\x8b", "packed by gzip", UNPACK),
    (0, b"BZh", "packed by bzip2", UNPACK),
    (0, b"\xfd7zXZ", "packed by xz", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", AGAIN),
    (0, b"RIFF", "audio, not weights", CHECKPOINT),
    (0, b"RF64", "audio, not weights", CHECKPOINT),
    (8, b"AIF", "audio, not weights", CHECKPOINT),
    (0, b"fLaC", "audio, not weights", CHECKPOINT),
    (0, b"OggS", "audio, not weights", CHECKPOINT),
    (0, b"ID3", "audio, not weights", CHECKPOINT),
    (0, b"\xff\xfb", "audio, not weights", CHECKPOINT),
    (4, b"ftyp", "audio or a film, not weights", CHECKPOINT),
    (0, b"%PDF", "a PDF, not weights", CHECKPOINT),
    (0, b"\x89PNG", "a picture, not weights", CHECKPOINT),
    (0, b"\xff\xd8\xff", "a picture, not weights", CHECKPOINT),
)


def check_file(path: Path, what: str) -> None:
    """Raise ModelError unless there is a regular file: no other may be opened, it could block."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "no such name"
        raise ModelError(f"{what} {{path}} cannot be read: {why}", path=str(path)) from fault
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ModelError(f"{what} {{path}} cannot be read: it is {kind}", path=str(path))


def kind_of(path: Path) -> Kind:
    """Return how to read the file; raise ModelError, in words for people, where it is no weights.

    The checksums of a zip are compared, too: whoever reads it by a mapping does not.
    """
    check_file(path, "the weights")
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = os.fstat(file.fileno()).st_size
    except OSError as fault:
        raise ModelError(
            f"the weights {{path}} cannot be read: {fault.strerror}", path=str(path)
        ) from fault
    if size < LEAST:
        raise damaged(path, f"a file of {size} bytes" if size else "it is empty")
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= HEADER_MOST:
        if 8 + length > size:
            raise damaged(path, CUT)
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, size)
    if head.startswith(PICKLES):
        return "streamed"
    if not head.strip(b"\0"):
        raise damaged(path, "it begins with zeros, as a download that was not finished")
    what, hint = _other(head)
    raise ModelError(
        f"{{path}} is {what}",
        hint,
        str(path),
        command="--model takes the checkpoint, --model-config its settings"
        if hint == CHECKPOINT
        else "",
    )


def damaged(path: Path, why: str) -> ModelError:
    """Return the error for weights that did not come here whole."""
    return ModelError(f"the weights {{path}} are damaged: {why}", AGAIN, str(path))


def _other(head: bytes) -> tuple[str, str]:
    """Return what a file is that is no weights, and what to do."""
    for offset, mark, what, hint in _OTHERS:
        if head.startswith(mark, offset):
            return what, hint
    if head[0] == 8 and 0 < head[1] < 32:  # noqa: PLR2004 (a field's number, its version)
        return "an ONNX model", OTHER_FORM
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head.decode("utf-16" if wide else "utf-8", "ignore").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        return "a web page, not weights", f"{AGAIN}, in a browser"
    if text and all(each.isprintable() or each in "\t\r\n" for each in text):
        return "a text, not weights", CHECKPOINT
    return "no weights: neither a checkpoint of PyTorch nor safetensors", OTHER_FORM


def _zip(path: Path, size: int) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_parts(path, entries, size)
            for each in entries:
                if each.CRC:  # 0: torch wrote none, as it may be told to
                    with archive.open(each) as file:
                        while file.read(PIECE):
                            pass
    except ModelError:
        raise
    except Exception as fault:  # zipfile raises a dozen kinds for a hostile or broken archive
        if memory.is_short(fault):
            raise memory.error(fault) from fault
        cut = isinstance(fault, zipfile.BadZipFile) and "not a zip file" in str(fault)
        why = CUT if cut else "a part of it is not what its checksum says"
        raise damaged(path, why) from fault
    stored = all(each.compress_type == zipfile.ZIP_STORED for each in entries)
    return "stored" if stored else "streamed"


def _no_checkpoint(names: set[str]) -> tuple[str, str]:
    """Return what a zip of these files is and what to do; nothing where torch may have made it."""
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside or any(each.startswith("code/") for each in inside):
        return "a program of TorchScript, not weights alone", OTHER_FORM
    if "data.pkl" in inside:
        return "", ""
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays, no checkpoint of PyTorch", OTHER_FORM
    return "a zip archive, but no checkpoint", UNPACK


def _check_parts(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Raise ModelError for no checkpoint, and for parts that overlap or become absurdly large."""
    what, hint = _no_checkpoint({each.filename for each in entries})
    if what:
        raise ModelError(f"{{path}} is {what}", hint, str(path))
    if sum(each.compress_size for each in entries) > size:
        raise damaged(path, "its parts are longer than the file")
    unpacked = sum(each.file_size for each in entries)
    if unpacked > max(UNPACKED_MOST, UNPACKED_TIMES * size):
        raise damaged(path, f"it would become {unpacked >> 20} MiB")
