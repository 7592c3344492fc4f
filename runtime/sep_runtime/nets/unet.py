"""The U-Net of LarsNet (Mezza, Giampiccolo, Bernardini, Sarti: Toward deep drum source separation,
Pattern Recognition Letters 183, 2024): one network per stem, a mask over the mix's magnitudes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sep_runtime.accel import operators as ops

BINS = 2048  # of the 2049 that n_fft 4096 has; the top one stays silent
FRAMES = 512  # STFT frames that the network sees at once
WIDTHS = (16, 32, 64, 128, 256, 512)


class _Down(nn.Module):
    def __init__(self, in_c: int, out_c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_c, out_c, 5, stride=2, padding=2)
        self.bn = nn.BatchNorm2d(out_c)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, in_c, F, T] to (activated, raw convolution), each [B, out_c, F / 2, T / 2]."""
        if ops.only_plain():
            raw = self.conv(x)
            return functional.leaky_relu(self.bn(raw), 0.2), raw
        raw = ops.halve(x, self.conv)
        return functional.leaky_relu_(self.bn(raw), 0.2), raw


class _Up(nn.Module):
    def __init__(self, in_c: int, out_c: int) -> None:
        super().__init__()
        self.conv_trans = nn.ConvTranspose2d(in_c, out_c, 5, stride=2, padding=2, output_padding=1)
        self.bn = nn.BatchNorm2d(out_c)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_c, F, T] to [B, out_c, 2 F, 2 T]; the activation comes before the norm."""
        if ops.only_plain():
            return self.bn(functional.relu(self.conv_trans(x)))  # type: ignore[no-any-return]
        return self.bn(functional.relu_(ops.double(x, self.conv_trans)))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """[B, 2, BINS, FRAMES] magnitudes of the mix to a mask of the same shape, in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(BINS)
        ins = (2, *WIDTHS[:-1])
        for i, (in_c, out_c) in enumerate(zip(ins, WIDTHS, strict=True), 1):
            self.add_module(f"enc{i}", _Down(in_c, out_c))
        outs = (*WIDTHS[-2::-1], 2)
        for i, (in_c, out_c) in enumerate(zip((512, 512, 256, 128, 64, 32), outs, strict=True), 1):
            self.add_module(f"dec{i}", _Up(in_c, out_c))
        self.mask_layer = nn.Sequential(nn.Conv2d(2, 2, 4, dilation=2, padding=3), nn.Sigmoid())

    def forward(self, magnitude: Tensor) -> Tensor:
        """[B, 2, BINS, FRAMES] to [B, 2, BINS, FRAMES]."""
        seen = magnitude.to(self.input_norm.weight.dtype)
        x = self.input_norm(seen.transpose(1, 2)).transpose(1, 2)
        x = ops.laid(x, self.enc1.conv.weight)  # type: ignore[union-attr, arg-type]
        skips = []
        for i in range(1, len(WIDTHS)):
            x, raw = self.get_submodule(f"enc{i}")(x)
            skips.append(raw)
        x = self.get_submodule("enc6").get_submodule("conv")(x)  # the bottleneck is not normalised
        for i in range(1, len(WIDTHS)):
            x = torch.cat((skips.pop(), self.get_submodule(f"dec{i}")(x)), 1)
        return self.mask_layer(self.dec6(x))  # type: ignore[no-any-return, operator]
