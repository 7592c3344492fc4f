"""A reader's end is not the file's end: all that is in a file is separated, or it is told."""

import importlib.util
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio.decode import open_mix

FILES = Path(__file__).parent / "files"
SBR_DELAY = 962  # samples by which every decoder of HE-AAC is late; players leave them, too

spec = importlib.util.spec_from_file_location("corpus", Path(__file__).parent / "corpus.py")
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)
SOUND = corpus.sound()  # [9000, 2]


def read(path):
    with open_mix(path) as mix:
        return np.concatenate(list(mix.blocks()), -1), mix


def lag(found, sent):
    """By how many samples `found` is late."""
    size = 1 << 18
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(sent, size))
    at = int(np.fft.irfft(spectrum, size).argmax())
    return at if at < size // 2 else at - size


@pytest.mark.parametrize("name", ["mp3", "ogg"])
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("same", [False, True])
def test_files_joined_by_cat_are_read_to_the_end(tmp_path, name, parts, same):
    sounds = [SOUND if same or i % 2 == 0 else SOUND[::-1] for i in range(parts)]
    data = b""
    for sound in sounds:  # libsndfile draws a number for every ogg, which `cat x x` does not
        if not (same and data):
            soundfile.write(tmp_path / "part", sound, 44100, format=name.upper())
        data += (tmp_path / "part").read_bytes()
    path = tmp_path / f"joined.{name}"
    path.write_bytes(data)
    found, _ = read(path)
    assert 9000 * parts <= found.shape[1] <= 9000 * parts + 3000 * parts  # delays, last packets
    assert lag(found[0], SOUND[:, 0]) == 0 or same
    assert abs(lag(found[0, -13000:], sounds[-1][:, 0]) - 4000) <= 2500


def test_a_part_of_another_rate_is_brought_to_the_first(tmp_path):
    parts = []
    for rate in (44100, 22050):
        path = tmp_path / f"{rate}.mp3"
        soundfile.write(path, np.tile(SOUND, (3, 1)), rate, format="MP3")
        parts.append(path.read_bytes())
    path = tmp_path / "two rates.mp3"
    path.write_bytes(b"".join(parts))
    found, mix = read(path)
    assert mix.sample_rate == 44100
    assert 27000 * 3 <= found.shape[1] <= 27000 * 3 + 9000


def flac(path, total):
    """A flac file whose header counts so many frames."""
    soundfile.write(path, SOUND, 44100, "PCM_24", format="FLAC")
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    data[18:26] = packed.to_bytes(8, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("total", [0, 3000, 9000])
def test_flac_from_a_pipe_or_with_a_wrong_total(tmp_path, total):
    found, _ = read(flac(tmp_path / "x.flac", total))
    assert np.allclose(found.T, SOUND, atol=2**-23)


def test_flac_that_is_shorter_than_it_says(tmp_path):
    with pytest.raises(AudioError, match="cut off: 9000 of 12000"):
        read(flac(tmp_path / "x.flac", 12000))


def wav(*chunks, magic=b"RIFF"):
    body = b"".join(
        name + struct.pack("<I", size) + data + bytes(len(data) % 2) for name, size, data in chunks
    )
    return magic + struct.pack("<I", len(body) + 4) + b"WAVE" + body


FMT = struct.pack("<HHIIHH", 1, 2, 44100, 44100 * 4, 4, 16)
PCM = np.rint(SOUND * 32767).astype("<i2").tobytes()


def test_a_recorder_that_lost_power(tmp_path):
    (tmp_path / "x.wav").write_bytes(wav((b"fmt ", 16, FMT), (b"data", 0, PCM)))
    found, mix = read(tmp_path / "x.wav")
    assert np.allclose(found.T, SOUND, atol=1 / 32000)
    assert mix.notes == []


@pytest.mark.parametrize("again", [True, False], ids=["samples again", "no chunks"])
def test_samples_that_no_header_counts_are_told(tmp_path, again):
    rest = ((b"data", len(PCM), PCM),) if again else ()
    data = wav((b"fmt ", 16, FMT), (b"data", 8000, PCM[:8000]), *rest)
    (tmp_path / "x.wav").write_bytes(data if again else data + PCM[8000:])
    _, mix = read(tmp_path / "x.wav")
    assert len(mix.notes) == 1
    assert "bytes" in mix.notes[0]


@pytest.mark.parametrize("behind", [b"", b"LIST\4\0\0\0INFO", b"ID3" + bytes(9000), b"\1\2\3"])
def test_what_stands_behind_the_samples_rightly_is_not_told(tmp_path, behind):
    (tmp_path / "x.wav").write_bytes(wav((b"fmt ", 16, FMT), (b"data", len(PCM), PCM)) + behind)
    found, mix = read(tmp_path / "x.wav")
    assert (found.shape, mix.notes) == ((2, 9000), [])


def test_rf64_that_is_cut_off(tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND, 44100, "PCM_16", format="RF64")
    data = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "x.wav").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match="cut off"):
        read(tmp_path / "x.wav")


def test_mp3_in_wav(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(tmp_path / "x.mp3", SOUND, 44100, format="MP3")
    with av.open(str(tmp_path / "x.mp3")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    found, _ = read(path)
    assert 9000 <= found.shape[1] <= 9000 + 4 * 1152
    late = lag(found[0], SOUND[:, 0])
    assert 0 <= late <= 2 * 1152
    assert np.corrcoef(found[0, late : late + 8000], SOUND[:8000, 0])[0, 1] > 0.7  # of noise


@pytest.mark.parametrize(
    ("name", "late"), [("aac-lc", 0), ("he-aac v1", SBR_DELAY), ("he-aac v2", SBR_DELAY)]
)
def test_the_encoders_delay_is_skipped(name, late):
    """Made by fdkaac of two strokes, 2000 and 9000 samples from the start, with iTunSMPB."""
    time = np.arange(22050)
    sent = np.zeros(22050)
    for at, pitch in ((2000, 700), (9000, 1100)):
        since = np.maximum(time - at, 0)
        sent += (time >= at) * np.sin(2 * np.pi * pitch * since / 44100) * np.exp(-since / 900)
    found, mix = read(FILES / f"{name}.m4a")
    assert (mix.sample_rate, mix.channels) == (44100, 2)
    assert abs(lag(found[0], sent) - late) <= 2


def test_of_two_sound_tracks_the_default_is_taken_and_told(tmp_path):
    path = tmp_path / "x.mka"
    with av.open(str(path), "w") as target:
        tracks = [target.add_stream("pcm_s16le", rate=44100, layout="stereo") for _ in range(2)]
        tracks[0].disposition = av.stream.Disposition(0)
        tracks[1].disposition = av.stream.Disposition.default
        for stream, gain in zip(tracks, (0.0, 1.0), strict=True):
            whole = np.rint(SOUND * 32767 * gain).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="stereo")
            frame.sample_rate = 44100
            target.mux([*stream.encode(frame), *stream.encode(None)])
    found, mix = read(path)
    assert mix.notes == ["it has 2 sound tracks: number 2 was taken"]
    assert np.allclose(found.T, SOUND, atol=1 / 32000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.wav")
    for path in (tmp_path / "x.wav", Path(os.devnull)):
        with pytest.raises(AudioError, match="pipe or a device"):
            read(path)


def test_a_format_that_is_none_of_ours_is_told_as_that(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"#!AMR-not" + b"ffconcat version 1.0\nfile /etc/passwd\n")
    with pytest.raises(AudioError, match=r"cannot be read as audio|none of the formats"):
        read(tmp_path / "x.wav")


@pytest.mark.skipif(os.name == "nt", reason="names of Windows are no bytes")
def test_names_that_are_no_utf8(tmp_path):
    for name in ("wav", "m4a", "flac"):
        path = Path(os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9." + name.encode()))
        if name == "m4a":
            corpus.encode(tmp_path / "x.m4a", "aac", "ipod")
            (tmp_path / "x.m4a").rename(path)
        else:
            soundfile.write(tmp_path / "x", SOUND, 44100, format=name.upper())
            (tmp_path / "x").rename(path)
        assert read(path)[0].shape[1] >= 9000
