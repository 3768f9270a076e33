"""Motion from photographs, and sets of motion stacks.

Labelled photographs set in motion: what the temporal network learns from.

There is no labelled video here. A photograph with landmarks is aligned; a linear map from
blendshapes to landmarks, fitted on the training photographs, tells which part of its landmarks
the expression made; taking that part back gives the neutral face, and warping the photograph
between the two along an onset, apex or offset curve gives a short clip whose label is the
crowd's vote. Motion is then estimated by the run-time code, errors and all. Talking, blinking,
turning and a trembling alignment are added as distractors. Weak supervision, and called so.

L landmarks, U blendshapes and pose terms, G grid nodes, F motion fields in a stack.

A set of motion stacks on disk, made once from one split.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.clip import MOTION_CROP_PX, MotionEstimator, motion_weight

from .fer import FerPlus, load_fer_plus

Array = npt.NDArray[np.float32]
Crop = npt.NDArray[np.uint8]

FIELDS = 8
GAPS_S = (0.1, 0.1, 0.1, 0.104, 0.12, 0.133)
"""Gaps between reference crops at 30, 60, 100, 48, 25 and 15 frames per second."""
KINDS = ("onset", "apex", "offset")
KIND_SHARE = (0.6, 0.15, 0.25)
GRID = 16
REACH_PX = 5.0
"""Spread of a landmark's pull on its surroundings, in motion-crop pixels."""
NEUTRAL_FLOOR = 0.6
"""Share of neutral votes from which a face counts as a sample of the resting face."""


@dataclass(frozen=True)
class FaceShape:
    """Linear map from blendshapes to aligned landmarks, fitted by ridge regression.

    weights (U, L, 2) pixels of the motion crop per unit; resting (52,) the blendshapes of a
    face at rest; r2 the share of landmark variance that it explains on its own training data.
    """

    weights: Array
    resting: Array
    names: tuple[str, ...]
    r2: float

    def expression(self, blendshapes: Array) -> Array:
        """The part (L, 2) of the landmarks that departs from rest."""
        return np.tensordot(blendshapes - self.resting, self.weights[: len(self.names)], axes=1)

    def direction(self, *names: str) -> Array:
        """Landmark shifts (L, 2) of one unit of the blendshapes that start with these names."""
        rows = [i for i, name in enumerate(self.names) if name.startswith(names)]
        return np.asarray(self.weights[rows].sum(axis=0))


def aligned_landmarks(data: FerPlus) -> Array:
    """Landmarks in motion-crop pixels (N, L, 2)."""
    matrices = data.matrices(MOTION_CROP_PX)
    return np.asarray(
        np.einsum("nij,nlj->nli", matrices[:, :, :2], data.landmarks_xy) + matrices[:, None, :, 2],
        dtype=np.float32,
    )


def fit_face_shape(data: FerPlus) -> FaceShape:
    """Fit `FaceShape` on the photographs in which the teacher saw a face."""
    seen = data.subset(data.seen)
    landmarks = aligned_landmarks(seen)
    nose = list(seen.landmark_index).index(1)
    turn = landmarks[:, nose] - landmarks.mean(axis=1)
    regressors = np.concatenate([seen.blendshapes, turn, np.ones((len(seen), 1))], axis=1)
    targets = landmarks.reshape(len(seen), -1)
    penalty = np.eye(regressors.shape[1]) * 10.0
    penalty[-1, -1] = 0
    solution = np.linalg.solve(
        regressors.T @ regressors + penalty, regressors.T @ targets.astype(np.float64)
    )
    residual = targets - regressors @ solution
    r2 = 1 - float((residual**2).sum() / ((targets - targets.mean(0)) ** 2).sum())
    resting = seen.blendshapes[seen.votes[:, 0] >= NEUTRAL_FLOOR].mean(axis=0)
    weights = solution[:-1].reshape(-1, landmarks.shape[1], 2).astype(np.float32)
    return FaceShape(weights, resting, seen.blendshape_names, r2)


class MovingFace:
    """One photograph whose landmarks can be moved.

    Args:
        pixels: the photograph (48, 48) uint8.
        matrix: its alignment (2, 3) to the motion crop.
        landmarks_xy: aligned landmarks (L, 2) in motion-crop pixels.
    """

    def __init__(self, pixels: Crop, matrix: npt.NDArray[np.float64], landmarks_xy: Array) -> None:
        self._pixels = pixels
        self._inverse = cv2.invertAffineTransform(matrix)
        side = MOTION_CROP_PX
        nodes = (np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), -1) + 0.5) * side / GRID
        distance_GL = ((nodes.reshape(-1, 1, 2) - landmarks_xy[None]) ** 2).sum(-1)
        pull_GL = np.exp(-distance_GL / (2 * REACH_PX**2))
        self._pull_GL = (pull_GL / (pull_GL.sum(1, keepdims=True) + 0.5)).astype(np.float32)

    def render(
        self,
        shift_xy: Array,
        jitter: npt.NDArray[np.float64] | None = None,
        crop_px: int = MOTION_CROP_PX,
    ) -> Crop:
        """The aligned crop (crop_px, crop_px) with landmarks moved by ``shift_xy`` (L, 2).

        Shifts are in motion-crop pixels whatever ``crop_px`` is. ``jitter`` (2, 3) moves the
        whole crop, as a trembling alignment would.
        """
        coarse = (self._pull_GL @ shift_xy).reshape(GRID, GRID, 2)
        dense = cv2.resize(coarse, (crop_px, crop_px), interpolation=cv2.INTER_LINEAR)
        line = (np.arange(crop_px, dtype=np.float32) + 0.5) * (MOTION_CROP_PX / crop_px) - 0.5
        at = np.stack(np.meshgrid(line, line), -1) - dense
        if jitter is not None:
            at = at @ jitter[:, :2].T + jitter[:, 2]
        source = (at @ self._inverse[:, :2].T + self._inverse[:, 2]).astype(np.float32)
        image = cv2.remap(
            self._pixels, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(image, dtype=np.uint8)


def level_curve(kind: str, times_s: Array, rng: np.random.Generator) -> Array:
    """How far the expression is on, 0..1, at each time: a smooth onset, apex or offset."""
    if kind == "apex":
        return np.ones_like(times_s)
    length_s = rng.uniform(0.25, 0.9)
    start_s = rng.uniform(-0.15, max(float(times_s[-1]) - 0.75 * length_s, 0.0))
    phase = np.clip((times_s - start_s) / length_s, 0, 1)
    rise = phase * phase * (3 - 2 * phase)
    return np.asarray(rise if kind == "onset" else 1 - rise, dtype=np.float32)


@dataclass(frozen=True)
class MovingClip:
    """Moments of one photograph in motion, ``gap_s`` apart, ending at ``level`` 0..1."""

    motion_crops: list[Crop]
    crops: list[Crop]
    gap_s: float
    level: float


class MotionMaker:
    """Makes motion stacks from photographs; one random generator, so runs can be repeated."""

    def __init__(self, data: FerPlus, shape: FaceShape, seed: int) -> None:
        self.data = data
        self.shape = shape
        self.landmarks = aligned_landmarks(data)
        self.matrices = data.matrices(MOTION_CROP_PX)
        self.rng = np.random.default_rng(seed)
        self._estimator = MotionEstimator()
        self._jaw = shape.direction("jawOpen")
        self._lips = shape.direction("mouthFunnel", "mouthPucker")
        self._lids = shape.direction("eyeBlink")
        self._turn = shape.weights[len(shape.names)]

    def any_kind(self) -> str:
        """Onset, apex or offset, as often as KIND_SHARE says."""
        return str(self.rng.choice(KINDS, p=KIND_SHARE))

    def stack(self, index: int, kind: str) -> tuple[Array, float]:
        """A stack (2F, 32, 32) of one photograph, and the level 0..1 at which it ends."""
        clip = self.clip(index, kind)
        return self.motion(clip), clip.level

    def motion(self, clip: MovingClip) -> Array:
        """The stack (2F, 32, 32) that the run-time estimator sees in a clip."""
        pairs = itertools.pairwise(clip.motion_crops)
        return np.concatenate([self._estimator.field(a, b, clip.gap_s) for a, b in pairs])

    def clip(self, index: int, kind: str, crop_px: int | None = None) -> MovingClip:
        """F + 1 moments of one photograph in motion; ``crop_px`` asks for the spatial network's
        crops of the same moments too."""
        rng = self.rng
        gap_s = float(rng.choice(GAPS_S))
        times_s = np.arange(FIELDS + 1, dtype=np.float32) * gap_s
        levels = level_curve(kind, times_s, rng)
        face = MovingFace(self.data.pixels[index], self.matrices[index], self.landmarks[index])
        expression = self.shape.expression(self.data.blendshapes[index])
        shifts = -(1 - levels)[:, None, None] * expression + self._distraction(times_s)
        noise, tremble = rng.uniform(0, 4), rng.uniform(0, 0.25)
        motion_crops, crops = [], []
        for shift in shifts:
            jitter = _jitter(rng, tremble)
            motion_crops.append(_with_noise(face.render(shift, jitter), noise, rng))
            if crop_px is not None:
                crops.append(_with_noise(face.render(shift, jitter, crop_px), noise, rng))
        return MovingClip(motion_crops, crops, gap_s, float(levels[-3:].mean()))

    def _distraction(self, times_s: Array) -> Array:
        """Landmark shifts (F+1, L, 2) that say nothing about the expression."""
        rng = self.rng
        total = np.zeros((len(times_s), *self._jaw.shape), dtype=np.float32)
        if rng.random() < 0.3:
            speed_hz = rng.uniform(2, 5)
            talk = np.sin(2 * np.pi * (speed_hz * times_s + rng.random()))
            total += (rng.uniform(0.05, 0.3) * (talk + 1) / 2)[:, None, None] * self._jaw
            lips = np.sin(2 * np.pi * (speed_hz / 2 * times_s + rng.random()))
            total += (rng.uniform(0, 0.15) * lips)[:, None, None] * self._lips
        if rng.random() < 0.3:
            when_s = rng.uniform(0, times_s[-1])
            blink = np.exp(-(((times_s - when_s) / 0.09) ** 2))
            total += (rng.uniform(0.2, 0.5) * blink)[:, None, None] * self._lids
        if rng.random() < 0.4:
            speed = rng.normal(0, 3.0)
            total += (speed * times_s)[:, None, None] * self._turn
        return total


def _with_noise(crop: Crop, size: float, rng: np.random.Generator) -> Crop:
    """Sensor noise and a flicker of the light, in grey levels."""
    noisy = crop + rng.normal(0, size, crop.shape) + rng.normal(0, 1.0)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def _jitter(rng: np.random.Generator, size_px: float) -> npt.NDArray[np.float64]:
    """A small random similarity about the crop's centre, (2, 3)."""
    angle, scale = rng.normal(0, size_px * 0.02, 2)
    linear = (1 + scale) * np.array([[1, -angle], [angle, 1]])
    centre = np.full(2, (MOTION_CROP_PX - 1) / 2)
    shift = centre - linear @ centre + rng.normal(0, size_px, 2)
    return np.column_stack([linear, shift])


def motion_target(votes: Array, level: float) -> Array:
    """Votes (8,) as far as the expression is on, the rest neutral."""
    target = votes * np.float32(level)
    target[0] += np.float32(1 - level)
    return np.asarray(target, dtype=np.float32)


def motion_weights(
    stacks: npt.NDArray[np.float32], still: float, moving: float
) -> npt.NDArray[np.float32]:
    """Weights (N, 1), 0..1, that run time gives the motion in stacks (N, 2F, P, P); ``still`` and
    ``moving`` are speeds in face widths per second, see `stream.clip.motion_weight`."""
    weights = [motion_weight(stack, still, moving) for stack in stacks]
    return np.array(weights, np.float32)[:, None]


@dataclass(frozen=True)
class MotionSet:
    """motion (N, 2F, 32, 32) float16; target (N, 8) float32; kind (N,) numbers of KINDS;
    photograph (N,) row in the split that each was made from; level (N,) float32, how far the
    expression is on at the end, 0..1."""

    motion: npt.NDArray[np.float16]
    target: npt.NDArray[np.float32]
    kind: npt.NDArray[np.int64]
    photograph: npt.NDArray[np.int64]
    level: npt.NDArray[np.float32]


def movable(split: str, folder: str | Path | None) -> FerPlus:
    """Photographs of a split that can be set in motion: rated, and with landmarks."""
    data = load_fer_plus(split, folder)
    return data.subset(data.rated & data.seen)


def face_shape(folder: str | Path | None) -> FaceShape:
    """The map from blendshapes to landmarks, from the training photographs."""
    return fit_face_shape(movable("train", folder))


def make_motion_set(
    data: FerPlus, shape: FaceShape, photographs: Iterable[int], *, seed: int
) -> MotionSet:
    """One stack for each of ``photographs`` (rows of ``data``), of all kinds."""
    maker = MotionMaker(data, shape, seed)
    motion, target, kinds, rows, levels = [], [], [], [], []
    for row in photographs:
        chosen = maker.any_kind()
        stack, level = maker.stack(int(row), chosen)
        motion.append(stack.astype(np.float16))
        target.append(motion_target(data.votes[row], level))
        kinds.append(KINDS.index(chosen))
        rows.append(int(row))
        levels.append(level)
    return MotionSet(
        np.stack(motion),
        np.stack(target),
        np.array(kinds),
        np.array(rows),
        np.array(levels, np.float32),
    )


def load_motion_set(path: Path) -> MotionSet:
    """Read the .npz file that training keeps of one (training.learning.motion).

    Raises:
        FileNotFoundError: it was not made yet.
    """
    with np.load(path) as stored:
        return MotionSet(**{name: stored[name] for name in stored.files})
