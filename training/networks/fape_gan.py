"""FaPE-GAN: a face turned to another pose (paper 004, section 4.2, eq. 1 to 3).

B batch, C channels of the face (1 grey, 3 colour), P channels of the pose picture, S side.

Decisions where the paper is silent: face and pose picture enter the encoder side by side as
channels; three convolutions to a quarter of the side, nine residual blocks at the bottom, and
two enlargings back, as in the pose GAN for re-identification that it names as its model (PN-GAN);
enlarging by neighbours and then a convolution, so that no checkerboard shows; instance
normalisation; faces in -1..1 by tanh. The discriminator judges patches of the face alone, as
eq. 1 writes D(I) without a pose.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64
RESIDUAL_BLOCKS = 9


class FaPEGenerator(nn.Module):
    """G_FaPE: a face (B, C, S, S) and the wanted pose's landmark picture (B, P, S, S), both
    -1..1, to the same person's face in that pose (B, C, S, S) in -1..1; S a multiple of 4, 256 in
    the paper."""

    def __init__(
        self,
        channels: int = 1,
        *,
        pose_channels: int = 1,
        width: int = WIDTH,
        blocks: int = RESIDUAL_BLOCKS,
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *_conv(channels + pose_channels, width, 7, 1),
            *_conv(width, 2 * width, 3, 2),
            *_conv(2 * width, 4 * width, 3, 2),
            *(_Residual(4 * width) for _ in range(blocks)),
        )
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2),
            *_conv(4 * width, 2 * width, 3, 1),
            nn.Upsample(scale_factor=2),
            *_conv(2 * width, width, 3, 1),
            nn.Conv2d(width, channels, 7, padding=3),
            nn.Tanh(),
        )

    def forward(self, face: Tensor, pose: Tensor) -> Tensor:
        """G_Dec(G_Enc(I_i, I_P))."""
        return torch.as_tensor(self.decoder(self.encoder(torch.cat([face, pose], dim=1))))


class FaPEDiscriminator(nn.Module):
    """D: faces (B, C, S, S) in -1..1 to logits of real (B, 1, s, s), one for each patch.

    With the standard three halvings a patch is 70 pixels wide.
    """

    def __init__(self, channels: int = 1, *, width: int = WIDTH, halvings: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        channels_in = width
        for number in range(1, halvings + 1):
            out = width * min(2**number, 8)
            stride = 2 if number < halvings else 1
            layers += [
                nn.Conv2d(channels_in, out, 4, stride, 1, bias=False),
                nn.InstanceNorm2d(out, affine=True),
                nn.LeakyReLU(0.2),
            ]
            channels_in = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels_in, 1, 4, 1, 1))

    def forward(self, face: Tensor) -> Tensor:
        return torch.as_tensor(self.layers(face))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a plain shortcut: (B, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv(channels, channels, 3, 1), *_conv(channels, channels, 3, 1)[:2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.as_tensor(self.layers(x))


def _conv(channels_in: int, channels: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False),
        nn.InstanceNorm2d(channels, affine=True),
        nn.ReLU(),
    ]
