"""Camera and rasteriser of the 3D face.

From the head in space to the picture: pose, projection, framing, and the camera's faults.

N points, H, W image height and width.

A software rasteriser in numpy: which triangle each pixel sees, and where in it.

T triangles, N vertices, H, W image height and width, C covered pixels. Pixel (row, column) has
its centre at (x, y) = (column, row), as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import anchor_matrix

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
    """Screen points moved as run time aligns a face, by `stream.faces.align.anchor_matrix`.

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


Ints = npt.NDArray[np.int32]


_SEAM = 1e-4
"""A pixel exactly on an edge belongs to both triangles, so that rounding leaves no gap."""


@dataclass(frozen=True)
class Cover:
    """What is seen of a mesh: C pixels that show a triangle.

    pixel (C,) the flat numbers row * W + column, ascending; triangle (C,) which one is nearest;
    share (C, 3) float32 the barycentric weights of its corners, linear on the screen.
    """

    pixel: npt.NDArray[np.int64]
    triangle: npt.NDArray[np.int64]
    share: Floats
    size: tuple[int, int]

    def blend(self, values: Floats, triangles: Ints) -> Floats:
        """Vertex values (N, K) at the covered pixels (C, K)."""
        corners = triangles[self.triangle]
        result = values[corners[:, 0]] * self.share[:, :1]
        result += values[corners[:, 1]] * self.share[:, 1:2]
        result += values[corners[:, 2]] * self.share[:, 2:]
        return np.asarray(result, dtype=np.float32)


def rasterize(
    points_xy: Floats,
    depth: Floats,
    triangles: Ints,
    size: tuple[int, int],
    two_sided: npt.NDArray[np.bool_] | None = None,
) -> Cover:
    """The nearest triangle at each pixel's centre.

    Args:
        points_xy: vertices on the screen (N, 2), pixels.
        depth: their distance (N,) from the camera; smaller hides larger.
        triangles: corners (T, 3); seen from outside they turn anticlockwise in space, so
            clockwise on the screen, whose y points down, is the back and left out.
        size: (H, W).
        two_sided: (T,) True where a triangle's back is seen too.
    """
    height, width = size
    a, b, c = (points_xy[triangles[:, corner]] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    low = np.ceil(np.minimum(np.minimum(a, b), c)).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), c)).astype(np.int32)
    np.maximum(low, 0, out=low)
    np.minimum(high, np.array([width - 1, height - 1], np.int32), out=high)
    span = high - low + 1
    front = area < -1e-9 if two_sided is None else (area < -1e-9) | (two_sided & (area > 1e-9))
    seen = np.flatnonzero(front & (span[:, 0] > 0) & (span[:, 1] > 0))
    low, span, area = low[seen], span[seen], area[seen]
    count = span[:, 0] * span[:, 1]
    row = np.repeat(np.arange(len(seen)), count)
    step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    column_span = span[row, 0]
    down = step // column_span
    x = low[row, 0] + (step - down * column_span)
    y = low[row, 1] + down
    a, b, c = a[seen], b[seen], c[seen]
    # Edge functions are linear in x and y: one product and two sums each.
    inverse = (1.0 / area).astype(np.float32)
    first = _edge(b, c, inverse, row, x, y)
    second = _edge(c, a, inverse, row, x, y)
    inside = np.flatnonzero((first >= -_SEAM) & (second >= -_SEAM) & (first + second <= 1 + _SEAM))
    row, first, second = row[inside], first[inside], second[inside]
    third = 1 - first - second
    flat = y[inside] * width + x[inside]
    near = depth[triangles[seen]][row]
    distance = near[:, 0] * first + near[:, 1] * second + near[:, 2] * third
    # Nearest first; the first of each pixel stays.
    order = np.lexsort((distance, flat))
    flat = flat[order]
    first_of = np.flatnonzero(np.diff(flat, prepend=-1))
    kept = order[first_of]
    share = np.stack([first[kept], second[kept], third[kept]], 1).astype(np.float32)
    return Cover(flat[first_of], seen[row[kept]], share, size)


def _edge(
    start: Floats,
    end: Floats,
    inverse: Floats,
    row: npt.NDArray[np.int64],
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
) -> Floats:
    """The barycentric weight opposite the edge from `start` to `end`, at pixels (x, y)."""
    along_x = (start[:, 1] - end[:, 1]) * inverse
    along_y = (end[:, 0] - start[:, 0]) * inverse
    constant = -(along_x * start[:, 0] + along_y * start[:, 1])
    return np.asarray(along_x[row] * x + along_y[row] * y + constant[row], dtype=np.float32)
