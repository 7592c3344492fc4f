"""Hybrid Demucs (Défossez: Hybrid spectrogram and waveform source separation, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from sep_runtime.nets.demucs_layers import HEADS, Bins, Decoder, Encoder, Hybrid
from sep_runtime.nets.demucs_shape import HybridShape, bounded

if TYPE_CHECKING:
    from torch import Tensor

LIMITS = {"time_stride": (2, 32), "dconv_attn": (0, 64), "dconv_lstm": (0, 64)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HDemucsShape(HybridShape):
    """Everything that fixes the network, by the names of its authors' options."""

    time_stride: int = 2  # of layers in which both branches are one
    dconv_attn: int = 4  # the first layer with attention in its DConv
    dconv_lstm: int = 4  # the first one with an LSTM
    hybrid_old: bool = False  # zeros around the mix, and spectra that come back late

    def __post_init__(self) -> None:
        """Raise ValueError where a number is absurd or layers do not fit each other."""
        HybridShape.__post_init__(self)
        bounded(self, LIMITS)
        if self.time_stride % 2:
            msg = f"time_stride must be even, not {self.time_stride}"
            raise ValueError(msg)
        if self.nfft != 4 * self.stride**self.merged:
            msg = f"nfft must be four times a power of stride {self.stride}, not {self.nfft}"
            raise ValueError(msg)
        if self.depth < self.merged:
            msg = f"depth must be {self.merged} at least, where one bin is left, not {self.depth}"
            raise ValueError(msg)
        attentive = range(self.dconv_attn, self.depth) if self.dconv_mode else ()
        if any(self.width(i) // self.dconv_comp % HEADS for i in attentive):
            msg = f"dconv_comp {self.dconv_comp} leaves channels that {HEADS} heads cannot share"
            raise ValueError(msg)

    @property
    def merged(self) -> int:
        """Layers with two branches; the last of them leaves one bin, and both are one."""
        layers = 1
        while self.bins(layers - 1) > self.kernel_size:
            layers += 1
        return layers

    @property
    def free(self) -> bool:
        """Whether a mix may have any length."""
        return True


class HDemucs(Hybrid):
    """[B, C, T] mixes to [B, S, C, T] stems, for any T.

    Both branches go down side by side until the spectrum is one bin, to which the waveform's is
    added; what goes up begins with zeros, so all that is known of the mix comes by the skips.
    """

    def __init__(self, shape: HDemucsShape) -> None:
        super().__init__(shape, old=shape.hybrid_old)
        self.shape = shape
        self.freq_emb = Bins(shape) if shape.freq_emb else None
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.tencoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        merged, channels = shape.merged, shape.audio_channels
        for i in range(shape.depth):
            inside = {"lstm": i >= shape.dconv_lstm, "attention": i >= shape.dconv_attn}
            ins = shape.width(i - 1) if i else 2 * channels
            outs = ins if i else ins * shape.stems
            one = i >= merged
            bins = None if one else shape.bins(i)
            stride = shape.time_stride if one else None
            self.encoder.append(Encoder(shape, ins, i, bins=bins, stride=stride, **inside))
            self.decoder.insert(0, Decoder(shape, i, outs, bins=bins, stride=stride, **inside))
            if not one:
                ins, outs = (ins, outs) if i else (channels, outs // 2)
                bare = i == merged - 1
                self.tencoder.append(Encoder(shape, ins, i, bare=bare, **inside))
                self.tdecoder.insert(0, Decoder(shape, i, outs, bare=bare, **inside))

    def _layers(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches, [B, 2 C, F, M] and [B, C, T], to the same of all stems."""
        merged = self.shape.merged
        skips, time_skips, lengths, time_lengths = [], [], [], []
        for i, encode in enumerate(self.encoder):
            inject = None
            if i < merged:
                time_lengths.append(xt.shape[-1])
                xt = self.tencoder[i](xt)
                time_skips.append(xt)
                inject = xt if i == merged - 1 else None
            elif i == merged:
                x = x.squeeze(2)
            lengths.append(x.shape[-1])
            x = encode(x, inject)
            if not i and self.freq_emb is not None:
                x = self.freq_emb(x)
            skips.append(x)
        x = torch.zeros_like(x)
        for k, decode in enumerate(cast("list[Decoder]", self.decoder)):
            i = self.shape.depth - 1 - k
            skip = skips.pop()
            if i >= merged:
                x = decode(x, skip, lengths[i])
                continue
            time_skip, time_length = time_skips.pop(), time_lengths.pop()
            decode_t = cast("Decoder", self.tdecoder[merged - 1 - i])
            if i == merged - 1:
                before = decode.rewritten(x.view_as(skip) + skip)
                x = decode.raised(before, lengths[i])
                xt = decode_t.raised(before.squeeze(2), time_length)
            else:
                x = decode(x, skip, lengths[i])
                xt = decode_t(xt, time_skip, time_length)
        return x, xt
