"""The catalogue is a set of facts that fit each other, and the networks that they are for."""

import re
from collections import Counter
from dataclasses import asdict
from urllib.parse import urlsplit

import pytest

import sep_models
from sep_protocol.codec import decode
from sep_runtime.nets.hdemucs import HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucsShape
from sep_runtime.nets.roformer import RoformerShape
from sep_runtime.nets.scnet import ScnetShape
from sep_runtime.nets.tfc_tdf import TfcTdfShape

SHAPES = {
    "mdx23c": TfcTdfShape,
    "bs-roformer": RoformerShape,
    "mel-band-roformer": RoformerShape,
    "htdemucs": HTDemucsShape,
    "hdemucs": HDemucsShape,
    "scnet": ScnetShape,
}
ALL = sep_models.catalogue()
each_model = pytest.mark.parametrize("manifest", ALL, ids=lambda each: each.name)


def shape_of(manifest):
    return decode(
        SHAPES[manifest.architecture], {**manifest.network, "stems": len(manifest.outputs)}
    )


@each_model
def test_the_network_is_one(manifest):
    """Every name in its table is one of the shape: what is misspelt would be left at a default."""
    if manifest.architecture == "larsnet":
        assert not manifest.network
        return
    shape = shape_of(manifest)
    assert set(manifest.network) <= set(asdict(shape))
    match manifest.architecture:
        case "bs-roformer":
            assert sum(shape.bands) == shape.n_fft // 2 + 1
            assert shape.mel_bands == 0
        case "mel-band-roformer":
            assert shape.mel_bands == 60
            assert shape.bands == ()
        case "htdemucs":
            assert shape.segment in (0, manifest.chunk)
        case "scnet":
            assert shape.dims[0] == 2 * shape.audio_channels
            assert len({len(shape.band_SR), len(shape.conv_depths), len(shape.band_kernel)}) == 1
            assert manifest.normalize == shape.whiten  # as the tool does that each was made for
        case _:
            pass


@each_model
def test_chunks_are_those_of_the_tool(manifest):
    """A Roformer's chunk is a multiple of its hop, or its last samples would be lost."""
    if manifest.architecture.endswith("roformer"):
        assert manifest.chunk % manifest.network["hop"] == 0
        assert (manifest.scheme, manifest.overlap) == ("msst", 2)
    if manifest.scheme == "demucs":
        assert manifest.normalize
        assert int(manifest.chunk / manifest.overlap) == int(0.75 * manifest.chunk)
    if manifest.architecture == "scnet":
        assert (manifest.scheme, manifest.overlap, manifest.chunk) == ("msst", 4, 485100)


@each_model
def test_what_is_said_of_its_files(manifest):
    for source in manifest.sources:
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert source.bytes > 1 << 20
        assert source.tail is None or re.fullmatch("[0-9a-f]{32}", source.tail)
        assert source.tried is None or re.fullmatch(r"\d{4}-\d{2}-\d{2}", source.tried)
        for url in source.urls:
            parts = urlsplit(url)
            assert parts.scheme == "https"
            assert not parts.query
            if parts.netloc == "huggingface.co":
                revision = parts.path.split("/resolve/")[1].partition("/")[0]
                assert re.fullmatch("main|[0-9a-f]{40}", revision)


@each_model
def test_licences_have_a_source_and_a_date(manifest):
    """ "Not stated" is a value, and says where that was looked for, too."""
    for told in (manifest.licence, manifest.licence_source, manifest.licence_date):
        assert told.strip(" .") == told != ""
    assert re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", manifest.licence_date)
    assert manifest.licence_source != "not stated"
    assert manifest.imported is None


def test_no_two_models_share_a_name_or_a_file():
    names = [name for each in ALL for name in (each.name, *each.aliases)]
    files = [source.sha256 for each in ALL for source in each.sources]
    urls = [url for each in ALL for source in each.sources for url in source.urls]
    for found in (names, files, urls):
        assert Counter(found).most_common(1)[0][1] == 1
    for name in names:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,59}", name)


def test_a_file_is_known_by_its_hash():
    for each in ALL:
        if len(each.sources) == 1:
            assert sep_models.of_file(each.sources[0].sha256) == each
    kick = sep_models.find("larsnet").sources[0]
    assert sep_models.of_file(kick.sha256) is None  # of no use alone


def test_who_is_taken_where_nothing_is_named():
    """Models of songs by their drums, of one test; those whose licence is in doubt come last."""
    songs = [each for each in ALL if each.expects != "drums" and "drums" in each.outputs]
    scored = [each for each in songs if each.scores and each.name != "bs-roformer-sw"]
    drums = [each.scores["drums"] for each in scored]
    assert drums == sorted(drums, reverse=True)
    assert songs[-1].name == "bs-roformer-sw"
    first, *_, last = [each.name for each in ALL if each.expects == "drums"]
    assert (first, last) == ("mdx23c-drumsep-5stem", "hdemucs-drumsep")
    assert sep_models.find("hdemucs-drumsep").rank < sep_models.find("mdx23c-mini").rank


def test_a_single_stem_has_its_rest():
    for each in ALL:
        assert len(each.stems) > 1
        assert each.rest == (len(each.outputs) == 1)
