"""Short-time Fourier transform and its inverse, without the host checks of `torch.istft`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def frames_to_signal(frames: Tensor, hop: int) -> Tensor:
    """[..., T, n] frames to [..., (T - 1) * hop + n]: frame t is added at sample t * hop."""
    *lead, count, length = frames.shape
    parts = -(-length // hop)
    if length != parts * hop:
        frames = functional.pad(frames, (0, parts * hop - length))
    pieces = frames.reshape(*lead, count, parts, hop)
    signal = frames.new_zeros(*lead, count + parts - 1, hop)
    for part in range(parts):
        signal.narrow(-2, part, count).add_(pieces.select(-2, part))
    return signal.flatten(-2).narrow(-1, 0, (count - 1) * hop + length)


class Stft(nn.Module):
    """Periodic Hann, frames centred on multiples of `hop`, reflected at both ends."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        self.register_buffer("window", torch.hann_window(n_fft, periodic=True), persistent=False)
        self._envelopes: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, signal: Tensor) -> Tensor:
        """[..., T] real to [..., n_fft / 2 + 1, T / hop + 1] complex."""
        lead = signal.shape[:-1]
        spectrum = torch.stft(
            signal.reshape(-1, signal.shape[-1]),
            self.n_fft,
            self.hop,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return spectrum.reshape(*lead, *spectrum.shape[-2:])

    def inverse(self, spectrum: Tensor) -> Tensor:
        """[..., n_fft / 2 + 1, frames] complex to [..., (frames - 1) * hop] real.

        Least squares over the windows that exist (Griffin and Lim 1984, eq. 6): the frames are
        windowed again, added up and divided by the sum of squared windows.
        """
        frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=self.n_fft).mul_(self.window)
        signal = frames_to_signal(frames, self.hop).div_(self._envelope(frames))
        return signal.narrow(-1, self.n_fft // 2, (spectrum.shape[-1] - 1) * self.hop)

    def _envelope(self, frames: Tensor) -> Tensor:
        """[(frames - 1) * hop + n_fft]: the sum of squared windows at every sample."""
        count = frames.shape[-2]
        key = (count, frames.device)
        if key not in self._envelopes:
            squares = (self.window * self.window).expand(count, -1)
            # Only the outermost samples, which `inverse` cuts off, are not covered.
            self._envelopes[key] = frames_to_signal(squares, self.hop).clamp_min(1e-11)
        return self._envelopes[key]
