"""MSST's YAML beside an SCNet, as a Manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_runtime.models.drafts import agree, of_msst
from sep_runtime.nets.scnet import ScnetShape

if TYPE_CHECKING:
    from sep_models import Manifest
    from sep_runtime.models.drafts import Network
    from sep_runtime.models.identity import Identity
    from sep_runtime.models.tables import Table

_KEYS = (
    *("sources", "audio_channels", "dims", "nfft", "hop_size", "win_size", "normalized"),
    *("band_SR", "band_stride", "band_kernel", "conv_depths", "compress", "conv_kernel"),
    *("num_dplayer", "expand", "tran_rotary_embedding_dim", "tran_depth", "tran_heads"),
    *("tran_dim_head", "tran_attn_dropout", "tran_ff_dropout", "tran_flash_attn"),
)
_LISTS = ("dims", "band_kernel", "conv_depths")
_NUMBERS = (
    *("nfft", "num_dplayer", "compress", "conv_kernel", "expand", "tran_depth", "tran_heads"),
    *("tran_dim_head", "tran_rotary_embedding_dim"),
)
OVERLAP = 4  # of MSST where a YAML says none
MOST_FFT = 1 << 16
_BANDS = 3
_USUAL = ScnetShape(stems=1)  # what a YAML leaves out


def manifest_of(root: Table, name: str, identity: Identity) -> Manifest:
    """Return the manifest; raise ValueError where the document says none."""
    model = root.table("model")
    model.only(_KEYS)
    said = {each: model.wholes(each) for each in _LISTS if each in model.values}
    agree(identity, {**said, **{each: model.maybe(each) for each in _NUMBERS}})
    nfft = identity.count("nfft") or model.whole("nfft", _USUAL.nfft)
    model.within("nfft", nfft, 64, MOST_FFT)
    hop = model.whole("hop_size", _USUAL.hop_size)
    win = model.whole("win_size", _USUAL.win_size)
    model.within("win_size", win, 16, nfft)
    model.within("hop_size", hop, 1, win)
    dims, layers = identity.counts("dims"), identity.count("num_dplayer")
    if dims[0] % 2 or layers % 2:
        raise ValueError(f"dims begin with {dims[0]}, num_dplayer is {layers}: both must be even")
    stride, ratios = _USUAL.band_stride, _USUAL.band_SR
    if "band_stride" in model.values:
        stride = model.wholes("band_stride")
    if "band_SR" in model.values:
        ratios = model.numbers("band_SR")
    kernels = identity.counts("band_kernel")
    if not len(stride) == len(ratios) == len(kernels) == _BANDS:
        raise ValueError("band_SR, band_stride and band_kernel must have three numbers each")
    if not all(1 <= each <= kernel for each, kernel in zip(stride, kernels, strict=True)):
        raise ValueError(f"{model.name}band_stride must be 1 or more, and band_kernel at the most")
    if not all(0 < each < 1 for each in ratios) or ratios[0] + ratios[1] >= 1:
        raise ValueError(f"{model.name}band_SR must be parts of 1")
    network: Network = {
        **{each: fact for each, fact in identity.facts.items() if each != "stems"},
        "nfft": nfft,
        "hop_size": hop,
        "win_size": win,
        "normalized": model.flag("normalized", default=_USUAL.normalized),
        "band_SR": ratios,
        "band_stride": stride,
    }
    names = model.texts("sources") if "sources" in model.values else ()
    return of_msst(root, name, identity, network, overlap=OVERLAP, names=names)
