"""A sheet of synthetic pictures to look at: expressions, poses, masks, motion, people."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .camera import POSES
from .faces import SyntheticFaces, SyntheticOptions
from .head import SyntheticHead
from .shading import PARSING_CLASSES

Image = npt.NDArray[np.uint8]
Tile = tuple[Image, str]

COLUMNS = 8
PARSING_COLOURS = np.array(
    [
        [24, 24, 28],
        [226, 182, 150],
        [250, 250, 250],
        [176, 96, 200],
        [240, 200, 70],
        [214, 48, 68],
        [112, 164, 98],
        [94, 66, 46],
    ],
    np.uint8,
)
"""A colour for each of PARSING_CLASSES."""
_CAPTION_PX, _GAP_PX = 14, 2
_PAPER, _INK = 250, (40, 40, 46)


def synthetic_sheet(head: SyntheticHead, size_px: int = 88, seed: int = 0) -> Image:
    """Expressions of basic8 and fine words, the four poses with parsing and landmarks, the true
    motion of a clip, and people: an RGB picture with captions."""

    def faces(**changes: object) -> SyntheticFaces:
        plain = {"size_px": size_px, "seed": seed, "faults": 0.0, "supersample": 3}
        return SyntheticFaces(head, SyntheticOptions(**{**plain, **changes}))  # type: ignore[arg-type]

    strong = {"strength": (0.95, 1.0)}
    basic = faces(**strong)
    rows = [[(basic.image(3, word, 11).pixels, word) for word in basic.labels]]
    fine = faces(taxonomy="fg33", framing="crop", **strong)
    chosen = ("pride", "thrill", "lust", "astonishment", "wrath", "loathing", "panic", "guilt")
    rows.append([(fine.image(7, word, 5).pixels, word) for word in chosen])
    finer = faces(taxonomy="f2ed54", framing="crop", **strong)
    chosen = ("ecstasy", "rage", "grief", "boredom", "suspicion", "doubt", "awe", "shame")
    rows.append([(finer.image(9, word, 21).pixels, word) for word in chosen])
    rows.append(_poses(basic))
    rows += _motion(faces(frames=8, rate_hz=3.0, distraction=0.0, **strong))
    people = faces(faults=1.0)
    rows.append(
        [(people.image(40 + n, "neutral", n).pixels, f"person {n}") for n in range(COLUMNS)]
    )
    return _laid_out(rows, size_px)


def flow_picture(flow: npt.NDArray[np.float32], full_px: float) -> Image:
    """Motion (H, W, 2) as colours (H, W, 3): hue its direction, saturation its size."""
    size, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    colours = np.empty((*flow.shape[:2], 3), np.uint8)
    colours[..., 0] = angle / 2
    colours[..., 1] = np.clip(255 * size / full_px, 0, 255)
    colours[..., 2] = 245
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def _poses(faces: SyntheticFaces) -> list[Tile]:
    tiles: list[Tile] = []
    for pose in POSES:
        image = faces.image(1, "happiness", 2, pose)
        dotted = image.pixels.copy()
        for x, y in np.rint(image.landmarks_xy).astype(int):
            if 0 <= x < dotted.shape[1] and 0 <= y < dotted.shape[0]:
                dotted[y, x] = (80, 255, 120)
        tiles += [(dotted, pose.replace("_", " ")), (PARSING_COLOURS[image.parsing], "parsing")]
    return tiles


def _motion(faces: SyntheticFaces) -> list[list[Tile]]:
    clip = faces.clip(4, "happiness", 3)
    full_px = float(np.percentile(np.abs(clip.flow), 99.5)) or 1.0
    shown = [(pixels, f"{t:.2f} s") for pixels, t in zip(clip.pixels, clip.times_s, strict=True)]
    moved = [(flow_picture(flow, full_px), "true flow") for flow in clip.flow]
    legend = np.full_like(clip.pixels[0], _PAPER)
    step = legend.shape[0] // len(PARSING_CLASSES)
    for row, (name, colour) in enumerate(zip(PARSING_CLASSES, PARSING_COLOURS, strict=True)):
        top = row * step
        legend[top + 1 : top + step - 1, 4 : 4 + step] = colour
        _write(legend, name, (step + 8, top + step - 3))
    return [shown, [*moved, (legend, "parsing classes")]]


def _laid_out(rows: list[list[Tile]], size_px: int) -> Image:
    step, line = size_px + _GAP_PX, size_px + _CAPTION_PX + _GAP_PX
    sheet = np.full((line * len(rows) + 18, step * COLUMNS + _GAP_PX, 3), _PAPER, np.uint8)
    for row, tiles in enumerate(rows):
        for column, (picture, caption) in enumerate(tiles):
            top, left = 18 + row * line, _GAP_PX + column * step
            sheet[top : top + size_px, left : left + size_px] = picture
            _write(sheet, caption, (left + 1, top + size_px + 10))
    _write(sheet, "synthetic faces: rendered from a 3D model, nobody's photograph", (4, 12))
    return sheet


def _write(sheet: Image, text: str, at: tuple[int, int]) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.33, _INK, 1, cv2.LINE_AA)
