"""Frames and shapes of WAV files without decoding: against a library that decodes."""

import io
import struct
import zipfile

import numpy as np
import pytest
import soundfile

from sep_launcher.ui import pcm, zipped
from sep_protocol.errors import AudioError

KINDS = {"PCM_16": ("int16", 32768), "PCM_24": ("int24", 1 << 23), "FLOAT": ("float32", 1)}


def read(data, found):
    """Return raw frames as floats [frames, channels]."""
    if found.kind == "int24":
        raw = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = (raw[:, 0] << 8) | (raw[:, 1] << 16) | (raw[:, 2] << 24)
        samples = (whole >> 8) / (1 << 23)
    else:
        kind = {"int16": "<i2", "float32": "<f4"}[found.kind]
        samples = np.frombuffer(data, kind) / (32768 if found.kind == "int16" else 1)
    return samples.reshape(-1, found.channels)


@pytest.mark.parametrize("subtype", KINDS)
@pytest.mark.parametrize("container", ["WAV", "RF64", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_window_is_what_a_decoder_gives(tmp_path, noise, subtype, container, channels):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.9 * noise(channels, 5001).T, 48000, subtype=subtype, format=container)
    found = pcm.wav(path)
    kind, _ = KINDS[subtype]
    assert (found.kind, found.channels, found.rate, found.frames) == (kind, channels, 48000, 5001)
    whole, _ = soundfile.read(path, always_2d=True)
    for start, count in ((0, 5001), (17, 100), (4990, 100), (6000, 10)):
        part = b"".join(pcm.frames([found, found], start, count))
        one = read(part, found)
        expected = whole[start : start + count]
        assert np.allclose(one, np.concatenate([expected, expected]), atol=1e-7)


@pytest.mark.parametrize("subtype", KINDS)
def test_shapes_are_those_of_the_samples_within_a_step(tmp_path, noise, subtype):
    path = tmp_path / "a.wav"
    samples = np.clip(0.5 * noise(2, 44100 + 77), -1, 1)
    soundfile.write(path, samples.T, 44100, subtype=subtype)
    made = np.frombuffer(pcm.peaks(pcm.wav(path), 100), np.int8).reshape(-1, 2)
    assert len(made) == 101
    for number, (low, high) in enumerate(made):
        part = samples[:, number * 441 : (number + 1) * 441]
        assert abs(low - part.min() * 127) <= 1.5
        assert abs(high - part.max() * 127) <= 1.5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"fLaC" + bytes(60),
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd",
        b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44100, 176400, 4, 8),
        b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 0, 0, 0, 0, 16) + b"data\0\0\0\0",
    ],
)
def test_what_is_no_such_file_is_told(tmp_path, data):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError):
        pcm.wav(path)


def test_a_header_that_promises_too_much_gives_what_is_there(tmp_path):
    path = tmp_path / "a.wav"
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44100, 88200, 2, 16)
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + form + struct.pack("<4sI", b"data", 1000) + bytes(10))
    assert pcm.wav(path).frames == 5


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 1000])  # the second: as if it were large
def test_an_archive_is_made_while_it_is_read(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    files = []
    for name in ("a.wav", "b ü.wav"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        files.append((f"song/{name}", tmp_path / name))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zipped.zipped(files))))
    assert archive.testzip() is None
    assert archive.namelist() == ["song/a.wav", "song/b ü.wav"]
    assert archive.read("song/a.wav") == b"a.wav" * 1000
    assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
