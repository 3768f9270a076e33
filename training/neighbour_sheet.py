"""A sheet of faces, what the autoencoder makes of them, and neighbours (paper 001, Fig. 3)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .data.learning_faces import LearningFaces
from .networks.asymmetric_autoencoder import AsymmetricAutoencoder, grey_picture
from .semantic_neighbours import NeighbourMaker

COLUMNS = 8
NEIGHBOURS = 3
_SIDE_PX, _GAP_PX, _MARGIN_PX, _HEAD_PX = 96, 2, 104, 16
_PAPER, _INK = 250, 40


@torch.no_grad()
def write_sheet(
    path: Path,
    faces: LearningFaces,
    crop_px: int,
    before: AsymmetricAutoencoder,
    maker: NeighbourMaker,
) -> None:
    """One face of each of the first classes; rows as Figure 3 has them."""
    chosen = [np.flatnonzero(faces.label == k) for k in range(min(len(faces.labels), COLUMNS))]
    rows = [int(found[len(found) // 2]) for found in chosen if len(found)]
    # The spread of codes, which scales the noise, is that of many faces.
    more = np.linspace(0, len(faces) - 1, min(len(faces), 120)).astype(int).tolist()
    crops = np.stack([faces.crop(row, crop_px) for row in [*rows, *more]])[:, None]
    picture = grey_picture(torch.from_numpy(crops))
    generator = torch.Generator().manual_seed(0)

    def draw(code: Tensor) -> Tensor:
        return torch.randn(code.shape, generator=generator)

    after = maker.autoencoder
    lines = [
        ("face", picture),
        ("autoencoder", before.decoder(before.encoder(picture))),
        ("refined", after.decoder(after.encoder(picture))),
        *((f"neighbour {number + 1}", maker(picture, draw)) for number in range(NEIGHBOURS)),
    ]
    names = [faces.labels[faces.label[row]] for row in rows]
    shown = [(name, _grey(made[: len(rows), 0])) for name, made in lines]
    cv2.imwrite(str(path), _laid_out(shown, names))


def _grey(picture: Tensor) -> npt.NDArray[np.uint8]:
    """Pictures (B, S, S) of -1 to 1 as grey levels."""
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def _laid_out(
    lines: list[tuple[str, npt.NDArray[np.uint8]]], names: list[str]
) -> npt.NDArray[np.uint8]:
    step = _SIDE_PX + _GAP_PX
    shape = (_HEAD_PX + step * len(lines), _MARGIN_PX + step * len(names))
    sheet = np.full(shape, _PAPER, np.uint8)
    for column, name in enumerate(names):
        _write(sheet, name, (_MARGIN_PX + column * step, 11))
    for number, (caption, pictures) in enumerate(lines):
        top = _HEAD_PX + number * step
        _write(sheet, caption, (4, top + _SIDE_PX // 2))
        for column, picture in enumerate(pictures):
            left = _MARGIN_PX + column * step
            sheet[top : top + _SIDE_PX, left : left + _SIDE_PX] = cv2.resize(
                picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC
            )
    return sheet


def _write(sheet: npt.NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
