"""LarsNet as a Separator: one STFT of the stream, five U-Nets on blocks of 512 frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from sep_runtime.models.adopt import Uninitialised, adopted, chosen
from sep_runtime.nets.stft import frames_to_signal
from sep_runtime.nets.unet import BINS, FRAMES, UNet
from sep_runtime.streams.overlap import Chunking
from sep_runtime.streams.single import UNCHANGED, Single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sep_models import Manifest
    from sep_runtime.models.running import Runner
    from sep_runtime.models.states import State
    from sep_runtime.streams.single import Level

N_FFT = 4096
HOP = 1024
EDGE = N_FFT // 2  # samples reflected at both ends
SAMPLES = (FRAMES - 1) * HOP + N_FFT  # of a block
SHAPE = (2, BINS, FRAMES)  # of what the networks see at once


class Masks(nn.Module):
    """[n, 2, BINS, FRAMES] magnitudes of a mix to [n, S, 2, BINS, FRAMES] masks, a U-Net per stem.

    `wiener` is the exponent of the alpha-Wiener filter, None for plain masks.
    """

    def __init__(self, networks: Sequence[UNet], *, wiener: float | None = None) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.wiener = wiener

    def forward(self, magnitude: Tensor) -> Tensor:
        """[n, 2, BINS, FRAMES] to [n, S, 2, BINS, FRAMES], float32."""
        masks = torch.stack([network(magnitude) for network in self.networks], 1).float()
        if self.wiener is None:
            return masks
        powers = (masks * magnitude.unsqueeze(1)).pow(self.wiener)
        return powers / (powers.sum(1, keepdim=True) + 1e-7)


class LarsNet:
    """A Separator."""

    channels = 2
    apart = 0
    step = HOP

    def __init__(self, runner: Runner, manifest: Manifest) -> None:
        self.stems = manifest.outputs
        self.rest = manifest.rest
        self.sample_rate = manifest.sample_rate
        self.normalize = manifest.normalize
        self.cut = Chunking(chunk=FRAMES * HOP, hop=FRAMES * HOP, batch=runner.batch)
        self.runner = runner

    def stream(self, level: Level = UNCHANGED) -> Single:
        """Begin a pass over one mix."""
        within = LarsNetPass(self)
        return Single(within, self.sample_rate, level if self.normalize else UNCHANGED)


class LarsNetPass:
    """The samples of the original whole-file pass, in bounded memory.

    The original pads the end with zeros to a multiple of HOP, reflects EDGE samples at both ends,
    counts blocks of FRAMES frames from the first, pads the last with silence, and divides the
    inverse by the windows that exist. All of it is local, so blocks can be done as they arrive.
    """

    def __init__(self, model: LarsNet) -> None:
        device = model.runner.device
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

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self._tail.device

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
        return self._trimmed(self._blocks(self._model.cut.batch * FRAMES))

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
        done = [*self._blocks(1), self._tail]
        return self._trimmed(done)

    def _start(self) -> None:
        self._mix = torch.cat((self._head.narrow(-1, 1, EDGE).flip(-1), self._head), -1)
        self._head = self._head.narrow(-1, 0, 0)

    def _rest(self) -> Tensor:
        if self._mix is None:
            raise AssertionError("the stream has not begun")
        return self._mix

    def _blocks(self, least: int) -> list[Tensor]:
        """Do the frames that are here, if they are so many; return sums of [rows, samples]."""
        done = []
        mix = self._rest()
        most = self._model.cut.batch * FRAMES
        while (count := min(most, (mix.shape[-1] - N_FFT) // HOP + 1)) >= least:
            sums = self._frames(mix.narrow(-1, 0, (count - 1) * HOP + N_FFT), count)
            sums.narrow(-1, 0, N_FFT - HOP).add_(self._tail)
            done.append(sums.narrow(-1, 0, count * HOP))
            self._tail = sums.narrow(-1, count * HOP, N_FFT - HOP).clone()
            mix = mix.narrow(-1, count * HOP, mix.shape[-1] - count * HOP)
        self._mix = mix.clone()
        return done

    def _frames(self, mix: Tensor, count: int) -> Tensor:
        """[2, (count - 1) HOP + N_FFT] to the sums [rows, the same]."""
        frames = mix.unfold(-1, N_FFT, HOP) * self._window
        spectrum = torch.fft.rfft(frames).transpose(-1, -2).narrow(-2, 0, BINS)
        blocks = -(-count // FRAMES)
        magnitude = functional.pad(spectrum.abs(), (0, blocks * FRAMES - count))
        masks = self._model.runner(magnitude.view(2, BINS, blocks, FRAMES).permute(2, 0, 1, 3))
        self.chunks += blocks
        self._move(masks.device)
        masks = masks.permute(1, 2, 3, 0, 4).flatten(-2).narrow(-1, 0, count)
        stems = functional.pad((masks * spectrum.to(masks.device)).flatten(0, 1), (0, 0, 0, 1))
        frames = torch.fft.irfft(stems.transpose(-1, -2), n=N_FFT) * self._window
        squares = self._window.square().expand(1, count, -1)
        return frames_to_signal(torch.cat((frames, squares)), HOP)

    def _move(self, device: torch.device) -> None:
        """Go on where the network went when memory was short."""
        if device != self._tail.device:
            self._window, self._tail = self._window.to(device), self._tail.to(device)

    def _trimmed(self, sums: list[Tensor]) -> Tensor:
        """Divide by the windows and cut the reflected ends off: [S, 2, m]."""
        joined = (
            torch.cat([each.to(self._tail.device) for each in sums], -1)
            if sums
            else self._tail.narrow(-1, 0, 0)
        )
        skipped = min(self._skip, joined.shape[-1])
        self._skip -= skipped
        count = min(joined.shape[-1] - skipped, self._seen - self._given)
        self._given += count
        joined = joined.narrow(-1, skipped, count)
        stems = joined.narrow(0, 0, joined.shape[0] - 1) / joined.narrow(0, joined.shape[0] - 1, 1)
        return stems.reshape(len(self._model.stems), 2, count)


def build(found: Sequence[State], stems: Sequence[str]) -> Masks:
    """Return one U-Net per stem from keys `<stem>.<key>`; raise ModelError where they differ."""
    networks = [adopted(UNet, _of_stem(found, stem)) for stem in stems]
    return Masks(networks).eval().requires_grad_(requires_grad=False)


def fitted(found: Sequence[State], stems: Sequence[str]) -> State:
    """Return the weights that are those of the stems' networks; raise ModelError."""
    with Uninitialised():
        wanted = UNet().state_dict()
    return {
        f"{stem}.{key}": value
        for stem in stems
        for key, value in chosen(wanted, _of_stem(found, stem)).items()
    }


def empty(stems: int) -> Masks:
    """Return networks for so many stems."""
    return Masks([UNet() for _ in range(stems)])


def magnitudes(mix: Tensor) -> Tensor:
    """[n, 2, SAMPLES] to [n, 2, BINS, FRAMES]."""
    window = torch.hann_window(N_FFT, periodic=True)
    spectrum = torch.fft.rfft(mix.unfold(-1, N_FFT, HOP) * window)
    magnitude: Tensor = spectrum.abs()
    return magnitude.transpose(-1, -2).narrow(-2, 0, BINS)


def memory_of(dtype: torch.dtype) -> int:
    """Return about how many bytes a block takes on its way through the networks, one by one.

    The two widest layers of a U-Net with the input of the next, and the masks in float32.
    """
    return 48 * BINS * FRAMES * dtype.itemsize + 20 * 2 * BINS * FRAMES * 4


def _of_stem(found: Sequence[State], stem: str) -> list[State]:
    prefix = f"{stem}."
    return [
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        for state in found
    ]
