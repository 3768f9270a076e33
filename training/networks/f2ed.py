"""Paper 004's networks: Fa-Net on LightCNN, and FaPE-GAN.

LightCNN (Wu et al. 2018) and Fa-Net on it (paper 004, section 4.2).

B batch, C channels, S side of the crop, K expressions.

Decisions: paper 004 does not say which LightCNN; here its 29 layers, the largest with a published
table, or 9. Max-feature-map follows every layer but the classifier. Convolutions have biases, as
the released networks do; the published counts leave them out. Those counts also hold one slip:
the 3x3 convolution from 48 to 2 x 96 channels is listed with 165 K weights and has 83 K.

FaPE-GAN: a face turned to another pose (paper 004, section 4.2, eq. 1 to 3).

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

from .slfer import ExpressionOutput

BLOCKS = {9: (0, 0, 0, 0), 29: (1, 2, 3, 4)}
"""Residual blocks before each of the four groups, by the number of layers."""
WIDTHS = (48, 96, 192, 128, 128)
"""Channels after the stem and each group, after max-feature-map."""
EMBEDDING = 256


class MaxFeatureMap(nn.Module):
    """Halves the channels: the larger of each pair wins.  (B, 2C, ...) to (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.maximum(first, second)


class MfmConv(nn.Sequential):
    """Convolution to twice the channels and max-feature-map: (B, C, H, W) to (B, C', H, W)."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, 2 * channels, kernel, padding=kernel // 2), MaxFeatureMap()
        )


def keep_variance(layer: nn.Module) -> None:
    """Begins a layer with weights of variance one over its inputs and no bias.

    The larger of two such numbers has the same mean square as each, so that a signal passes any
    number of layers unweakened; PyTorch's usual weights leave a third of it each time, and with
    those nine layers without normalisation did not begin to learn F2ED's 54 classes in 650 steps.
    Residual branches stay as usual, small.
    """
    assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)


class MfmResidual(nn.Module):
    """Two 3x3 convolutions with max-feature-map beside a plain shortcut, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(MfmConv(channels, channels, 3), MfmConv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.as_tensor(self.layers(x))


class LightCNN(nn.Module):
    """Crops (B, 1, S, S) float to a face's feature (B, 256); S = 128 in its paper, a multiple
    of 16.

    Args:
        layers: 29 or 9.
        crop_px: S.
        widths: channels after the stem and the four groups, for toys.
        embedding: D.
    """

    def __init__(
        self,
        layers: int = 29,
        *,
        crop_px: int = 128,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        embedding: int = EMBEDDING,
    ) -> None:
        super().__init__()
        self.features = embedding
        stages: list[nn.Module] = [MfmConv(1, widths[0], 5), nn.MaxPool2d(2)]
        channels = widths[0]
        for number, (width, blocks) in enumerate(zip(widths[1:], BLOCKS[layers], strict=True)):
            stages += [MfmResidual(channels) for _ in range(blocks)]
            stages += [MfmConv(channels, channels, 1), MfmConv(channels, width, 3)]
            if number != 2:
                stages.append(nn.MaxPool2d(2))
            channels = width
        self.stages = nn.Sequential(*stages)
        side = crop_px // 16
        self.embed = nn.Sequential(
            nn.Linear(channels * side * side, 2 * embedding), MaxFeatureMap()
        )
        for module in (*self.stages, self.embed):
            if isinstance(module, nn.Sequential):
                keep_variance(module[0])

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.embed(self.stages(x).flatten(1)))


class FaNet(nn.Module):
    """Fa-Net: LightCNN and a classifier.  Crops (B, 1, S, S) uint8 to `ExpressionOutput` with a
    feature (B, 256) and logits (B, K).

    Args:
        expressions: K.
        dropout: before the classifier; the paper is silent, LightCNN's released training has 0.7.
        Others: see `LightCNN`.
    """

    def __init__(
        self,
        expressions: int,
        *,
        layers: int = 29,
        crop_px: int = 128,
        widths: tuple[int, int, int, int, int] = WIDTHS,
        embedding: int = EMBEDDING,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.backbone = LightCNN(layers, crop_px=crop_px, widths=widths, embedding=embedding)
        self.features = embedding
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(embedding, expressions)

    @property
    def head(self) -> nn.Linear:
        """The classifier: features (B, D) to logits (B, K)."""
        return self.classifier

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Feature and logits of a crop."""
        feature = self.backbone((crop.float() - 127.5) / 127.5)
        return ExpressionOutput(feature, self.classifier(self.dropout(feature)))

    def forward(self, crop: Tensor) -> Tensor:
        """Logits (B, K) alone, for training."""
        return self.recognise(crop).logits

    def for_expressions(self, expressions: int) -> FaNet:
        """This network with a fresh classifier for other classes: the step between pre-training
        and fine-tuning (section 5.1).  The backbone is shared, not copied."""
        self.classifier = nn.Linear(self.features, expressions).to(self.classifier.weight.device)
        return self


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
