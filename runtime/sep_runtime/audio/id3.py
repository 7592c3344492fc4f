"""Tags in front of an mp3, by ID3 2.3, which every system reads.

FFmpeg's way copies the packets behind a head of its own, which counts the padding wrongly.
"""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sep_runtime.audio.ffmpeg import Labels

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # how they begin
MIMES = {JPEG: b"image/jpeg", PNG: b"image/png"}
FRAMES = {
    "title": b"TIT2",
    "artist": b"TPE1",
    "album": b"TALB",
    "date": b"TYER",
    "genre": b"TCON",
    "comment": b"COMM",
    "track": b"TRCK",
    "copyright": b"TCOP",
}
MOST = 1 << 28  # bytes that a tag's head can count
FRONT = 3  # a picture of the front


def put_before(path: Path, labels: Labels) -> None:
    """Put text and cover before the file; a cover that is no jpeg or png is left out."""
    frames = b"".join(_text(FRAMES[name], value) for name, value in labels.text.items())
    mime = next((name for magic, name in MIMES.items() if labels.cover.startswith(magic)), None)
    if mime:
        picture = b"\0" + mime + b"\0" + bytes([FRONT]) + b"\0" + labels.cover
        frames += _frame(b"APIC", picture)
    if not frames or len(frames) >= MOST:
        return
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tagged = path.with_name(f"{path.name}.new")
    with tagged.open("wb") as target, path.open("rb") as source:
        target.write(b"ID3\3\0\0" + size + frames)
        shutil.copyfileobj(source, target)
    tagged.replace(path)


def _text(name: bytes, value: str) -> bytes:
    if name == b"TYER":
        value = value[:4]
    head = b"eng\xff\xfe\0\0" if name == b"COMM" else b""  # a language, no description
    return _frame(name, b"\1" + head + b"\xff\xfe" + value.encode("utf-16-le", "replace"))


def _frame(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">IH", len(body), 0) + body
