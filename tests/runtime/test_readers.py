"""A reader's end is not the file's end: all that is in a file is separated, or it is told."""

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio import id3
from sep_runtime.audio.chunks import carried
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.encode import StemFile
from sep_runtime.audio.ffmpeg import Labels

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
    slack = 3000 * parts if name == "mp3" else 0  # delays, last packets
    assert 9000 * parts <= found.shape[1] <= 9000 * parts + slack
    if not same:
        assert lag(found[0], SOUND[:, 0]) == 0
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


@pytest.mark.parametrize("pair", [("a", "mono"), ("mono", "a"), ("a", "other")])
@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_links_of_other_channels_and_rates(tmp_path, pair, codec):
    sounds = {
        "a": (SOUND, 48000),
        "mono": (SOUND[::-1, :1], 48000),
        "other": (SOUND[::-1], 24000),
    }
    data, frames = b"", 0
    for name in pair:
        sound, rate = sounds[name]
        soundfile.write(tmp_path / name, sound, rate, codec, format="OGG")
        frames += soundfile.info(tmp_path / name).frames * 48000 // rate
        data += (tmp_path / name).read_bytes()
    (tmp_path / "x.ogg").write_bytes(data)
    found, mix = read(tmp_path / "x.ogg")
    assert found.shape == (sounds[pair[0]][0].shape[1], frames)
    assert mix.notes or (codec, pair[1]) == ("OPUS", "other")  # opus is always at 48 kHz


def test_ogg_that_was_cut_is_told(tmp_path):
    soundfile.write(tmp_path / "x.ogg", np.tile(SOUND, (5, 1)), 44100, format="OGG")
    data = (tmp_path / "x.ogg").read_bytes()
    assert read(tmp_path / "x.ogg")[1].notes == []
    (tmp_path / "x.ogg").write_bytes(data + bytes(9000))
    assert read(tmp_path / "x.ogg")[1].notes == ["9000 bytes behind its samples were left out"]
    (tmp_path / "x.ogg").write_bytes(data[:-3])
    assert "cut off" in read(tmp_path / "x.ogg")[1].notes[0]


def test_mp3_with_tags_joined(tmp_path):
    file = StemFile(
        tmp_path / "a.mp3",
        sample_rate=44100,
        channels=2,
        file_format="mp3",
        depth=None,
        labels=Labels(text={"title": "T", "artist": "A" * 300}, cover=id3.JPEG + bytes(5000)),
    )
    file.write(SOUND.T.copy())
    file.close()
    data = (tmp_path / "a.mp3").read_bytes()
    assert data.startswith(b"ID3")
    (tmp_path / "x.mp3").write_bytes(data * 3)
    found, mix = read(tmp_path / "x.mp3")
    assert 27000 <= found.shape[1] <= 27000 + 9000
    assert all("not sound" in note for note in mix.notes)


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


@pytest.mark.parametrize("length", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, 0xFFFFFFFF])
def test_wav_from_a_pipe(tmp_path, length):
    """sox, ffmpeg and others announce numbers of their own where they cannot go back."""
    (tmp_path / "x.wav").write_bytes(wav((b"fmt ", 16, FMT), (b"data", length, PCM)))
    found, mix = read(tmp_path / "x.wav")
    assert np.allclose(found.T, SOUND, atol=1 / 32000)
    assert bool(mix.notes) == (length < 0xFFFFF000)


def test_files_of_chunks_joined_by_cat_are_told(tmp_path):
    for form in ("WAV", "AIFF", "RF64"):
        soundfile.write(tmp_path / "x", SOUND, 44100, "PCM_16", format=form)
        data = (tmp_path / "x").read_bytes()
        (tmp_path / "x").write_bytes(data + data)
        found, mix = read(tmp_path / "x")
        assert found.shape == (2, 9000)
        assert f"{len(data)} bytes" in mix.notes[0], form


def test_au_with_more_or_less_than_it_says(tmp_path):
    soundfile.write(tmp_path / "x.au", SOUND, 44100, "PCM_16", format="AU")
    data = bytearray((tmp_path / "x.au").read_bytes())
    data[8:12] = struct.pack(">I", 18000)
    (tmp_path / "x.au").write_bytes(data)
    assert "bytes" in read(tmp_path / "x.au")[1].notes[0]
    data[8:12] = struct.pack(">I", 72000)
    (tmp_path / "x.au").write_bytes(data)
    with pytest.raises(AudioError, match="cut off"):
        read(tmp_path / "x.au")


def test_zeros_behind_a_wav_cost_nothing(tmp_path):
    """As a preallocating recorder leaves them: a chunk of nothing, millions of times."""
    path = tmp_path / "x.wav"
    path.write_bytes(wav((b"fmt ", 16, FMT), (b"data", len(PCM), PCM)))
    os.truncate(path, 20 << 30)
    with open_mix(path) as mix:
        assert sum(block.shape[1] for block in mix.blocks()) == 9000
        assert "bytes" in mix.notes[0]
    assert carried(path) == ()


DESCRIBED = """
import struct, sys
from pathlib import Path
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.ffmpeg import labels
path = Path(sys.argv[1])
for channels in range(1, 10):
    for tag in (*range(100, 150), *range(160, 190), 0xFFFF):
        desc = struct.pack(">d4sIIIII", 44100.0, b"lpcm", 0, 2 * channels, 1, channels, 16)
        chan = struct.pack(">III", tag << 16 | channels, 0, 0)
        data = struct.pack(">I", 0) + bytes(2 * channels * 50)
        body = b"caff" + struct.pack(">HH", 1, 0)
        for name, part in ((b"desc", desc), (b"chan", chan), (b"data", data)):
            body += name + struct.pack(">q", len(part)) + part
        path.write_bytes(body)
        labels(path)
        with open_mix(path) as mix:
            assert mix.channels == channels
            assert sum(block.shape[1] for block in mix.blocks()) == 50
print("whole")
"""


def test_descriptions_of_channels_never_reach_ffmpeg(tmp_path):
    """Its reader of them writes beyond its memory, which ends the process, now or later."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBED, str(tmp_path / "x.caf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "whole\n", done.stderr[-500:]


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
    with pytest.raises(AudioError, match=r"cannot be read as audio|not audio|not in a format"):
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
