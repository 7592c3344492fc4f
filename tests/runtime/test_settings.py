"""Settings and manifests of strangers: names that become files, numbers that become memory."""

import copy
import random
import string
from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import sep_models
from sep_models import Manifest, canonical, together
from sep_protocol import Model, Track
from sep_protocol.codec import FormError, decode
from sep_protocol.errors import ModelError
from sep_runtime.models import document, mdx23c, separators, settings
from sep_runtime.models.prepared import shape_of
from sep_runtime.nets.tfc_tdf import TfcTdf, TfcTdfShape

SETTINGS = yaml.safe_load("""
audio: {chunk_size: 496, dim_f: 16, hop_length: 16, n_fft: 64, num_channels: 2, sample_rate: 44100}
model: {act: gelu, bottleneck_factor: 2, growth: 2, norm: InstanceNorm, num_blocks_per_scale: 1,
        num_channels: 4, num_scales: 1, num_subbands: 2, scale: [2, 2]}
training: {instruments: [kick, snare], target_instrument: null}
inference: {chunk_size: null, normalize: false}
""")
MINI = sep_models.find("mdx23c-mini")

NO_NAMES = [
    *("", " ", ".", "..", "../../precious", "a/b", "/etc/passwd", "a\\b", "C:x", "~/x/..", "x."),
    *(".hidden", "a\0b", "a\nb", "a\x1b[31m", "\u202egnp.exe", "\ud800", "\x7f", "a\u2028b"),
    *('a"b', "a<b", "a>b", "a|b", "what?", "*", "con", "NUL", "aux.kick", "com1", "LPT9", "COM¹"),
    *("residual", "Residual", "k" * 61),
]


def read(tmp_path, raw):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(raw) if isinstance(raw, dict) else raw, encoding="utf-8")
    return settings.read(path, "x")


def cut(manifest):
    shape = shape_of(TfcTdfShape, manifest.network, len(manifest.outputs))
    mdx23c.cut_for(shape, manifest.chunk, manifest.overlap, None)
    return shape


def changed(where, value):
    raw = copy.deepcopy(SETTINGS)
    *tables, last = where.split(".")
    table = raw
    for each in tables:
        table = table[each]
    table[last] = value
    return raw


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_stems_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="stem"):
        replace(MINI, stems=("kick", name))
    with pytest.raises(FormError, match="stem"):
        decode(Manifest, {**plain(MINI), "stems": ["kick", name]})
    path = tmp_path / "settings.yaml"
    # As YAML's own escapes: some of these can be written in no other way.
    path.write_text(f"{yaml.safe_dump(SETTINGS)}\n".replace("- snare", f"- {quoted(name)}"))
    if name == " ":
        name = ""  # spaces around a name are no part of it
    with pytest.raises(ModelError) as caught:
        settings.read(path, "x")
    assert str(path) in caught.value.message
    assert caught.value.message.isprintable()


def plain(manifest):
    from dataclasses import asdict

    return asdict(manifest)


def quoted(text):
    return '"' + "".join(f"\\u{ord(each):04x}" for each in text) + '"'


@pytest.mark.parametrize(
    "names",
    [
        ("kick", "Kick"),
        ("hh", "hihat"),
        ("tom", "toms"),
        ("café", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("kick ", "kick"),
        (),
    ],
)
def test_two_stems_of_one_name_and_none_at_all_are_refused(tmp_path, names):
    with pytest.raises(ModelError, match=r"two stems are called|no stems"):
        read(tmp_path, changed("training.instruments", list(names)))
    with pytest.raises(ValueError, match=r"two stems are called|no stems"):
        replace(MINI, stems=tuple(map(str.strip, names)))


@pytest.mark.parametrize(
    "name",
    ["hi hat (open)", "bass+drums", "grosse caisse", "キック", "s-n & co", "808", "a.b", "k" * 60],
)
def test_names_of_people_are_kept(tmp_path, name):
    raw = changed("training.instruments", ["kick", name])
    assert read(tmp_path, raw).stems == ("kick", name)
    assert together.wanted((name.upper(),), read(tmp_path, raw).stems, name="it") == (name,)


@given(st.text(max_size=70))
def test_a_stem_that_is_taken_is_one_name_in_a_folder(name):
    try:
        stems = replace(MINI, stems=(canonical(name),)).stems
    except ValueError:
        return
    file = Track(audio="/a", out="/o").file_of(stems[0])
    assert file == stems[0]
    assert not set('/\\<>:"|?*\0\n') & set(file)
    assert file.strip(" .") == file != ""
    assert file.isprintable()


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("training.instruments", "kick", "must be a list, not 'kick'"),
        ("training.instruments", None, "training.instruments is missing"),
        ("training.instruments", ["kick", None], "nothing in it"),
        ("training.instruments", ["kick", True], "True in it"),
        ("training.instruments", ["kick", ["x"]], "a list in it"),
        ("training.instruments", ["kick", {"x": 1}], "a table in it"),
        ("training.instruments", list(map(str, range(33))), "stems must be"),
        ("training.target_instrument", ["x"], "must be a text, not a list"),
        ("audio.n_fft", "many", "must be a whole number, not 'many'"),
        ("audio.n_fft", None, "audio.n_fft is missing"),
        ("audio.n_fft", True, "must be a whole number, not True"),
        ("audio.n_fft", 512.5, "not 512.5"),
        ("audio.n_fft", float("nan"), "not nan"),
        ("audio.n_fft", [1], "not a list"),
        ("audio.n_fft", 0, "n_fft"),
        ("audio.n_fft", 10**90, "n_fft"),
        ("audio.hop_length", -16, "hop"),
        ("audio.hop_length", 33, "hop"),
        ("audio.dim_f", 1 << 40, "dim_f"),
        ("audio.num_channels", 1, "stereo"),
        ("audio.num_channels", 8, "stereo"),
        ("audio.sample_rate", 0, "sample rate"),
        ("audio.sample_rate", 10**18, "sample rate"),
        ("audio.sample_rate", -44100, "sample rate"),
        ("audio.sample_rate", 3999, "sample rate"),
        ("audio.chunk_size", 0, "chunk"),
        ("audio.chunk_size", 1 << 24, "chunk"),
        ("inference.chunk_size", [1], "not a list"),
        ("inference.normalize", "yes please", "true or false"),
        ("model.num_channels", 10**7, "channels"),
        ("model.norm", "GroupNorm0", "norm"),
        ("model.norm", "GroupNorm3", "divisible"),
        ("model.norm", "GroupNorm" + "9" * 90, "norm"),
        ("model.norm", ["x"], "must be a text"),
        ("model.norm", "x" * 5000, "norm"),
        ("model.act", "elunan", "activation"),
        ("model.act", "elu", "activation"),
        ("model.act", "elu-1", "activation"),
        ("model.act", None, "activation"),
        ("model.scale", 2, "must be a list"),
        ("model.scale", [2], "scale"),
        ("model.scale", [2, "2"], "whole numbers"),
        ("model.scale", [0, 2], "scale"),
        ("model.scale", [1 << 70, 2], "scale"),
        ("model.bottleneck_factor", 1000, "bottleneck"),
        ("model", [], "model must be a table"),
        ("audio", None, "audio is missing"),
        ("inference", 3, "inference must be a table"),
    ],
)
def test_values_of_another_type_or_beyond_reason(tmp_path, where, value, told):
    with pytest.raises(ModelError, match=told) as caught:
        cut(read(tmp_path, changed(where, value)))
    assert len(caught.value.message) < 400


def test_numbers_as_people_write_them(tmp_path):
    raw = changed("audio.n_fft", "64")
    raw["audio"]["sample_rate"] = 48000.0
    manifest = read(tmp_path, raw)
    assert (manifest.network["n_fft"], manifest.sample_rate) == (64, 48000)


@pytest.mark.parametrize(
    ("chunk", "n_fft", "hop", "told"),
    [
        (16, 64, 16, "too short"),  # less than the reflection at its ends needs
        (4_000_001, 65536, 1, "too long"),
    ],
)
def test_a_chunk_that_would_fail_later(chunk, n_fft, hop, told):
    network = {**settings.manifest_of(SETTINGS, "x").network, "n_fft": n_fft, "hop": hop}
    with pytest.raises(ModelError, match=told):
        mdx23c.cut_for(shape_of(TfcTdfShape, network, 2), chunk, 2.0, None)


TEXT = yaml.safe_dump(SETTINGS)
BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "\n".join(
    f"{name}: &{name} {{{', '.join(f'{name}{i}: 1' for i in range(600))}}}" for name in "ab"
)
MERGES += "\nc: {<<: [*a, *b]}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB + TEXT.replace("norm: InstanceNorm", "norm: *i"), "must be a text, not a list"),
        (BOMB + TEXT.replace("n_fft: 64", "n_fft: *i"), "not a list"),
        (BOMB + TEXT.replace("- snare", "- *i"), "a list in it"),
        ("a: &a [" + "*a, " * 1001 + "]", "aliases"),
        (MERGES, "merges"),
        ("[" * 60 + "]" * 60, "levels"),
        ("[" * 500_000, "levels"),
        ("".join(" " * i + "- \n" for i in range(60)) + "", "levels|cannot be used|found"),
        ("a: [" + "1, " * 30_000 + "]", "values"),
        ("a: " + "9" * 6000, "6000 characters"),
        ("a: !!int " + ":".join("1" * 3000), "characters"),
        ("a: !!int many", "no YAML"),
        ("a: !!float ''", "no YAML"),
        ("a: !!timestamp soon", "no YAML"),
        ("a: 2020-13-45", "no YAML"),
        ("a: !!bool perhaps", "no YAML"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML"),
        ("a: !!python/name:os.system ''", "no YAML"),
        ("audio:\n\tchunk_size: 1", "line 2"),
        ("? [a, b]\n: c", "no YAML"),
        ("a: *b", "no YAML"),
        ("%YAML 9.9\n---\na: b", "no YAML"),
        ("a\x00b: c", "no YAML"),
        ("a: b\n---\nc: d", "no YAML"),
        ("x" * (1 << 20) + "y", "1 MiB"),
        ("", "nothing"),
        ("- 1", "a list"),
        ("just text", "'just text'"),
    ],
)  # fmt: skip
def test_yaml_within_limits(tmp_path, text, told):
    with pytest.raises(ModelError, match=told) as caught:
        read(tmp_path, text)
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.replace("\n", "\r\n").encode(),
        f"# \xdcber 'smart' \u201cquotes\u201d\n{TEXT}".encode("cp1252"),
        TEXT.replace("scale:\n  - 2\n  - 2", "scale: !!python/tuple [2, 2]").encode(),
        f"base: &base {{n_fft: 64}}\n{TEXT}".replace("  n_fft: 64\n", "  <<: *base\n").encode(),
    ],
)
def test_files_as_people_have_them(tmp_path, data):
    (tmp_path / "x.yaml").write_bytes(data)
    assert settings.read(tmp_path / "x.yaml", "x").network["scale"] == (2, 2)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.yaml")
    for path in (tmp_path / "x.yaml", tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ModelError, match=r"the settings .* cannot be read"):
            document.read(path)


NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    31,
    32,
    33,
    48,
    64,
    100,
    4000,
    1 << 23,
    1e18,
    None,
    "2",
    "x",
)


def mutated(raw, chance):
    """Return the settings with a few values replaced by others that a file may have."""
    raw = copy.deepcopy(raw)
    for _ in range(chance.choice((1, 1, 2, 3))):
        table = raw[chance.choice(("audio", "model", "training", "inference"))]
        key = chance.choice(list(table))
        near = [table[key] * 2, table[key] // 2] if type(table[key]) is int else []
        table[key] = chance.choice(
            (
                *near * 20,
                *NUMBERS,
                *("BatchNorm", "GroupNorm2", "GroupNorm1", "none", "relu", "elu0.5"),
                *([2, 1], [1, 2], [4, 2], [chance.choice(NUMBERS)] * 2, ["a", "b", "c"], {}, True),
            )
        )
    return raw


@pytest.mark.slow
def test_mutated_settings_are_refused_or_separate(tmp_path):
    """What loads must also work, on mixes of any length: a network of exactly these settings."""
    chance, worked = random.Random(0), 0
    for seed in range(300):
        raw = mutated(SETTINGS, random.Random(seed))
        text = yaml.safe_dump(raw)
        if seed % 4 == 0:
            at = chance.randrange(len(text))
            text = text[:at] + "".join(chance.choices(string.printable, k=3)) + text[at + 2 :]
        (tmp_path / "x.yaml").write_text(text)
        try:
            manifest = settings.read(tmp_path / "x.yaml", "x")
            torch.save(TfcTdf(cut(manifest)).state_dict(), tmp_path / "x.ckpt")
            model = Model(
                name="x", checkpoint=str(tmp_path / "x.ckpt"), settings=str(tmp_path / "x.yaml")
            )
            separator = separators.load(model, torch.device("cpu")).separator
        except ModelError as fault:
            assert fault.message.isprintable()
            continue
        for samples in (1, 100, separator.cut.chunk, separator.cut.chunk + 5):
            if samples < 5000:
                stream = separator.stream()
                with torch.inference_mode():
                    parts = [stream.push(torch.rand(2, samples)), stream.finish()]
                assert torch.cat(parts, -1).shape == (len(separator.stems), 2, samples)
        worked += 1
    assert 15 < worked < 270


def test_parts_of_a_kit_tell_a_model_for_drums(tmp_path):
    for names, expects in ((["snare", "else"], "drums"), (["drums", "else"], "a whole song")):
        assert read(tmp_path, changed("training.instruments", names)).expects == expects
