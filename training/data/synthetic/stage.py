"""One person before one camera in one light: what turns units and a pose into a picture.

N vertices, A action units, H, W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .action_units import ACTION_UNITS, arkit_matrix, unit_matrix
from .appearance import SyntheticPerson
from .camera import PIVOT, Camera, CameraFaults, Pose, aligned
from .head import SyntheticHead
from .paint import FacePaint
from .raster import Cover, rasterize
from .shading import BACKGROUND, Light, lit, surface

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_NEAR_CM = 0.4
"""How much nearer something must be to hide a point, in the true flow."""


class SyntheticStudio:
    """A head with its paint and the matrices between units and shapes; made once, used often.

    Not for several threads at once: the paint is overwritten per person.
    """

    def __init__(self, head: SyntheticHead) -> None:
        self.head = head
        self.paint = FacePaint(head)
        self._units = {side: unit_matrix(head.expression_names, side) for side in ("", "L", "R")}
        self._arkit = arkit_matrix(head.expression_names)

    def weights(self, units: Floats, other_side: Floats, strong_side: str) -> Floats:
        """Shape weights (E,) of units (A,), of which the weaker side shows `other_side` (A,)."""
        weaker = "L" if strong_side == "R" else "R"
        missing = (units * (1 - other_side)) @ self._units[weaker]
        return np.asarray(np.clip(units @ self._units[""] - missing, 0, 1), dtype=np.float32)

    def blendshapes(self, weights: Floats) -> Floats:
        """ARKit's 52 values of shape weights (E,)."""
        return np.asarray(np.clip(weights @ self._arkit, 0, 1), dtype=np.float32)


@dataclass(frozen=True)
class SyntheticScene:
    """What does not change while a camera runs.

    hair_cm (N,) how deep in the hair and resting (N, 3) where a vertex is; framing "head" shows
    head and neck, "crop" what `stream.align` makes of it; backdrop (H, W, 3) linear light;
    supersample how many samples a pixel's side has; trembling_px how far the anchors err, each
    for itself, in crops.
    """

    studio: SyntheticStudio
    person: SyntheticPerson
    hair_cm: Floats
    resting: Floats
    camera: Camera
    faults: CameraFaults
    light: Light
    backdrop: Floats
    size_px: int
    framing: str
    supersample: int
    trembling_px: float

    def view(self, weights: Floats, pose: Pose, rng: np.random.Generator) -> SyntheticView:
        """The head with these shape weights (E,) in this pose, ready to be drawn."""
        head = self.studio.head
        points = head.express(self.resting, weights)
        turn = pose.matrix()
        normals = head.normals(points) @ turn.T
        flat, depth = self.camera.project((points - PIVOT) @ turn.T, self.size_px)
        if self.framing == "crop":
            flat = aligned(flat, head.anchors, self.size_px, self.trembling_px, rng)
        cover = rasterize(flat, depth, head.triangles, (self.size_px, self.size_px))
        return SyntheticView(self, flat, depth, normals, cover)


@dataclass(frozen=True)
class SyntheticView:
    """One moment: vertices on the screen (N, 2), their distance (N,), their normals (N, 3), and
    what each pixel's centre sees."""

    scene: SyntheticScene
    points_xy: Floats
    depth: Floats
    normals: Floats
    cover: Cover

    @property
    def landmarks_xy(self) -> Floats:
        """(68, 2) pixels."""
        return self.points_xy[self.scene.studio.head.landmarks]

    @property
    def anchors_xy(self) -> Floats:
        """(6, 2) pixels, for `stream.align.anchor_matrix`."""
        return self.points_xy[self.scene.studio.head.anchors]

    @property
    def mesh_xy(self) -> Floats:
        """(160, 2) pixels, or (0, 2) where the face kit has no such points."""
        return self.points_xy[self.scene.studio.head.mesh]

    def picture(self, units: Floats, rng: np.random.Generator) -> Image:
        """The picture (H, W, 3) RGB; units (A,) tell which furrows show."""
        scene, many = self.scene, self.scene.supersample
        head, size_px = scene.studio.head, scene.size_px
        side = size_px * many
        cover = self.cover
        if many > 1:
            fine = (self.points_xy + 0.5) * np.float32(many) - 0.5
            cover = rasterize(fine, self.depth, head.triangles, (side, side))
        seen = surface(head, scene.person, scene.studio.paint, self.normals, cover, scene.hair_cm)
        names = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
        light = cv2.resize(scene.backdrop, (side, side), interpolation=cv2.INTER_LINEAR)
        light.reshape(-1, 3)[cover.pixel] = lit(head, scene.person, scene.light, seen, names)
        if many > 1:
            light = cv2.resize(light, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return scene.faults.develop(light, rng)

    def parsing(self) -> Image:
        """What each pixel's centre shows (H, W), numbers into PARSING_CLASSES."""
        scene = self.scene
        seen = surface(
            scene.studio.head,
            scene.person,
            scene.studio.paint,
            self.normals,
            self.cover,
            scene.hair_cm,
        )
        result = np.full(scene.size_px**2, BACKGROUND, np.uint8)
        result[self.cover.pixel] = seen.parsing
        return result.reshape(scene.size_px, scene.size_px)

    def flow_to(self, later: SyntheticView) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """True motion (H, W, 2) in pixels until a later view, and where it can be followed.

        The backdrop stands still, also in aligned crops.
        """
        size, triangles = self.scene.size_px, self.scene.studio.head.triangles
        both = np.concatenate([later.points_xy, later.depth[:, None]], axis=1)
        there = self.cover.blend(both, triangles)
        here = np.stack([self.cover.pixel % size, self.cover.pixel // size], axis=1)
        flow = np.zeros((size * size, 2), np.float32)
        flow[self.cover.pixel] = there[:, :2] - here
        depth = np.full(size * size, np.inf, np.float32)
        depth[later.cover.pixel] = later.cover.blend(later.depth[:, None], triangles)[:, 0]
        seen = np.isinf(depth)
        column, row = np.rint(there[:, :2]).astype(np.int64).T
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        nearest = depth[np.where(inside, row * size + column, 0)]
        # At an outline the rounded place may miss the face, which does not hide the point.
        seen[self.cover.pixel] = inside & (there[:, 2] < nearest + _NEAR_CM)
        return flow.reshape(size, size, 2), seen.reshape(size, size)


def drawn_backdrop(size_px: int, rng: np.random.Generator) -> Floats:
    """A blurred nothing (H, W, 3) in linear light."""
    tone = rng.uniform(0.02, 0.35)
    coarse = np.clip(
        tone * np.exp(rng.normal(0, 0.5, (4, 4, 1)) + rng.normal(0, 0.06, (4, 4, 3))), 0, 1
    )
    smooth = cv2.resize(
        coarse.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(smooth, 0, 1), dtype=np.float32)
