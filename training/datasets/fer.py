"""Reader of FER2013 with FER+ votes and a teacher's landmarks and blendshapes.

Everything is plain numpy: measuring a bundle needs this file but not PyTorch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.errors import FerstreamError
from ferstream.stream.faces.align import ANCHOR_LANDMARKS, ANCHOR_TEMPLATE, anchor_matrix, warp

BASIC8 = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SPLITS = {"train": 0, "validation": 1, "test": 2}
MIN_VOTES = 5
MIN_PRESENCE = 0.5
LAYOUT = """expected a folder fer2013plus/ with
  pixels_a.npz, pixels_b.npz   pixels (N, 48, 48) uint8, stacked in this order
  labels.npz                   votes (N, 10) uint8, keep (N,) bool,
                               split (N,) 0 train, 1 validation, 2 test
  teacher.npz                  blendshapes (N, 52), face_presence (N,),
                               landmarks (N, 160, 2), landmark_index (160,)"""


class DataMissing(FerstreamError, FileNotFoundError):
    """The data folder is not there or not laid out as expected."""


@dataclass(frozen=True)
class FerPlus:
    """N photographs of one split, in the order of the files.

    pixels (N, 48, 48) uint8 grey; votes (N, 8) float32, a distribution over BASIC8 with single
    votes dropped as noise (zero rows where no vote is left); raw_votes (N, 8) the counts before
    that; rated (N,) True where at least five of the ten raters chose one of the eight;
    blendshapes (N, 52) float32 0..1; anchors_xy (N, 6, 2) float32 pixels, see stream.align;
    seen (N,) True where the teacher found a face, so that its words can be trusted; image (N,)
    numbers among all photographs of the set, of which split_of_image (M,) tells the split.
    """

    pixels: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.float32]
    raw_votes: npt.NDArray[np.float32]
    rated: npt.NDArray[np.bool_]
    blendshapes: npt.NDArray[np.float32]
    blendshape_names: tuple[str, ...]
    anchors_xy: npt.NDArray[np.float32]
    landmarks_xy: npt.NDArray[np.float32]
    landmark_index: npt.NDArray[np.int16]
    seen: npt.NDArray[np.bool_]
    image: npt.NDArray[np.int64]
    split_of_image: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def total(self) -> int:
        """M: how many photographs the set has, of all splits, twins counted."""
        return len(self.split_of_image)

    @property
    def split(self) -> str:
        """The split that the photographs are of."""
        numbers = {number: name for name, number in SPLITS.items()}
        return numbers[int(self.split_of_image[self.image[0]])]

    @property
    def majority(self) -> npt.NDArray[np.int64]:
        """The label of the measuring protocol: the emotion most raters chose, (N,)."""
        return np.asarray(self.votes.argmax(axis=1), dtype=np.int64)

    def matrices(self, crop_px: int) -> npt.NDArray[np.float64]:
        """Alignment (N, 2, 3) of each photograph; those without landmarks stay as they are."""
        as_it_is = np.array([[crop_px / 48, 0, 0], [0, crop_px / 48, 0]], dtype=np.float64)
        as_it_is[:, 2] = (crop_px / 48 - 1) / 2
        return np.stack(
            [
                anchor_matrix(anchors, crop_px) if seen else as_it_is
                for anchors, seen in zip(self.anchors_xy, self.seen, strict=True)
            ]
        )

    def crops(self, crop_px: int, shift_px: tuple[int, int] = (0, 0)) -> npt.NDArray[np.uint8]:
        """Aligned crops (N, 1, crop_px, crop_px); the faces shifted right and down in them."""
        matrices = self.matrices(crop_px)
        matrices[:, :, 2] += shift_px
        pairs = zip(self.pixels, matrices, strict=True)
        return np.stack([warp(pixels, matrix, crop_px) for pixels, matrix in pairs])[:, None]

    def subset(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> FerPlus:
        """The chosen rows only."""
        whole = ("landmark_index", "split_of_image")
        per_row: dict[str, Any] = {
            name: value[which]
            for name, value in self.__dict__.items()
            if isinstance(value, np.ndarray) and name not in whole
        }
        return replace(self, **per_row)


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder given, else $FERSTREAM_DATA, else ../shared/data.

    Raises:
        DataMissing: it has no fer2013plus/.
    """
    root = Path(folder or os.environ.get("FERSTREAM_DATA") or "../shared/data")
    if not (root / "fer2013plus").is_dir():
        raise DataMissing(f"no data in {root}: {LAYOUT}\nname it with --data or FERSTREAM_DATA")
    return root


def load_fer_plus(split: str, folder: str | Path | None = None) -> FerPlus:
    """Read one split: "train", "validation" or "test"; twins across splits are left out.

    Raises:
        DataMissing: a file is missing.
    """
    root = data_folder(folder) / "fer2013plus"
    try:
        labels = np.load(root / "labels.npz")
        teacher = np.load(root / "teacher.npz")
        pixels = np.concatenate([np.load(root / f"pixels_{p}.npz")["pixels"] for p in "ab"])
    except FileNotFoundError as error:
        raise DataMissing(f"{error.filename} is missing: {LAYOUT}") from error
    rows = (labels["split"] == SPLITS[split]) & labels["keep"]
    counts = labels["votes"][rows, :8].astype(np.float32)
    kept = np.where(counts > 1, counts, 0)
    index = teacher["landmark_index"]
    landmarks = teacher["landmarks"][rows].astype(np.float32)
    anchors = landmarks[:, [int(np.flatnonzero(index == a)[0]) for a in ANCHOR_LANDMARKS]]
    return FerPlus(
        pixels=pixels[rows],
        votes=kept / np.maximum(kept.sum(1, keepdims=True), 1),
        raw_votes=counts,
        rated=counts.sum(1) >= MIN_VOTES,
        blendshapes=teacher["blendshapes"][rows].astype(np.float32),
        blendshape_names=tuple(str(name) for name in teacher["blendshape_names"]),
        anchors_xy=anchors,
        landmarks_xy=landmarks,
        landmark_index=index,
        seen=(teacher["face_presence"][rows] > MIN_PRESENCE) & _plausible(anchors),
        image=np.flatnonzero(rows),
        split_of_image=labels["split"].astype(np.int64),
    )


def _plausible(anchors_xy: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """False where the landmarks would blow the face up or shrink it beyond belief."""
    span = np.linalg.norm(anchors_xy[:, 0] - anchors_xy[:, 3], axis=1)
    usual = 48 * float(np.linalg.norm(ANCHOR_TEMPLATE[0] - ANCHOR_TEMPLATE[3]))
    return np.asarray((span > usual / 2) & (span < usual * 1.8))
