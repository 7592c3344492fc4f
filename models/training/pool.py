"""Rendered clips kept on the training device, and batches drawn from them with more variation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class Pool:
    """A ring of clips [5, 2, T] int16 on the device; the oldest give way to new ones."""

    def __init__(self, slots: int, clip: int, device: torch.device) -> None:
        self.clips = torch.zeros(slots, 5, 2, clip, dtype=torch.int16, device=device)
        self.filled = 0
        self.seen = 0
        # A stream of its own: a copy in the training's would wait for all steps queued there.
        on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._staged = torch.zeros(5, 2, clip, dtype=torch.int16, pin_memory=on_gpu)

    def add(self, clip: Tensor) -> None:
        """Put a clip in the next slot."""
        slot = self.clips[self.seen % len(self.clips)]
        if self._stream is None:
            slot.copy_(clip)
        else:
            self._staged.copy_(clip)
            with torch.cuda.stream(self._stream):
                slot.copy_(self._staged, non_blocking=True)
            self._stream.synchronize()
        self.seen += 1
        self.filled = min(self.seen, len(self.clips))

    def batch(self, size: int, chunk: int) -> Tensor:
        """[size, 5, 2, chunk]: random crops; a fifth of them take stems from several clips."""
        base = torch.randint(self.filled, (size, 1)).expand(size, 5)
        other = torch.randint(self.filled, (size, 5))
        swap = (torch.rand(size, 1) < 0.2) & (torch.rand(size, 5) < 0.5)
        index = torch.where(swap, other, base).tolist()
        length = self.clips.shape[-1]
        common = torch.randint(length - chunk + 1, (size, 1)).expand(size, 5)
        own = torch.randint(length - chunk + 1, (size, 5))
        start = torch.where(swap, own, common).tolist()
        crops = [
            self.clips[index[b][s], s, :, start[b][s] : start[b][s] + chunk]
            for b in range(size)
            for s in range(5)
        ]
        return torch.stack(crops).reshape(size, 5, 2, chunk).float() / 32768


def vary(stems: Tensor) -> Tensor:
    """[B, 5, 2, T] to the same: levels, muted stems, tone, glue, drive and overall level.

    One row in five stays as it was mixed, but for muted stems, sides, codec and overall level.
    """
    size, device = len(stems), stems.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, device=device) * (high - low) + low

    gains = 10 ** (torch.randn(size, 5, 1, 1, device=device) * 3.5 / 20)
    kept = torch.rand(size, 5, 1, 1, device=device) > 0.07
    plain = torch.rand(size, 1, 1, 1, device=device) < 0.2
    stems = torch.where(plain, stems, equalised(stems * gains)) * kept
    swapped = torch.rand(size, 1, 1, 1, device=device) < 0.5
    stems = torch.where(swapped, stems.flip(2), stems)
    mono = torch.rand(size, 1, 1, 1, device=device) < 0.1
    stems = torch.where(mono, stems.mean(2, keepdim=True), stems)
    stems = stems / peak(stems)
    used = ~plain & (torch.rand(size, 1, 1, 1, device=device) < 0.75)
    stems = torch.where(
        used, glued(stems, uniform(-28, -6, size, 1), uniform(0.2, 0.8, size, 1)), stems
    )
    stems = stems / peak(stems)
    used = ~plain & (torch.rand(size, 1, 1, 1, device=device) < 0.55)
    stems = torch.where(used, driven(stems, uniform(0.4, 5, size, 1, 1)), stems)
    some = max(size // 6, 1)  # rows are alike, so the first ones do
    few = coded(stems[:some], uniform(0.3, 3, some, 1, 1, 1))
    stems = torch.cat((few, stems[some:]))
    quiet = torch.rand(size, 1, 1, 1, device=device) < 0.12
    level = torch.where(quiet, uniform(-36, -12, size, 1, 1, 1), uniform(-12, 0, size, 1, 1, 1))
    return stems / peak(stems) * 10 ** (level / 20)


def peak(stems: Tensor) -> Tensor:
    """[B, 5, 2, T] to [B, 1, 1, 1]: the peak of the mix, at least -50 dB."""
    return stems.sum(1, keepdim=True).abs().amax((2, 3), keepdim=True).clamp_min(3e-3)


def equalised(stems: Tensor) -> Tensor:
    """[B, 5, 2, T]: smooth random tone curves, one for each stem and one for the whole mix."""
    size, _, _, length = stems.shape
    bins = length // 2 + 1
    octave = torch.log2(torch.arange(bins, device=stems.device) / length * 44100 + 20)
    curve = torch.zeros(size, 5, bins, device=stems.device)
    for spread, count in ((2.0, 5), (3.0, 1)):
        for _ in range(3):
            shape = (size, count, 1)
            centre = torch.rand(shape, device=stems.device) * 9 + 5  # 32 Hz .. 16 kHz
            width = torch.rand(shape, device=stems.device) * 1.5 + 0.7
            bump = torch.exp(-0.5 * ((octave - centre) / width) ** 2)
            curve += torch.randn(shape, device=stems.device) * spread * bump
    gain = 10 ** (curve / 20)
    shaped: Tensor = torch.fft.irfft(torch.fft.rfft(stems) * gain[:, :, None], n=length)
    return shaped


def glued(stems: Tensor, threshold_db: Tensor, strength: Tensor) -> Tensor:
    """[B, 5, 2, T]: bus compression; one gain curve from the mix for all stems."""
    mix = stems.sum(1).abs().amax(1, keepdim=True)  # [B, 1, T]
    block = 64
    envelope = functional.max_pool1d(mix, block, block, ceil_mode=True)
    level = 20 * torch.log10(envelope.clamp_min(1e-5)).squeeze(1)
    over = (level - threshold_db).clamp_min(0) * strength
    window = torch.hann_window(31, periodic=False, device=stems.device)
    smooth = functional.conv1d(
        over.unsqueeze(1), (window / window.sum()).view(1, 1, -1), padding=15
    )
    gain = 10 ** (-smooth / 20)
    curve = functional.interpolate(gain, size=stems.shape[-1], mode="linear")
    return stems * curve.unsqueeze(1)


def driven(stems: Tensor, drive: Tensor) -> Tensor:
    """[B, 5, 2, T]: soft clipping of the mix, as a gain for every stem at every sample."""
    mix = stems.sum(1) * drive
    ratio = torch.where(mix.abs() < 1e-3, torch.ones_like(mix), torch.tanh(mix) / (mix + 1e-12))
    return stems * ratio.unsqueeze(1)


def coded(stems: Tensor, loss: Tensor) -> Tensor:
    """[B, 5, 2, T]: what a lossy codec leaves: weak bins of the mix and the top octave are gone.

    `loss` [B, 1, 1, 1] is the part of a frame's mean magnitude below which a bin is dropped.
    """
    size, length = len(stems), stems.shape[-1]
    window = torch.hann_window(2048, device=stems.device)
    flat = stems.flatten(0, 2)
    spectrum = torch.stft(flat, 2048, 512, window=window, return_complex=True)
    spectrum = spectrum.reshape(size, 10, *spectrum.shape[1:])
    mix = spectrum.reshape(size, 5, 2, *spectrum.shape[2:]).sum(1).abs().mean(1, keepdim=True)
    bins = torch.arange(1025, device=stems.device).view(1, 1, -1, 1)
    near = functional.avg_pool2d(mix, (33, 1), 1, (16, 0))
    cut = 500 + torch.rand(size, 1, 1, 1, device=stems.device) * 450  # 10.8 .. 20.5 kHz
    kept = (mix > 0.15 * loss * near) & (bins < cut)
    out = torch.istft((spectrum * kept).flatten(0, 1), 2048, 512, window=window, length=length)
    return out.reshape(stems.shape)
