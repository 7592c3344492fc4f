"""LarsNet as a Separator: one STFT of the stream, five U-Nets on blocks of 512 frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from sep_runtime.models.adopt import Uninitialised, adopt
from sep_runtime.nets.stft import frames_to_signal
from sep_runtime.nets.unet import BINS, FRAMES, UNet
from sep_runtime.streams.overlap import Chunking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sep_runtime.models.states import State

N_FFT = 4096
HOP = 1024
EDGE = N_FFT // 2  # samples reflected at both ends


class LarsNet:
    """A Separator; `wiener` is the exponent of the alpha-Wiener filter, None for plain masks."""

    channels = 2

    def __init__(
        self,
        networks: Sequence[UNet],
        *,
        stems: Sequence[str],
        sample_rate: int,
        wiener: float | None = None,
    ) -> None:
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        self.cut = Chunking(chunk=FRAMES * HOP, hop=FRAMES * HOP)
        self.networks = tuple(networks)
        self.wiener = wiener

    def stream(self) -> LarsNetStream:
        """Begin a pass over one mix."""
        return LarsNetStream(self)

    def masks(self, magnitude: Tensor) -> Tensor:
        """[2, BINS, FRAMES] magnitudes of the mix to [S, 2, BINS, FRAMES] masks."""
        masks = torch.stack([network(magnitude.unsqueeze(0))[0] for network in self.networks])
        if self.wiener is None:
            return masks
        powers = (masks * magnitude).pow(self.wiener)
        return powers / (powers.sum(0, keepdim=True) + 1e-7)


class LarsNetStream:
    """The samples of the original whole-file pass, in bounded memory.

    The original pads the end with zeros to a multiple of HOP, reflects EDGE samples at both ends,
    counts blocks of FRAMES frames from the first, pads the last with silence, and divides the
    inverse by the windows that exist. All of it is local, so blocks can be done as they arrive.
    """

    def __init__(self, model: LarsNet) -> None:
        device = next(model.networks[0].parameters()).device
        self.chunks = 0
        self._model = model
        self._window = torch.hann_window(N_FFT, periodic=True, device=device)
        self._head = torch.zeros(2, 0, device=device)  # until enough is here to reflect it
        self._mix: Tensor | None = None  # the padded mix from the next frame's first sample on
        # The stems' and, as a last row, the squared window's sums that later frames add to.
        rows = 2 * len(model.stems) + 1
        self._tail = torch.zeros(rows, N_FFT - HOP, device=device)
        self._skip = EDGE  # samples of the reflected start, not part of the output
        self._seen = 0
        self._given = 0

    def push(self, mix: Tensor) -> Tensor:
        """[2, n] to [S, 2, m]."""
        mix = mix.to(self._tail.device)
        self._seen += mix.shape[-1]
        if self._mix is None:
            self._head = torch.cat((self._head, mix), -1)
            if self._head.shape[-1] <= EDGE:
                return self._trimmed([])
            self._start()
        else:
            self._mix = torch.cat((self._mix, mix), -1)
        return self._trimmed(self._blocks(FRAMES))

    def finish(self) -> Tensor:
        """[S, 2, m]."""
        if not self._seen:
            return self._trimmed([])
        padded = max(-(-self._seen // HOP), EDGE // HOP + 1) * HOP
        if self._mix is None:
            self._head = functional.pad(self._head, (0, padded - self._seen))
            self._start()
        else:
            self._mix = functional.pad(self._mix, (0, padded - self._seen))
        mix = self._rest()
        end = mix.narrow(-1, mix.shape[-1] - EDGE - 1, EDGE).flip(-1)
        self._mix = torch.cat((mix, end), -1)
        done = [*self._blocks(FRAMES), *self._blocks(1), self._tail]
        return self._trimmed(done)

    def _start(self) -> None:
        self._mix = torch.cat((self._head.narrow(-1, 1, EDGE).flip(-1), self._head), -1)
        self._head = self._head.narrow(-1, 0, 0)

    def _rest(self) -> Tensor:
        if self._mix is None:
            raise AssertionError("the stream has not begun")
        return self._mix

    def _blocks(self, least: int) -> list[Tensor]:
        """Do every block of at least this many frames; return their sums of [rows, samples]."""
        done = []
        mix = self._rest()
        while (count := min(FRAMES, (mix.shape[-1] - N_FFT) // HOP + 1)) >= least:
            sums = self._block(mix.narrow(-1, 0, (count - 1) * HOP + N_FFT), count)
            sums.narrow(-1, 0, N_FFT - HOP).add_(self._tail)
            done.append(sums.narrow(-1, 0, count * HOP))
            self._tail = sums.narrow(-1, count * HOP, N_FFT - HOP).clone()
            mix = mix.narrow(-1, count * HOP, mix.shape[-1] - count * HOP)
        self._mix = mix.clone()
        return done

    def _block(self, mix: Tensor, count: int) -> Tensor:
        """[2, (count - 1) HOP + N_FFT] to the sums [rows, the same]."""
        frames = mix.unfold(-1, N_FFT, HOP) * self._window
        spectrum = torch.fft.rfft(frames).transpose(-1, -2).narrow(-2, 0, BINS)
        magnitude = functional.pad(spectrum.abs(), (0, FRAMES - count))
        masks = self._model.masks(magnitude).narrow(-1, 0, count)
        self.chunks += 1
        stems = functional.pad((masks * spectrum).flatten(0, 1), (0, 0, 0, 1))
        frames = torch.fft.irfft(stems.transpose(-1, -2), n=N_FFT) * self._window
        squares = self._window.square().expand(1, count, -1)
        return frames_to_signal(torch.cat((frames, squares)), HOP)

    def _trimmed(self, sums: list[Tensor]) -> Tensor:
        """Divide by the windows and cut the reflected ends off: [S, 2, m]."""
        joined = torch.cat(sums, -1) if sums else self._tail.narrow(-1, 0, 0)
        skipped = min(self._skip, joined.shape[-1])
        self._skip -= skipped
        count = min(joined.shape[-1] - skipped, self._seen - self._given)
        self._given += count
        joined = joined.narrow(-1, skipped, count)
        stems = joined.narrow(0, 0, joined.shape[0] - 1) / joined.narrow(0, joined.shape[0] - 1, 1)
        return stems.reshape(len(self._model.stems), 2, count)


def build(found: Sequence[State], stems: Sequence[str], device: torch.device) -> list[UNet]:
    """Return one U-Net per stem from keys `<stem>.<key>`; raise ModelError where they differ."""
    networks = []
    for stem in stems:
        with Uninitialised():
            network = UNet()
        adopt(network, [_of_stem(state, f"{stem}.") for state in found])
        networks.append(network.to(device).eval().requires_grad_(requires_grad=False))
    return networks


def _of_stem(state: State, prefix: str) -> State:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
