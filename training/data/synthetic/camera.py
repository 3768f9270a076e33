"""From the head in space to the picture: pose, projection, framing, and the camera's faults.

N points, H, W image height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.align import anchor_matrix

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

PIVOT = np.array([0.0, 0.0, 2.0], np.float32)
"""What a head turns about, cm."""
POSES: dict[str, tuple[float, float]] = {
    "half_left": (-45.0, 0.0),
    "front": (0.0, 0.0),
    "half_right": (45.0, 0.0),
    "bird": (0.0, 30.0),
}
"""F2ED's four cameras (paper 004, section 3.1: 45 degrees to each side, 30 from above) as turns
(yaw, pitch) of the head, degrees. Which side is "left" the paper does not say: here the half
left camera stands to the face's own left, so that the nose points to the picture's left."""


@dataclass(frozen=True)
class Pose:
    """Turn of the head, degrees: yaw to the picture's right, pitch down, roll clockwise."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0

    def matrix(self) -> Floats:
        """The rotation (3, 3); roll acts first, then pitch of the head, then the camera's yaw."""
        yaw, pitch, roll = np.radians([self.yaw_deg, self.pitch_deg, -self.roll_deg])
        about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        return np.asarray(np.array(about_x) @ about_y @ about_z, dtype=np.float32)

    def __add__(self, other: Pose) -> Pose:
        return Pose(
            self.yaw_deg + other.yaw_deg,
            self.pitch_deg + other.pitch_deg,
            self.roll_deg + other.roll_deg,
        )


@dataclass(frozen=True)
class Camera:
    """A pinhole in front of the head.

    distance_cm from the pivot; side_cm what the picture's side spans there; centre_cm (x, y) the
    place in its middle.
    """

    distance_cm: float = 80.0
    side_cm: float = 28.0
    centre_cm: tuple[float, float] = (0.0, 1.5)

    def project(self, points: Floats, size_px: int) -> tuple[Floats, Floats]:
        """Turned points (N, 3) on the screen (N, 2), pixels, and their distance (N,), cm."""
        depth = self.distance_cm - points[:, 2]
        scale = (size_px / self.side_cm * self.distance_cm) / depth
        middle = (size_px - 1) / 2
        flat = np.empty((len(points), 2), np.float32)
        flat[:, 0] = middle + (points[:, 0] - self.centre_cm[0]) * scale
        flat[:, 1] = middle - (points[:, 1] - self.centre_cm[1]) * scale
        return flat, depth


def aligned(
    points_xy: Floats,
    anchor_vertices: npt.NDArray[np.int32],
    crop_px: int,
    trembling_px: float,
    rng: np.random.Generator,
) -> Floats:
    """Screen points moved as run time aligns a face, by `stream.align.anchor_matrix`.

    `trembling_px` is how far a landmark finder errs, in pixels of the crop.
    """
    anchors = points_xy[anchor_vertices]
    matrix = anchor_matrix(anchors, crop_px)
    if trembling_px > 0:
        scale = max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-9)
        error = rng.normal(0, trembling_px / scale, anchors.shape)
        matrix = anchor_matrix((anchors + error).astype(np.float32), crop_px)
    return np.asarray(points_xy @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32)


@dataclass(frozen=True)
class CameraFaults:
    """What a sensor adds; zero and None everywhere is a clean picture.

    blur_px the spread of its lens; read_noise and shot_noise in grey levels, the latter at
    white; gain and tint (3,) how its exposure and white balance are off; jpeg its quality.
    """

    blur_px: float = 0.0
    read_noise: float = 0.0
    shot_noise: float = 0.0
    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    jpeg: int | None = None

    @classmethod
    def drawn(cls, rng: np.random.Generator, amount: float) -> CameraFaults:
        """Faults of a usual camera, `amount` times as strong."""
        tint = 1 + amount * rng.normal(0, 0.05, 3)
        return cls(
            blur_px=float(amount * rng.uniform(0, 0.6)),
            read_noise=float(amount * rng.uniform(0, 3)),
            shot_noise=float(amount * rng.uniform(0, 5)),
            gain=float(2 ** (amount * rng.normal(0, 0.25))),
            tint=(float(tint[0]), float(tint[1]), float(tint[2])),
            jpeg=int(rng.integers(50, 95)) if rng.random() < 0.5 * amount else None,
        )

    def develop(self, light: Floats, rng: np.random.Generator) -> Image:
        """Linear light (H, W, 3) to the picture (H, W, 3) uint8 that the camera would give."""
        if self.blur_px > 0.05:
            light = cv2.GaussianBlur(light, (0, 0), self.blur_px)
        level = np.clip(light * (self.gain * np.array(self.tint, np.float32)), 0, 1)
        shown = 255 * np.sqrt(level) * (1.2 - 0.2 * level)  # near the sRGB curve, and cheap
        if self.read_noise or self.shot_noise:
            spread = np.sqrt(self.read_noise**2 + self.shot_noise**2 * level)
            shown += spread * rng.standard_normal(shown.shape, np.float32)
        image: Image = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
        if self.jpeg is None:
            return image
        _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
        return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])
