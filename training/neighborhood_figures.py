"""What paper 001 measures beside accuracy: failure cases, steadiness, masks, and a sheet to see.

B batch, K classes, S sequences, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .checkpoint import load_weights
from .data.face_splits import Splits, load_splits
from .data.learning_faces import LearningFaces
from .data.peak_sequences import NEIGHBOURS, PeakSequences, sequences_for
from .failure_cases import failure_cases
from .neighborhood import symmetric_divergence
from .neighbour_sheet import write_sheet
from .networks.asymmetric_autoencoder import AsymmetricAutoencoder, grey_picture
from .networks.two_scale import TwoScale
from .run_folder import RunFolder, open_run
from .semantic_neighbours import NeighbourMaker, asked_twice, neighbour_maker
from .system import Found, logits_of, measured

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
        maker = neighbour_maker(options.autoencoder_size, options.noise, teacher)
        steady = {
            split: divergences(network, maker, getattr(data, split), options.crop_px)
            for split in ("validation", "test")
        }
        tables["Divergence of a face and its neighbour (eq. 10)"] = _steadiness(steady)
        tables["Faces that taught nothing"] = _masked(run, data.labels)
        before = AsymmetricAutoencoder(options.autoencoder_size)
        load_weights(before, teacher.checkpoint("autoencoder"), run.system, "autoencoder")
        write_sheet(run.path / SHEET, data.test, options.crop_px, before.eval(), maker)
        caption = "Test faces; rebuilt before (eq. 4) and after refinement (eq. 8); neighbours (9)."
        metrics["pictures"] = {SHEET: caption}
    return {**metrics, "tables": tables}, predictions


@torch.no_grad()
def divergences(
    network: TwoScale, maker: NeighbourMaker, faces: LearningFaces, crop_px: int
) -> npt.NDArray[np.float32]:
    """Eq. 10 of each face (N,), in nats; the noise is the same every time."""
    generator = torch.Generator().manual_seed(0)

    def draw(code: torch.Tensor) -> torch.Tensor:
        return torch.randn(code.shape, generator=generator)

    found = []
    for start in range(0, len(faces), _BATCH):
        rows = range(start, min(start + _BATCH, len(faces)))
        crops = np.stack([faces.crop(row, crop_px) for row in rows])[:, None]
        picture = grey_picture(torch.from_numpy(crops))
        found.append(symmetric_divergence(*asked_twice(network, maker, picture, draw)))
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
