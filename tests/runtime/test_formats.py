"""Every format in and out: frames, tags, cover, channels, residual."""

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sep_protocol.errors import AudioError
from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.encode import StemFile, carries
from sep_runtime.audio.ffmpeg import Labels, labels
from sep_runtime.audio.resample import downmix

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
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read(tmp_path / "list.m3u8")


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("file_format", ["wav", "flac", "mp3", "ogg"])
def test_exact_frames_at_every_rate(tmp_path, noise, rate, file_format):
    if not carries(file_format, rate):
        assert file_format == "mp3"
        return
    path = tmp_path / f"x.{file_format}"
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


@pytest.mark.parametrize("file_format", ["wav", "flac", "mp3", "ogg"])
def test_tags_and_cover_are_kept(tmp_path, noise, file_format):
    said = Labels(text={"title": "Tïtle", "artist": "Ärtist", "album": "Album"}, cover=png())
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


def test_a_cover_that_is_no_image_is_left_out(tmp_path, noise):
    file = StemFile(
        tmp_path / "x.flac",
        sample_rate=44100,
        channels=1,
        file_format="flac",
        depth="16",
        labels=Labels(cover=b"\x89PNG but not really"),
    )
    file.write(noise(1, 1000))
    file.close()
    assert read(tmp_path / "x.flac")[0].shape == (1, 1000)
    assert [p.name for p in tmp_path.iterdir()] == ["x.flac"]


def test_labels_of_what_is_no_audio(tmp_path):
    (tmp_path / "x").write_text("no")
    assert labels(tmp_path / "x") == Labels()


def test_headers_of_large_files(tmp_path):
    """RF64 where 32 bits of size are not enough, plain wav where they are."""
    for frames, kind in ((1000, b"RIFF"), (1 << 30, b"RF64")):
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


def test_downmix():
    half = 2**-0.5
    assert np.allclose(downmix(6), [[1, 0, half, 0, half, 0], [0, 1, half, 0, 0, half]])
    assert downmix(3).tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    assert downmix(8)[:, 3].tolist() == [0, 0]
