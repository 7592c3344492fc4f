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


def to_real(spectrum: Tensor, n: int, *, normalized: bool = False) -> Tensor:
    """[..., n / 2 + 1] complex to [..., n] real, n even; what has no meaning there is zeroed.

    The first and the last bin of a real signal are real. An imaginary part that a network gives
    them is left out by the CPU's transforms, but not by NVIDIA's at every size.
    """
    imaginary = torch.view_as_real(spectrum).select(-1, 1)
    imaginary.select(-1, 0).zero_()
    imaginary.select(-1, n // 2).zero_()
    signal: Tensor = torch.fft.irfft(spectrum, n=n, norm="ortho" if normalized else "backward")
    return signal


class Stft(nn.Module):
    """One-sided frames centred on multiples of `hop`, reflected at both ends.

    The window is a periodic Hann of `win` samples in the middle of a frame (None: all of it), or
    none at all where `rectangular`. `normalized` scales spectra by n_fft ** -0.5.
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop: int,
        *,
        win: int | None = None,
        rectangular: bool = False,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        self.normalized = normalized
        long = win or n_fft
        shape = torch.ones(n_fft) if rectangular else torch.hann_window(long, periodic=True)
        if not rectangular and long < n_fft:
            left = (n_fft - long) // 2
            shape = functional.pad(shape, (left, n_fft - long - left))
        self.register_buffer("window", shape, persistent=False)
        self._envelopes: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, signal: Tensor) -> Tensor:
        """[..., T] real to [..., n_fft / 2 + 1, T / hop + 1] complex; T > n_fft / 2."""
        lead = signal.shape[:-1]
        spectrum = torch.stft(
            signal.reshape(-1, signal.shape[-1]),
            self.n_fft,
            self.hop,
            window=self.window,
            center=True,
            pad_mode="reflect",
            normalized=self.normalized,
            return_complex=True,
        )
        return spectrum.reshape(*lead, *spectrum.shape[-2:])

    def inverse(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """[..., n_fft / 2 + 1, frames] complex to [..., length] real; None: (frames - 1) * hop.

        Least squares over the windows that exist (Griffin and Lim 1984, eq. 6): the frames are
        windowed again, added up and divided by the sum of squared windows. `length` may reach
        less than a hop beyond the last frame's middle. The spectrum may be changed: see `to_real`.
        """
        frames = to_real(spectrum.transpose(-1, -2), self.n_fft, normalized=self.normalized)
        signal = frames_to_signal(frames.mul_(self.window), self.hop).div_(self._envelope(frames))
        whole = (spectrum.shape[-1] - 1) * self.hop
        return signal.narrow(-1, self.n_fft // 2, whole if length is None else length)

    def _envelope(self, frames: Tensor) -> Tensor:
        """[(frames - 1) * hop + n_fft]: the sum of squared windows at every sample."""
        count = frames.shape[-2]
        key = (count, frames.device)
        if key not in self._envelopes:
            squares = (self.window * self.window).expand(count, -1)
            # Only the outermost samples, which `inverse` cuts off, are not covered.
            self._envelopes[key] = frames_to_signal(squares, self.hop).clamp_min(1e-11)
        return self._envelopes[key]
