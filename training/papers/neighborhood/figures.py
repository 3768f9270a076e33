"""What paper 001 measures beside accuracy: failure cases, steadiness, masks, and a sheet to see.

B batch, K classes, S sequences, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...datasets.face_splits import Splits, load_splits
from ...datasets.learning_faces import LearningFaces
from ...learning.checkpoint import load_weights
from ...learning.run_folder import RunFolder, open_run
from ...learning.system import Found, logits_of, measured
from ...networks.neighborhood import AsymmetricAutoencoder, TwoScale, grey_picture
from .masked_learner import symmetric_divergence
from .neighbours import NeighbourGenerator, asked_twice, neighbour_generator
from .peak_sequences import NEIGHBOURS, PeakSequences, failure_cases, sequences_for

SHEET = "neighbours.png"
_BATCH = 128


@dataclass(frozen=True)
class FacesAndSequences(Splits):
    """Labelled faces, and sequences on which a network's consistency is measured."""

    source: tuple[str, str | None] = ("", None)
    """The faces' name and the data folder."""

    @cached_property
    def sequences(self) -> PeakSequences | None:
        """The frames about peaks, read or rendered when asked for."""
        return sequences_for(self, *self.source)


def faces_and_sequences(options: Any, folder: str | None) -> FacesAndSequences:
    """The faces that options name, with the sequences that fit them."""
    data = load_splits(options.faces, folder, limit=options.limit, seed=options.seed)
    parts = {field.name: getattr(data, field.name) for field in fields(Splits)}
    return FacesAndSequences(**parts, source=(options.faces, folder))


def neighborhood_figures(
    network: Any, options: Any, data: FacesAndSequences, run: RunFolder
) -> Found:
    """A classifier's figures; Table VII's failure cases; how steady it is, and who was masked."""
    metrics, predictions = measured(network, data, options.crop_px)
    tables: dict[str, Any] = {}
    if data.sequences is not None:
        found, tables["Failure cases about the peak (Table VII)"] = _consistency(
            network, data.sequences, options.crop_px
        )
        metrics["test"] |= found
    if options.mask != "none":
        teacher = open_run(Path(options.teacher)) if options.teacher else run
        generator = neighbour_generator(options.autoencoder_size, options.noise, teacher)
        steady = {
            split: divergences(network, generator, getattr(data, split), options.crop_px)
            for split in ("validation", "test")
        }
        tables["Divergence of a face and its neighbour (eq. 10)"] = _steadiness(steady)
        tables["Faces that taught nothing"] = _masked(run, data.labels)
        before = AsymmetricAutoencoder(options.autoencoder_size)
        load_weights(before, teacher.checkpoint("autoencoder"), run.system, "autoencoder")
        write_sheet(run.path / SHEET, data.test, options.crop_px, before.eval(), generator)
        caption = "Test faces; rebuilt before (eq. 4) and after refinement (eq. 8); neighbours (9)."
        metrics["pictures"] = {SHEET: caption}
    return {**metrics, "tables": tables}, predictions


@torch.no_grad()
def divergences(
    network: TwoScale, generator: NeighbourGenerator, faces: LearningFaces, crop_px: int
) -> npt.NDArray[np.float32]:
    """Eq. 10 of each face (N,), in nats; the noise is the same every time."""
    noise = torch.Generator().manual_seed(0)

    def draw(code: torch.Tensor) -> torch.Tensor:
        return torch.randn(code.shape, generator=noise)

    found = []
    for start in range(0, len(faces), _BATCH):
        rows = range(start, min(start + _BATCH, len(faces)))
        crops = np.stack([faces.crop(row, crop_px) for row in rows])[:, None]
        picture = grey_picture(torch.from_numpy(crops))
        found.append(symmetric_divergence(*asked_twice(network, generator, picture, draw)))
    return np.asarray(torch.cat(found).numpy(), np.float32)


def _consistency(
    network: TwoScale, sequences: PeakSequences, crop_px: int
) -> tuple[dict[str, float], dict[str, Any]]:
    guess = logits_of(network, sequences.frames, crop_px).argmax(axis=1)
    cases = failure_cases(guess.reshape(-1, NEIGHBOURS), sequences.label)
    count = len(sequences)
    right = float((guess == sequences.frames.label).mean())
    figures = {"failure_cases": cases.fc / count, "consistent_failures": cases.cfc / count}
    head = ["sequences", "number", "frames right", "FC", "CFC"]
    row = [sequences.name, f"{count}", f"{100 * right:.1f} %", f"{cases.fc}", f"{cases.cfc}"]
    return figures, {"head": head, "rows": [row]}


def _steadiness(steady: dict[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
    rows = [
        [split, *(f"{value:.3f}" for value in (S.mean(), *np.quantile(S, (0.5, 0.9))))]
        for split, S in steady.items()
    ]
    return {"head": ["faces", "mean, nats", "median", "nine of ten below"], "rows": rows}


def _masked(run: RunFolder, labels: tuple[str, ...]) -> dict[str, Any]:
    """Shares in the first, the middle and the last epoch."""
    curves = run.curves("expression")
    rows = []
    for name in ("", *labels):
        curve = [value for _, value in curves.get(f"masked_{name}" if name else "masked", [])]
        if curve:
            chosen = (curve[0], curve[len(curve) // 2], curve[-1])
            rows.append([name or "all", *(f"{100 * share:.1f} %" for share in chosen)])
    return {"head": ["class", "first epoch", "middle", "last"], "rows": rows}


COLUMNS = 8
SHOWN = 3
"""Neighbours of each face on the sheet."""
_SIDE_PX, _GAP_PX, _MARGIN_PX, _HEAD_PX = 96, 2, 104, 16
_PAPER, _INK = 250, 40


@torch.no_grad()
def write_sheet(
    path: Path,
    faces: LearningFaces,
    crop_px: int,
    before: AsymmetricAutoencoder,
    generator: NeighbourGenerator,
) -> None:
    """One face of each of the first classes; rows as Figure 3 has them."""
    chosen = [np.flatnonzero(faces.label == k) for k in range(min(len(faces.labels), COLUMNS))]
    rows = [int(found[len(found) // 2]) for found in chosen if len(found)]
    # The spread of codes, which scales the noise, is that of many faces.
    more = np.linspace(0, len(faces) - 1, min(len(faces), 120)).astype(int).tolist()
    crops = np.stack([faces.crop(row, crop_px) for row in [*rows, *more]])[:, None]
    picture = grey_picture(torch.from_numpy(crops))
    noise = torch.Generator().manual_seed(0)

    def draw(code: Tensor) -> Tensor:
        return torch.randn(code.shape, generator=noise)

    after = generator.autoencoder
    lines = [
        ("face", picture),
        ("autoencoder", before.decoder(before.encoder(picture))),
        ("refined", after.decoder(after.encoder(picture))),
        *((f"neighbour {number + 1}", generator(picture, draw)) for number in range(SHOWN)),
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
