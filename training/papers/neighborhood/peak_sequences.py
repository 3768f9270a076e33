"""The frames about an expression's peak, on which a network should say the same (paper 001, IV-E).

S sequences, F frames of each: the four nearest to its peak.

Real ones come from prepared clips such as CK+ and Oulu-CASIA; where there are none, clips of the
synthetic 3D face take their place, from neutral to a peak, and are called synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import ANCHOR_LANDMARKS

from ...datasets.face_splits import Splits, shown_frame
from ...datasets.fer import BASIC8, DataMissing
from ...datasets.learning_faces import LearningFaces
from ...datasets.readers.prepared import Prepared, load_prepared
from ...datasets.synthetic import (
    SyntheticFaces,
    SyntheticHead,
    SyntheticOptions,
    load_synthetic_head,
)
from ...datasets.synthetic_splits import Arrays, rendered

NEIGHBOURS = 4
"""F"""
A_WORD = 12
"""Synthetic sequences of each expression."""
ONSETS = SyntheticOptions(
    colour="grey", people=(120, 20), moments=("onset",), frames=8, seed=91, distraction=0.3
)
"""People that no split of synthetic faces shows; an onset of 0.6 s, which ends at the peak."""


@dataclass(frozen=True)
class PeakSequences:
    """Sequences whose frames about the peak a network is asked about.

    Args:
        name: of the set, and how it came to be.
        frames: S x F faces, sequence by sequence, oldest first.
    """

    name: str
    frames: LearningFaces

    def __len__(self) -> int:
        return len(self.frames) // NEIGHBOURS

    @property
    def label(self) -> npt.NDArray[np.int64]:
        """(S,) numbers into the frames' labels."""
        return self.frames.label[::NEIGHBOURS]


def sequences_for(data: Splits, faces: str, folder: str | Path | None) -> PeakSequences | None:
    """Sequences that fit the labels of a data set; None where there are none.

    Those of the prepared clips themselves where ``faces`` names such; else synthetic ones, where
    the data folder has the 3D face and the labels basic expressions.
    """
    if Path(faces).is_dir():
        prepared = load_prepared(faces)
        if prepared.facts["kind"] == "clips":
            return clip_sequences(prepared, data)
    if not any(word in data.labels for word in BASIC8[1:]):
        return None
    try:
        head = load_synthetic_head(folder)
    except DataMissing:
        return None
    return synthetic_sequences(head, data.labels, A_WORD)


def clip_sequences(prepared: Prepared, data: Splits) -> PeakSequences | None:
    """The frames about those that training shows, of the clips that it learns from.

    As in the paper, what is asked about are other frames of sequences of which one was learned.
    """
    shown = set(data.train.names)
    layout = str(prepared.facts.get("layout", ""))
    rows, label = [], []
    for item in prepared.faces.items:
        low, high = item.frames or (0, 1)
        if item.name in shown and item.label is not None and high - low > NEIGHBOURS:
            _, near = frames_about_peak(high - low, shown_frame(layout, high - low), NEIGHBOURS)
            rows += [low + at for at in near]
            label.append(item.label)
    if not rows:
        return None
    points = prepared.landmarks[rows].astype(np.float32)
    frames = _faces(
        str(prepared.facts["about"]),
        data.labels,
        prepared.crops[rows],
        points[:, list(ANCHOR_LANDMARKS)],
        np.array(label),
    )
    return PeakSequences(frames.name, frames)


def synthetic_sequences(head: SyntheticHead, labels: tuple[str, ...], a_word: int) -> PeakSequences:
    """Rendered onsets of the basic expressions among the labels, neutral left out."""
    words = [word for word in BASIC8[1:] if word in labels]
    about = {**ONSETS.__dict__, "words": words, "a_word": a_word}
    made = rendered("peaks", head, about, lambda: _onsets(head, words, a_word))
    label = np.array([labels.index(word) for word in words for _ in range(a_word)])
    frames = _faces("synthetic", labels, made["pixels"], made["anchors_xy"], label)
    return PeakSequences(f"synthetic onsets of {len(words)} expressions", frames)


def _onsets(head: SyntheticHead, words: list[str], a_word: int) -> Arrays:
    maker = SyntheticFaces(head, ONSETS)
    pixels, anchors = [], []
    for number, word in enumerate(words):
        for index in range(a_word):
            clip = maker.clip(number * a_word + index, word)
            _, near = frames_about_peak(len(clip.pixels), neighbours=NEIGHBOURS)
            pixels.append(clip.pixels[near])
            anchors.append(clip.anchors_xy[near])
    return {"pixels": np.concatenate(pixels), "anchors_xy": np.concatenate(anchors)}


def _faces(
    name: str,
    labels: tuple[str, ...],
    pixels: npt.NDArray[np.uint8],
    anchors_xy: npt.NDArray[np.float32],
    label_S: npt.NDArray[np.int64],
) -> LearningFaces:
    target = np.eye(len(labels), dtype=np.float32)[np.repeat(label_S, NEIGHBOURS)]
    return LearningFaces(
        name=name,
        labels=labels,
        names=tuple(f"{at // NEIGHBOURS:05d}/{at % NEIGHBOURS}" for at in range(len(target))),
        pixels=pixels,
        target=target,
        anchors_xy=anchors_xy,
        seen=np.ones(len(target), np.bool_),
        landmarks_xy=np.zeros((len(target), 0, 2), np.float32),
        landmark_index=np.zeros(0, np.int16),
    )


@dataclass(frozen=True)
class FailureCases:
    """Which sequences failed; every consistent failure case is a failure case."""

    failed: npt.NDArray[np.bool_]
    """(S,) at least one frame was taken for another expression"""
    consistently: npt.NDArray[np.bool_]
    """(S,) all frames were taken for one and the same other expression"""

    @property
    def fc(self) -> int:
        """Failure cases."""
        return int(self.failed.sum())

    @property
    def cfc(self) -> int:
        """Consistent failure cases."""
        return int(self.consistently.sum())


def failure_cases(
    guess_SF: npt.NDArray[np.integer[Any]], label_S: npt.NDArray[np.integer[Any]]
) -> FailureCases:
    """Failure cases of guesses (S, F) about sequences with labels (S,)."""
    wrong_SF = guess_SF != label_S[:, None]
    alike_S = (guess_SF == guess_SF[:, :1]).all(1)
    return FailureCases(wrong_SF.any(1), wrong_SF.all(1) & alike_S)


def frames_about_peak(
    frames: int, peak: int | None = None, neighbours: int = 4
) -> tuple[int, list[int]]:
    """The frame to train on and the nearest others to test on, oldest first.

    The peak is the last frame unless named. ValueError where the sequence is too short.
    """
    peak = frames - 1 if peak is None else peak
    if not 0 <= peak < frames or frames <= neighbours:
        raise ValueError(
            f"a sequence of {frames} frames with its peak at {peak} has no {neighbours} others "
            "about it: leave it out"
        )
    others = sorted((at for at in range(frames) if at != peak), key=lambda at: (abs(at - peak), at))
    return peak, sorted(others[:neighbours])
