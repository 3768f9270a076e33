"""What paper 001 measures beside accuracy: failure cases, steadiness, masks, and a sheet to see.

Steadiness is of the frames about an expression's peak, on which a network should say the same
(IV-E). Real sequences come from prepared clips such as CK+ and Oulu-CASIA; where there are none,
clips of the synthetic 3D face take their place, from neutral to a peak, and are called synthetic.

B batch, K classes, S sequences, F frames of each: the four nearest to its peak.
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

from ferstream.stream.faces.align import ANCHOR_LANDMARKS

from ...datasets.face_splits import Splits, load_splits, shown_frame
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
from ...learning.checkpoint import load_weights
from ...learning.run_folder import RunFolder, open_run
from ...learning.system import Found, logits_of, measured
from ...networks.neighborhood import AsymmetricAutoencoder, TwoScale, grey_picture
from .masked_learner import symmetric_divergence
from .neighbours import NeighbourGenerator, asked_twice, neighbour_generator

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
