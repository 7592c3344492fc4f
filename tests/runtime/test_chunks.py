"""What a wav file says beside its samples, and what its stems say."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sep_runtime.audio import chunks
from sep_runtime.audio.encode import StemFile

TIME = 44100 * 3600  # samples since midnight


def bext(version=2):
    head = b"Take 3".ljust(256, b"\0") + b"Recorder".ljust(32, b"\0") + b"REF1".ljust(32, b"\0")
    head += b"2024-05-06" + b"10:11:12" + struct.pack("<IIH", TIME, 0, version) + bytes(64)
    return head + struct.pack("<5h", -2300, 600, -100, -1500, -1800) + bytes(180)


IXML = b"<BWFXML><SCENE>1</SCENE></BWFXML>"
CUE = struct.pack("<I", 1) + struct.pack("<II4sIII", 1, 11025, b"data", 0, 0, 11025)
ADTL = b"adtl" + b"labl" + struct.pack("<II", 10, 1) + b"verse\0"


def recording(path, frames=1000):
    """A wav file as a field recorder writes it."""
    fmt = struct.pack("<HHIIHH", 1, 1, 44100, 88200, 2, 16)
    found = [
        (b"bext", bext()),
        (b"fmt ", fmt),
        (b"data", np.zeros(frames, "<i2").tobytes()),
        (b"cue ", CUE),
        (b"LIST", ADTL),
        (b"LIST", b"INFO" + b"INAM" + struct.pack("<I", 6) + b"Title\0"),
        (b"iXML", IXML),
        (b"junk", b"x"),
    ]
    body = b"".join(n + struct.pack("<I", len(b)) + b + bytes(len(b) % 2) for n, b in found)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body)
    return path


def listed(path):
    """[(name, content)] by a reader of our own, strict about sizes."""
    data = path.read_bytes()
    assert data[:4] == b"RIFF"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    found, at = [], 12
    while at < len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        found.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        assert len(found[-1][1]) == length
        at += 8 + length + length % 2
    return found


def test_a_stem_lands_where_its_mix_was(tmp_path):
    taken = chunks.carried(recording(tmp_path / "mix.wav"))
    assert [name for name, _ in taken] == [b"bext", b"cue ", b"LIST", b"iXML"]
    file = StemFile(
        tmp_path / "stem.wav",
        sample_rate=44100,
        channels=1,
        frames=1000,
        file_format="wav",
        depth="24",
        carried=taken,
    )
    file.write(np.full((1, 1001), 0.25, np.float32))
    file.close()
    found = dict(listed(tmp_path / "stem.wav"))
    assert struct.unpack_from("<I", found[b"bext"], 338) == (TIME,)
    assert found[b"bext"][:256].rstrip(b"\0") == b"Take 3"
    assert (found[b"iXML"], found[b"cue "], found[b"LIST"]) == (IXML, CUE, ADTL)
    samples, _ = soundfile.read(tmp_path / "stem.wav")
    assert samples.shape == (1001,)
    assert np.all(samples == 0.25)


def test_the_mixs_loudness_is_not_the_stems(tmp_path):
    (_, found), *_ = chunks.carried(recording(tmp_path / "mix.wav"))
    assert struct.unpack_from("<5h", found, 412) == (0x7FFF,) * 5
    assert len(found) == len(bext())
    assert found[:412] == bext()[:412]


@pytest.mark.parametrize("make", ["flac", "text", "missing"])
def test_nothing_is_carried_from_other_files(tmp_path, make):
    path = tmp_path / "x"
    if make == "flac":
        soundfile.write(path, np.zeros(10), 44100, format="FLAC")
    elif make == "text":
        path.write_text("RIFF but not really")
    assert chunks.carried(path) == ()


@settings(deadline=None)
@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from([b"iXML", b"bext"]), st.binary())))
def test_any_chunks_behind_any_samples(tmp_path_factory, frames, added):
    path = tmp_path_factory.mktemp("x") / "x.wav"
    samples = np.arange(frames) / 64
    for form in ("WAV", "RF64"):
        soundfile.write(path, samples, 8000, "PCM_24", format=form)
        chunks.finish(path, added)
        if not frames:
            continue
        found = listed(path)
        assert found[-len(added) :] == added or not added
        assert np.array_equal(soundfile.read(path)[0], samples)


def test_a_hostile_table_of_chunks_ends(tmp_path):
    for length in (0, 1, 0xFFFFFFFF, 0x7FFFFFFF):
        body = b"bext" + struct.pack("<I", length)
        (tmp_path / "x.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + body * 1000)
        assert all(len(found) <= chunks.MOST for _, found in chunks.carried(tmp_path / "x.wav"))
