"""Bad inputs by class, made from real files: `make(folder)` gives {class: [paths]}."""

from __future__ import annotations

import random
import struct
import zlib

import av
import numpy as np
import soundfile

RATE = 44100
FRAMES = 9000

# Classes whose files must fail; of the others a file may also be separated, exactly.
HOPELESS = {
    "empty file",
    "header only",
    "no frames",
    "not audio",
    "impossible header",
    "not numbers",
    "cut wav",
    "cut aiff",
    "cut flac",
    "cut caf",
    "cut w64",
    "folder",
    "many channels",
}


def sound():
    drawn = np.random.default_rng(7).standard_normal((FRAMES, 2)) * 0.1
    return drawn.astype(np.float32)


def encode(path, codec, container=None):
    """Write FFmpeg's idea of a file."""
    with av.open(str(path), "w", format=container) as target:
        stream = target.add_stream(codec, rate=RATE)
        stream.bit_rate = 128000
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound().T), format="fltp", layout="stereo"
        )
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)


def whole(folder):
    """One good file per format."""
    folder.mkdir()
    made = {}
    for name, options in {
        "wav": {"format": "WAV", "subtype": "PCM_16"},
        "aiff": {"format": "AIFF", "subtype": "PCM_24"},
        "flac": {"format": "FLAC", "subtype": "PCM_24"},
        "ogg": {"format": "OGG", "subtype": "VORBIS"},
        "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
        "w64": {"format": "W64", "subtype": "PCM_16"},
        "caf": {"format": "CAF", "subtype": "FLOAT"},
        "au": {"format": "AU", "subtype": "PCM_16"},
    }.items():
        made[name] = folder / f"whole.{name}"
        soundfile.write(made[name], sound(), RATE, **options)
    for name, codec, container in (
        ("m4a", "aac", "ipod"),
        ("opus", "libopus", "ogg"),
        ("wma", "wmav2", "asf"),
        ("mkv", "aac", "matroska"),
        ("aac", "aac", "adts"),
    ):
        if name == "opus":
            continue  # its encoder wants 48 kHz; libsndfile's is tested elsewhere
        made[name] = folder / f"whole.{name}"
        encode(made[name], codec, container)
    return made


def make(folder):
    folder.mkdir()
    good = whole(folder / "good")
    found: dict[str, list] = {}

    def add(kind, name, data):
        path = folder / f"{sum(map(len, found.values())):03d} {name}"
        path.write_bytes(data)
        found.setdefault(kind, []).append(path)

    for name, path in good.items():
        data = path.read_bytes()
        kind = f"cut {name}"
        for part in (0.3, 0.5, 0.7, 0.9, 0.98):
            add(kind, f"cut.{name}", data[: int(len(data) * part)])
        add("header only", f"header.{name}", data[:24])
        for seed in range(6):
            drawn = random.Random(f"{name}{seed}")
            flipped = bytearray(data)
            for _ in range(1 + 5 * seed):
                place = drawn.randrange(64 if seed % 2 else len(flipped))
                flipped[place] ^= 1 << drawn.randrange(8)
            add("flipped head" if seed % 2 else "flipped", f"flipped.{name}", bytes(flipped))
        add("wrong ending", "wrong.wav" if name != "wav" else "wrong.mp3", data)
        add("empty file", f"empty.{name}", b"")
    noise = random.Random(0).randbytes(20000)
    for ending in ("wav", "flac", "mp3", "m4a", "ogg"):
        add("not audio", f"noise.{ending}", noise)
        add("not audio", f"text.{ending}", b"these are only words\n" * 300)
    add("not audio", "picture.wav", b"\x89PNG\r\n\x1a\n" + zlib.compress(noise))
    add("not audio", "archive.flac", b"PK\x03\x04" + noise)
    add("not audio", "list.m3u8", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n")
    add("not audio", "concat.wav", b"ffconcat version 1.0\nfile /etc/passwd\n")
    for name, header in impossible():
        # What pipes announce may be more than is there.
        odd = name in ("7 bits", "4 GB announced", "2 GB announced")
        kind = "odd header" if odd else "impossible header"
        add(kind, f"{name}.wav", header + bytes(4000))
    for kind, value in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
        for place in (0, FRAMES // 2, FRAMES - 1):
            samples = sound()
            samples[place, 1] = value
            path = folder / f"{kind} at {place}.wav"
            soundfile.write(path, samples, RATE, "FLOAT")
            found.setdefault("not numbers", []).append(path)
    for ending, options in (("wav", {}), ("flac", {}), ("aiff", {}), ("ogg", {})):
        path = folder / f"no frames.{ending}"
        soundfile.write(path, sound()[:0], RATE, **options)
        found.setdefault("no frames", []).append(path)
    for channels in (3, 6, 8):
        path = folder / f"{channels} channels.wav"
        soundfile.write(path, np.repeat(sound()[:, :1], channels, 1), RATE)
        found.setdefault("many channels", []).append(path)
    path = folder / "a folder.wav"
    path.mkdir()
    found["folder"] = [path]
    for name, samples in (("silence", sound() * 0), ("one sample", sound()[:1])):
        path = folder / f"{name}.wav"
        soundfile.write(path, samples, RATE)
        found.setdefault("odd but good", []).append(path)
    return found


def impossible():
    """Wav headers that announce what cannot be."""
    for name, channels, rate, bits, length in (
        ("no channels", 0, RATE, 16, 4000),
        ("65535 channels", 65535, RATE, 16, 4000),
        ("rate 0", 2, 0, 16, 4000),
        ("rate 4 GHz", 2, 4_000_000_000, 16, 4000),
        ("rate 1 Hz", 2, 1, 16, 4000),
        ("7 bits", 2, RATE, 7, 4000),
        ("0 bits", 2, RATE, 0, 4000),
        ("4 GB announced", 2, RATE, 16, 0xFFFFEF00),
        ("2 GB announced", 2, RATE, 16, 0x7FFFFFFF),
    ):
        align = (channels * bits // 8) & 0xFFFF
        chunk = struct.pack("<HHIIHH", 1, channels, rate, (rate * align) & 0xFFFFFFFF, align, bits)
        yield (
            name,
            b"RIFF"
            + struct.pack("<I", (length + 36) & 0xFFFFFFFF)
            + b"WAVEfmt "
            + struct.pack("<I", 16)
            + chunk
            + b"data"
            + struct.pack("<I", length),
        )
