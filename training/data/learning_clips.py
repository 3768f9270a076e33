"""Labelled clips of aligned faces as the video system takes them, whichever set they come from.

N clips, T frames of a clip, S side of a crop, K labels, F motion fields, P side of a field.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.align import ANCHOR_TEMPLATE
from ferstream.stream.flow import MOTION_CROP_PX, MOTION_FIELD_PX, MotionEstimator

from .learning_faces import LearningFaces

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LearningClips:
    """N labelled clips of one split.

    Args:
        name: of the data set.
        labels: K names.
        names: N names, unique among all splits.
        pixels: (N, T, S, S) uint8 grey crops, aligned as at run time.
        mask: (N, T) 1 where a frame is, 0 behind the end of a shorter clip.
        times_s: (N, T) seconds from the clip's beginning.
        target: (N, K) float32, each row a distribution over the labels.
        level: (N, T) 0..1 how far the expression is on; None where nobody knows.
        people: (N,) whose face it is; None where nobody knows.
        units: (N, T, U) int8 action units 1 on, -1 off, 0 unknown; None where there are none.
        unit_names: U names.
        blendshapes: (N, T, 52) float32 0..1; None where there are none.
    """

    name: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    pixels: Image
    mask: Floats
    times_s: Floats
    target: Floats
    level: Floats | None = None
    people: npt.NDArray[np.int64] | None = None
    units: npt.NDArray[np.int8] | None = None
    unit_names: tuple[str, ...] = ()
    blendshapes: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def frames(self) -> int:
        """T."""
        return self.pixels.shape[1]

    @property
    def label(self) -> npt.NDArray[np.int64]:
        """The largest part of each target, (N,)."""
        return np.asarray(self.target.argmax(axis=1), np.int64)

    @property
    def peak(self) -> npt.NDArray[np.int64]:
        """The key frame of each clip (N,): where the expression is on most, else the middle one.

        Of several alike the middle one; the paper's annotators chose them by eye (III).
        """
        middle = (self.mask.sum(axis=1) - 1) / 2
        if self.level is None:
            return np.asarray(middle.round(), np.int64)
        top = (self.level >= self.level.max(axis=1, keepdims=True) - 1e-3) & (self.mask > 0)
        found = [np.flatnonzero(row) for row in top]
        return np.array([row[len(row) // 2] for row in found], np.int64)

    def crops(self, rows: npt.NDArray[np.int64], crop_px: int) -> Image:
        """Crops (n, T, 1, crop_px, crop_px) of some clips."""
        flat = self.pixels[rows].reshape(-1, *self.pixels.shape[2:])
        if flat.shape[1] != crop_px:
            how = cv2.INTER_AREA if flat.shape[1] > crop_px else cv2.INTER_LINEAR
            flat = np.stack(
                [cv2.resize(one, (crop_px, crop_px), interpolation=how) for one in flat]
            )
        return np.asarray(flat, np.uint8).reshape(len(rows), self.frames, 1, crop_px, crop_px)

    @cached_property
    def motion(self) -> npt.NDArray[np.float16]:
        """(N, T - 1, 2, P, P): what the run-time estimator sees from each frame to the next, in
        face widths per second; zeros behind the end of a clip."""
        shape = (len(self), self.frames - 1, 2, MOTION_FIELD_PX, MOTION_FIELD_PX)
        fields, estimator = np.zeros(shape, np.float16), MotionEstimator()
        for row in range(len(self)):
            crops = self.crops(np.array([row]), MOTION_CROP_PX)[0, :, 0]
            for at in range(int(self.mask[row].sum()) - 1):
                gap_s = float(self.times_s[row, at + 1] - self.times_s[row, at])
                fields[row, at] = estimator.field(crops[at], crops[at + 1], gap_s)
        return fields

    def stills(self, each: int) -> LearningFaces:
        """The ``each`` frames of every clip that are nearest to its key frame, as faces: how the
        paper makes its set of images from its clips (III)."""
        distance = np.abs(np.arange(self.frames)[None] - self.peak[:, None]).astype(np.float64)
        distance[self.mask == 0] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")[:, :each]
        near = np.take_along_axis(distance, order, 1) < np.inf
        row = np.repeat(np.arange(len(self)), near.sum(axis=1))
        at = order[near]
        side = self.pixels.shape[2]
        anchors = (ANCHOR_TEMPLATE * side - 0.5).astype(np.float32)
        return LearningFaces(
            name=self.name,
            labels=self.labels,
            names=tuple(
                f"{self.names[n]}#{t}" for n, t in zip(row.tolist(), at.tolist(), strict=True)
            ),
            pixels=self.pixels[row, at],
            target=self.target[row],
            anchors_xy=np.repeat(anchors[None], len(row), axis=0),
            seen=np.ones(len(row), np.bool_),
            landmarks_xy=np.zeros((len(row), 0, 2), np.float32),
            landmark_index=np.zeros(0, np.int16),
            people=None if self.people is None else self.people[row],
            units=None if self.units is None else self.units[row, at],
            unit_names=self.unit_names,
            blendshapes=None if self.blendshapes is None else self.blendshapes[row, at],
        )

    def take(self, rows: npt.NDArray[np.int64]) -> LearningClips:
        """The chosen rows only."""
        return replace(
            self,
            names=tuple(self.names[row] for row in rows.tolist()),
            pixels=self.pixels[rows],
            mask=self.mask[rows],
            times_s=self.times_s[rows],
            target=self.target[rows],
            level=None if self.level is None else self.level[rows],
            people=None if self.people is None else self.people[rows],
            units=None if self.units is None else self.units[rows],
            blendshapes=None if self.blendshapes is None else self.blendshapes[rows],
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve letters that change with any picture, time or label."""
        digest = hashlib.sha256("\n".join((self.name, *self.labels)).encode())
        for part in (self.pixels, self.mask, self.times_s, self.target):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:12]
