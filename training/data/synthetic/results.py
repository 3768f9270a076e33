"""What the synthetic faces hand out. Every one of them says that it is synthetic.

T frames, H, W height and width, A action units.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

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
