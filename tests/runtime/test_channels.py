"""Channels have a layout: mixed down, each goes where its name says, in every format."""

import av
import numpy as np
import pytest
import soundfile

from sep_runtime.audio.decode import open_mix
from sep_runtime.audio.resample import downmix

HALF = 2**-0.5
GAINS = {  # to left and right, by ITU-R BS.775
    "FL": (1, 0),
    "FR": (0, 1),
    "FC": (HALF, HALF),
    "LFE": (0, 0),
    "BL": (HALF, 0),
    "BR": (0, HALF),
    "SL": (HALF, 0),
    "SR": (0, HALF),
    "BC": (0.5, 0.5),
}
LAYOUTS = {
    "3.0": ("FL", "FR", "FC"),
    "2.1": ("FL", "FR", "LFE"),
    "4.0": ("FL", "FR", "FC", "BC"),
    "quad": ("FL", "FR", "BL", "BR"),
    "5.0": ("FL", "FR", "FC", "BL", "BR"),
    "5.1": ("FL", "FR", "FC", "LFE", "BL", "BR"),
    "6.1": ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    "7.1": ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
CODECS = {
    "wav": ("pcm_s16le", tuple(LAYOUTS)),
    "flac": ("flac", ("3.0", "quad", "5.0", "5.1", "6.1", "7.1")),
    "m4a": ("aac", ("3.0", "4.0", "5.0", "5.1", "7.1")),
    "ac3": ("ac3", ("3.0", "2.1", "4.0", "5.0", "5.1")),
}
VORBIS = {  # the order of Vorbis I, 4.3.9
    "3.0": ("FL", "FC", "FR"),
    "quad": ("FL", "FR", "BL", "BR"),
    "5.0": ("FL", "FC", "FR", "BL", "BR"),
    "5.1": ("FL", "FC", "FR", "BL", "BR", "LFE"),
    "6.1": ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    "7.1": ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
RATE = 48000


def tones(count):
    """[count, T]: 300 Hz in the first channel, 500 in the second ..."""
    time = np.arange(RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 200 * i) * time) for i in range(count)])


def encode(path, codec, layout):
    sound = np.rint(tones(len(LAYOUTS[layout])).T * 32767).astype(np.int16)
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=RATE, layout=layout)
        stream.bit_rate = 600_000
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = RATE
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def heard(stereo, count):
    """[count, 2]: how loud each channel's tone is on either side."""
    middle = stereo[:, RATE // 4 : RATE // 4 * 3]
    window = np.hanning(middle.shape[1])
    spectrum = np.abs(np.fft.rfft(middle * window)) / (middle.shape[1] / 4) / 0.3
    bins = [round((300 + 200 * i) * middle.shape[1] / RATE) for i in range(count)]
    return spectrum[:, bins].T


@pytest.mark.parametrize(
    ("name", "layout"), [(name, each) for name, (_, those) in CODECS.items() for each in those]
)
def test_every_channel_goes_where_its_name_says(tmp_path, name, layout):
    path = tmp_path / f"x.{name}"
    encode(path, CODECS[name][0], layout)
    check(path, LAYOUTS[layout])


@pytest.mark.parametrize("layout", VORBIS)
def test_the_order_of_vorbis(tmp_path, layout):
    path = tmp_path / "x.ogg"
    soundfile.write(path, tones(len(VORBIS[layout])).T, RATE, format="OGG")
    check(path, VORBIS[layout])


def check(path, names):
    """The tone of every channel is where its name says."""
    with open_mix(path) as mix:
        sound = np.concatenate(list(mix.blocks()), -1)
        stereo = downmix(mix.channels, mix.layout) @ sound
    assert len(mix.layout) == mix.channels == len(names)
    wanted = [GAINS[each] for each in names]
    assert np.allclose(heard(stereo, len(names)), wanted, atol=0.1)  # lossy ones are not exact


def test_ten_and_more_channels_of_films(tmp_path):
    """Planar frames of eight and more channels ended the process."""
    for count in (8, 10, 16, 24):
        path = tmp_path / f"{count}.mka"
        sound = np.rint(tones(count) * 20000).astype(np.int16)
        soundfile.write(tmp_path / "x.wav", sound.T, RATE)
        with av.open(str(tmp_path / "x.wav")) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        with open_mix(path) as mix:
            found = np.concatenate(list(mix.blocks()), -1)
        assert mix.channels == count
        assert np.array_equal(np.rint(found * 32768), sound)
        assert bool(mix.layout) == (count == 8)  # films have no names for them, but an order


def test_channels_without_names_are_all_heard(tmp_path):
    """A recorder's drum microphones are no 5.1."""
    soundfile.write(tmp_path / "x.wav", tones(6).T, RATE)
    with open_mix(tmp_path / "x.wav") as mix:
        assert mix.layout == ()
        stereo = downmix(mix.channels, mix.layout) @ np.concatenate(list(mix.blocks()), -1)
    assert np.allclose(heard(stereo, 6), [(1 / 3, 0), (0, 1 / 3)] * 3, atol=0.01)


def test_gains_by_name():
    names = ("FL", "FR", "FC", "LFE", "LFE2", "BC", "FLC", "FRC", "TFL", "TBR", "TC", "WL", "DR")
    assert np.allclose(
        downmix(len(names), names).T,
        [
            (1, 0),
            (0, 1),
            (HALF, HALF),
            (0, 0),
            (0, 0),
            (0.5, 0.5),
            (1, 0),
            (0, 1),
            (HALF, 0),
            (0, HALF),
            (0.5, 0.5),
            (HALF, 0),
            (0, 1),
        ],
    )
