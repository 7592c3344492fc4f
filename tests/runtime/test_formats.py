"""Every format in and out: frames, tags, cover, channels, residual."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.encode import StemFile, check_rate
from sep_runtime.audio.ffmpeg import Labels, labels

spec = importlib.util.spec_from_file_location("corpus", Path(__file__).parent / "corpus.py")
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)


def png():
    """A real image, by FFmpeg."""
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = 16, 16, "rgb24"
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), format="rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def read(path):
    with open_mix(path) as mix:
        return np.concatenate(list(mix.blocks()), -1), mix


def test_everything_that_is_whole_is_read(tmp_path):
    for name, path in corpus.whole(tmp_path / "good").items():
        samples, mix = read(path)
        assert (mix.sample_rate, mix.channels) == (44100, 2), name
        assert samples.shape[0] == 2
        # FFmpeg's encoders pad to whole frames, its wma drops the last; libsndfile's are exact.
        assert (8192 if name == "wma" else 9000) <= samples.shape[1] <= 9000 + 2 * 2048, name
        if name in ("wav", "aiff", "flac", "w64", "caf", "au", "ogg", "mp3"):
            assert samples.shape[1] == 9000, name
        # Some of FFmpeg's containers keep no note of the encoder's delay: look for it.
        sent, heard = corpus.sound().T[0, 2048:6000], samples[0]
        sums = np.correlate(heard, sent, "valid")
        alike = sums.max() / np.linalg.norm(sent) / np.linalg.norm(heard[2048:6000])
        assert alike > 0.3, name
        if name in ("wav", "aiff", "flac", "w64", "caf", "au", "ogg", "mp3"):
            assert sums.argmax() == 2048, name


def test_sound_of_a_video(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        picture = film.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = film.add_stream("aac", rate=48000)
        sound.layout = "stereo"
        for _ in range(25):
            image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            for packet in picture.encode(image):
                film.mux(packet)
        tone = np.sin(np.arange(48000) / 20).astype(np.float32) * 0.3
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        for packet in [*picture.encode(None), *sound.encode(frame), *sound.encode(None)]:
            film.mux(packet)
    samples, mix = read(path)
    assert mix.sample_rate == 48000
    assert abs(samples.shape[1] - 48000) <= 2048
    assert samples.max() == pytest.approx(0.3, abs=0.03)


def test_a_playlist_opens_nothing(tmp_path):
    soundfile.write(tmp_path / "x.wav", corpus.sound(), 44100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nx.wav\n")
    with pytest.raises(AudioError, match="not in a format"):
        read(tmp_path / "list.m3u8")


RATES = (
    *(4000, 7350, 8000, 11025, 22050, 44099, 44100, 48000, 65535, 65536, 65540, 88200, 88201),
    *(96000, 192000, 200000, 200001, 352800, 655350, 655351, 655360, 768000),
)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("file_format", ["wav", "flac", "mp3", "ogg"])
def test_exact_frames_at_every_rate_that_a_format_holds(tmp_path, noise, rate, file_format):
    path = tmp_path / f"x.{file_format}"
    try:
        check_rate(file_format, rate)
    except AudioError as fault:
        assert file_format != "wav"
        assert f"{rate} Hz" in fault.message
        assert "--format wav" in fault.command
        return
    depth = None if file_format in ("mp3", "ogg") else "24"
    file = StemFile(
        path, sample_rate=rate, channels=2, frames=0, file_format=file_format, depth=depth
    )
    samples = noise(2, 12345)
    file.write(samples[:, :5000])
    file.write(samples[:, 5000:])
    file.close()
    found, mix = read(path)
    assert (mix.sample_rate, found.shape) == (rate, (2, 12345))


@pytest.mark.parametrize("rate", [22050, 44100])
def test_mp3_has_exactly_the_songs_length(tmp_path, noise, rate):
    """Whatever the last frame holds: decoders drop what LAME says that it has added."""
    for samples in (1, 576, 1000, 1105, 1153, 1160, 1198, 1729, 1774, 2305, 2350, 5000):
        file = StemFile(
            tmp_path / "x.mp3",
            sample_rate=rate,
            channels=2,
            file_format="mp3",
            depth=None,
            labels=Labels(text={"title": "x"}),
        )
        file.write(noise(2, samples))
        file.close()
        assert read(tmp_path / "x.mp3")[0].shape == (2, samples)


@pytest.mark.parametrize("file_format", ["mp3", "ogg"])
def test_levels_far_beyond_full_scale_are_clipped_before_a_lossy_encoder(tmp_path, file_format):
    """LAME ended the process, libvorbis gave silence."""
    for level in (2.0, 1e9, 1e18, 3e38):
        file = StemFile(
            tmp_path / "x", sample_rate=44100, channels=1, file_format=file_format, depth=None
        )
        file.write(np.full((1, 5000), level, np.float32) * np.sign(np.sin(np.arange(5000) / 9)))
        file.close()
        assert file.clipped == 4999
        assert 0.5 < np.abs(read(tmp_path / "x")[0]).max() < 2


def test_which_rates_a_format_holds():
    """A table, so that nothing is refused that could be done."""
    held = {
        name: [rate for rate in RATES if not raises(name, rate)] for name in ("mp3", "ogg", "flac")
    }
    assert held["mp3"] == [8000, 11025, 22050, 44100, 48000]
    assert held["ogg"] == [rate for rate in RATES if rate <= 200000]
    refused = (65536, 88201, 200001, 655351, 655360, 768000)
    assert held["flac"] == [rate for rate in RATES if rate not in refused]


def raises(name, rate):
    try:
        check_rate(name, rate)
    except AudioError:
        return True
    return False


LONG = """
import sys, numpy as np
from pathlib import Path
from sep_runtime.audio.encode import StemFile
path, kind = Path(sys.argv[1]), sys.argv[2]
file = StemFile(path, sample_rate=44100, channels=2, file_format=kind, depth=None)
file.write(np.random.default_rng(0).standard_normal((2, 44100 * 60)).astype(np.float32) * 0.1)
file.close()
"""


@pytest.mark.skipif(os.name == "nt", reason="a stack's size is set by the shell's ulimit")
@pytest.mark.parametrize("file_format", ["ogg", "mp3"])
def test_a_long_block_fits_any_stack(tmp_path, file_format):
    """libvorbis takes the first block on the stack: 8 MiB on Linux, 1 MiB on Windows."""
    path = tmp_path / "x"
    command = [sys.executable, "-c", LONG, str(path), file_format]
    line = "ulimit -s 512; exec " + shlex.join(command)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(path).frames == 44100 * 60


@pytest.mark.parametrize("file_format", ["wav", "flac", "mp3", "ogg"])
def test_tags_and_cover_are_kept(tmp_path, noise, file_format):
    text = {
        "title": "Tïtle 曲 " + "x" * 60,
        "artist": "Motörhead",
        "album": "Album",
        "date": "1980",
        "genre": "Rock",
        "comment": "a “comment”",
        "track": "3",
    }
    said = Labels(text=text, cover=png())
    samples = noise(2, 30011)
    path = tmp_path / f"x.{file_format}"
    depth = None if file_format in ("mp3", "ogg") else "24"
    file = StemFile(
        path, sample_rate=44100, channels=2, file_format=file_format, depth=depth, labels=said
    )
    file.write(samples)
    file.close()
    found = labels(path)
    assert found.text.items() >= said.text.items()
    assert found.cover == (said.cover if file_format in ("flac", "mp3") else b"")
    again, _ = read(path)
    assert again.shape == samples.shape
    if depth:
        assert np.abs(again - samples).max() <= 2**-24
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_tags_of_mp3_have_one_form(tmp_path, noise):
    """ID3 1 knows Latin-1 alone; old players show what it garbles."""
    file = StemFile(
        tmp_path / "x.mp3",
        sample_rate=44100,
        channels=1,
        file_format="mp3",
        depth=None,
        labels=Labels(text={"artist": "Motörhead"}),
    )
    file.write(noise(1, 5000))
    file.close()
    data = (tmp_path / "x.mp3").read_bytes()
    assert data[:4] == b"ID3\3"
    assert "Motörhead".encode("utf-16-le") in data
    assert not data[-128:].startswith(b"TAG")


SDP = (
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    b"m=video 18996 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)


@pytest.mark.parametrize(
    "image",
    [
        b"\x89PNG but not really",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff" + SDP,
        SDP,
        b"ffconcat version 1.0\nfile 'private.png'\n",
        b"#EXTM3U\n#EXTINF:1,\nprivate.png\n",
        b"GIF89a" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=lambda image: repr(image[:12]),
)
@pytest.mark.parametrize("file_format", ["flac", "mp3"])
def test_a_cover_that_is_no_image_opens_nothing(tmp_path, noise, monkeypatch, image, file_format):
    (tmp_path / "private.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    before = udp_ports()
    file = StemFile(
        tmp_path / "x",
        sample_rate=44100,
        channels=1,
        file_format=file_format,
        depth="16" if file_format == "flac" else None,
        labels=Labels(cover=image),
    )
    file.write(noise(1, 1000))
    file.close()
    assert udp_ports() <= before
    assert read(tmp_path / "x")[0].shape == (1, 1000)
    assert png() not in (tmp_path / "x").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private.png", "x"]


def udp_ports():
    table = Path("/proc/self/net/udp")
    return {line.split()[1] for line in table.read_text().splitlines()} if table.exists() else set()


def test_labels_of_what_is_no_audio(tmp_path):
    (tmp_path / "x").write_text("no")
    assert labels(tmp_path / "x") == Labels()


def test_headers_of_large_files(tmp_path):
    """Plain wav where it turns out to be short, whatever was expected."""
    for frames, kind in ((1000, b"RIFF"), (0, b"RIFF"), (1 << 30, b"RIFF")):
        file = StemFile(
            tmp_path / "x.wav",
            sample_rate=44100,
            channels=2,
            frames=frames,
            file_format="wav",
            depth="24",
        )
        file.write(np.zeros((2, 10), np.float32))
        file.close()
        assert (tmp_path / "x.wav").read_bytes()[:4] == kind
        assert read(tmp_path / "x.wav")[0].shape == (2, 10)


def test_a_file_above_4_gib_has_rf64_headers(tmp_path, monkeypatch):
    """The limit is lowered, as five stems of three hours would take minutes."""
    monkeypatch.setattr("sep_runtime.audio.chunks.LIMIT", 4000)
    file = StemFile(
        tmp_path / "x.wav", sample_rate=44100, channels=1, file_format="wav", depth="24",
        carried=((b"iXML", b"<x/>"),),
    )  # fmt: skip
    file.write(np.full((1, 2000), 0.5, np.float32))
    file.close()
    data = (tmp_path / "x.wav").read_bytes()
    assert data[:4] == b"RF64"
    assert int.from_bytes(data[20:28], "little") == len(data) - 8
    assert read(tmp_path / "x.wav")[0].shape == (1, 2000)
