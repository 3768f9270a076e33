"""Pictures of one person before one camera, how expressions come and go, what is handed out.

What the synthetic faces hand out. Every one of them says that it is synthetic.

T frames, H, W height and width, A action units.

How a synthetic expression comes and goes, and what a face does besides.

T frames, A action units. Times are seconds from the clip's first frame.

One person before one camera in one light: what turns units and a pose into a picture.

N vertices, A action units, H, W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from .camera import PIVOT, Camera, CameraFaults, Cover, Pose, aligned, rasterize
from .expressions import ACTION_UNITS, arkit_matrix, unit_matrix
from .head import SyntheticHead
from .paint import FacePaint, SyntheticPerson
from .shading import BACKGROUND, Light, lit, surface

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

ORIGIN = "synthetic"
"""The `origin` of every picture and clip made here; tables must not mix it with real data."""


@dataclass(frozen=True)
class SyntheticImage:
    """One rendered face; no photograph, nobody's face.

    pixels (H, W, 3) RGB or (H, W) grey uint8; parsing (H, W) uint8 numbers into
    PARSING_CLASSES; landmarks_xy (68, 2) float32 pixels, hidden ones too; anchors_xy (6, 2)
    those that `stream.align` uses; mesh_xy (160, 2) the points MESH_NUMBERS of MediaPipe's mesh,
    as a teacher's, or (0, 2) where the mesh is not ICT-FaceKit's; action_units (A,) 0..1 in the
    order of ACTION_UNITS, the mean of both sides; blendshapes (52,) 0..1 in the order of
    ARKIT_NAMES; label its place in the taxonomy; person a number; turn_deg (3,) yaw, pitch and
    roll as rendered; strength 0..1.
    """

    pixels: Image
    parsing: Image
    landmarks_xy: Floats
    anchors_xy: Floats
    mesh_xy: Floats
    action_units: Floats
    blendshapes: Floats
    word: str
    label: int
    taxonomy: str
    person: int
    pose: str
    turn_deg: Floats
    strength: float
    origin: str = field(default=ORIGIN, init=False)


@dataclass(frozen=True)
class SyntheticClip:
    """One rendered face in motion; no film, nobody's face.

    As `SyntheticImage` with a leading T, and: times_s (T,); levels (T,) 0..1 how far the
    expression is on, before its strength; flow (T-1, H, W, 2) float32 the true motion in pixels,
    x right and y down, of what frame t shows at each pixel until frame t+1; flow_seen
    (T-1, H, W) True where the same point is still seen in frame t+1.
    """

    pixels: Image
    times_s: Floats
    levels: Floats
    parsing: Image
    landmarks_xy: Floats
    anchors_xy: Floats
    mesh_xy: Floats
    action_units: Floats
    blendshapes: Floats
    flow: Floats
    flow_seen: npt.NDArray[np.bool_]
    word: str
    label: int
    taxonomy: str
    person: int
    pose: str
    turn_deg: Floats
    strength: float
    moment: str
    origin: str = field(default=ORIGIN, init=False)


MOMENTS = ("whole", "onset", "apex", "offset")
"""What of an expression a clip shows; whole is onset, apex and offset."""


def level_curve(
    times_s: Floats, tempo_s: tuple[float, float, float], moment: str, rng: np.random.Generator
) -> Floats:
    """How far the expression is on (T,), 0..1.

    A clip that is too short for the whole holds the apex shorter, then is quicker about the
    rest. ValueError where the moment is none of MOMENTS.
    """
    length_s = max(float(times_s[-1]), 1e-3)
    onset_s, apex_s, offset_s = tempo_s
    if moment == "apex":
        return np.ones_like(times_s)
    if moment == "onset":
        start_s = float(rng.uniform(0, 0.5)) * max(length_s - onset_s, 0.1 * length_s)
        return _rise(times_s, start_s, min(onset_s, 0.9 * length_s))
    if moment == "offset":
        start_s = float(rng.uniform(0, 0.5)) * max(length_s - offset_s, 0.1 * length_s)
        return 1 - _rise(times_s, start_s, min(offset_s, 0.9 * length_s))
    if moment != "whole":
        raise ValueError(f"a clip shows one of {', '.join(MOMENTS)}, not {moment!r}")
    start_s = float(rng.uniform(0.02, 0.12)) * length_s
    room_s = length_s - start_s
    quicker = min(1.0, 0.85 * room_s / (onset_s + offset_s))
    onset_s, offset_s = onset_s * quicker, offset_s * quicker
    end_s = start_s + onset_s + min(apex_s, max(room_s - onset_s - offset_s, 0.0))
    rising, falling = _rise(times_s, start_s, onset_s), _rise(times_s, end_s, offset_s)
    return np.asarray(rising * (1 - falling), dtype=np.float32)


def unit_levels(levels: Floats, rng: np.random.Generator) -> Floats:
    """Each unit's own course (T, A): some come before others."""
    order = np.clip(rng.normal(1, 0.15, len(ACTION_UNITS)), 0.6, 1.5)
    return np.asarray(levels[:, None] ** order, dtype=np.float32)


def distraction(
    times_s: Floats, amount: float, tremor: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """What says nothing, or little, of the expression: talking, blinking, looking about, swaying.

    Args:
        amount: 0 none, 1 as in a conversation.
        tremor: 0..1 of a trembling face.

    Returns:
        units (T, A) to add, and turns of the head (T, 3) yaw, pitch, roll in degrees.
    """
    units = np.zeros((len(times_s), len(ACTION_UNITS)), np.float32)
    column = {name: at for at, name in enumerate(ACTION_UNITS)}
    length_s = float(times_s[-1])
    if rng.random() < 0.3 * amount:
        speed_hz, phase = rng.uniform(2, 5), rng.random()
        talk = (np.sin(2 * np.pi * (speed_hz * times_s + phase)) + 1) / 2
        units[:, column["AU26"]] += rng.uniform(0.1, 0.4) * talk
        units[:, column["AU18"]] += rng.uniform(0, 0.3) * np.roll(talk, 1)
    blinks = rng.poisson((0.3 + 0.5 * tremor) * amount * max(length_s, 0.4))
    for when_s in rng.uniform(0, max(length_s, 1e-3), blinks):
        units[:, column["AU45"]] += np.exp(-(((times_s - when_s) / 0.08) ** 2))
    if rng.random() < 0.4 * amount:
        where = ("AU61", "AU62", "AU63", "AU64")[int(rng.integers(0, 4))]
        since_s = rng.uniform(-0.2, max(length_s, 1e-3))
        units[:, column[where]] += rng.uniform(0.2, 0.6) * (times_s > since_s)
    sway = np.zeros((len(times_s), 3), np.float32)
    for axis, reach_deg in enumerate((4.0, 2.5, 2.0)):
        speed_hz, phase = rng.uniform(0.1, 0.5), rng.random()
        swing = np.sin(2 * np.pi * (speed_hz * times_s + phase))
        sway[:, axis] = amount * rng.uniform(0, reach_deg) * swing
    tremble = tremor * amount * 0.3 * np.sin(2 * np.pi * (rng.uniform(6, 9) * times_s))
    sway[:, 1] += tremble.astype(np.float32)
    units[:, column["AU20"]] += np.clip(tremble, 0, 1) * 0.3
    return np.clip(units, 0, 1).astype(np.float32), sway


def _rise(times_s: Floats, start_s: float, length_s: float) -> Floats:
    """A smooth step from 0 at `start_s` to 1 `length_s` later."""
    phase = np.clip((times_s - start_s) / max(length_s, 1e-3), 0, 1)
    return np.asarray(phase * phase * (3 - 2 * phase), dtype=np.float32)


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
        """(6, 2) pixels, for `stream.faces.align.anchor_matrix`."""
        return self.points_xy[self.scene.studio.head.anchors]

    @property
    def mesh_xy(self) -> Floats:
        """(160, 2) pixels, or (0, 2) where the face kit has no such points."""
        return self.points_xy[self.scene.studio.head.mesh]

    def picture(
        self,
        units: Floats,
        rng: np.random.Generator,
        gaze_deg: tuple[float, float] = (0.0, 0.0),
    ) -> Image:
        """The picture (H, W, 3) RGB; units (A,) tell which furrows show, `gaze_deg` how far the
        eyes look to the face's own left and up."""
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
        light.reshape(-1, 3)[cover.pixel] = lit(
            head, scene.person, scene.light, seen, names, gaze_deg
        )
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
