"""Drawing what was found onto a frame: pixels in, pixels out.

Per face a box with its id and label and, where there is room, a panel of its best words with
bars; along the lower edge a strip of the last seconds: a filled curve is the attention each
moment got (coloured by what it was read as), a white line the face's motion. Everything scales
with the frame; what would be too small to read is left out.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.taxonomy import load_taxonomy

from ..result import FaceResult, Result
from .timeline import Moment, Timeline

__all__ = ["Timeline", "colour_of", "draw"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_FAMILY_COLOURS: dict[str, Colour] = {
    "love": (255, 120, 170),
    "joy": (255, 200, 70),
    "surprise": (80, 210, 250),
    "anger": (255, 92, 82),
    "sadness": (105, 150, 255),
    "fear": (186, 125, 255),
}
_OWN_COLOURS: dict[str, Colour] = {"disgust": (140, 205, 90), "contempt": (226, 146, 82)}
_GREY: Colour = (196, 202, 208)
_WHITE: Colour = (245, 247, 250)
_PANEL: Colour = (18, 20, 26)
_FONT = cv2.FONT_HERSHEY_DUPLEX
# Height of a capital in the font at scale 1.
_CAPITAL_PX = 22.0
_SMALLEST_TEXT_PX = 6
# Panels of more faces would cover each other.
_MOST_PANELS = 4
# Motion that fills the strip, face widths per second.
_FULL_MOTION = 0.6


class _Rect(NamedTuple):
    x: int
    y: int
    w: int
    h: int


@cache
def colour_of(word: str) -> Colour:
    """RGB of a label or word: its family's colour, grey for neutral and what is unknown."""
    if word in _OWN_COLOURS:
        return _OWN_COLOURS[word]
    for name in ("basic8", "emo135"):
        taxonomy = load_taxonomy(name)
        if word in taxonomy.labels:
            family = taxonomy.family_of[taxonomy.index(word)]
            return _GREY if family < 0 else _FAMILY_COLOURS[taxonomy.families[family]]
    return _GREY


def draw(pixels: Image, result: Result, timeline: Timeline | None = None, top: int = 5) -> Image:
    """A copy of `pixels` (H, W, 3) RGB with the result drawn on it."""
    canvas = pixels.copy()
    height_px, width_px = canvas.shape[:2]
    text_px = max(round(min(height_px, width_px) / 48), 1)
    crowded = len(result.faces) > _MOST_PANELS or text_px < _SMALLEST_TEXT_PX
    strip_px = 0
    roomy = height_px >= 120 and len(result.faces) <= _MOST_PANELS
    if timeline is not None and roomy and timeline.faces():
        strip_px = _draw_strip(canvas, timeline, text_px)
    taken = [_rect_of(found) for found in result.faces]
    for found in result.faces:
        _draw_box(canvas, found, text_px)
    for found in result.faces:
        _draw_tag(canvas, found, text_px)
        if not crowded and top > 0:
            free = _Rect(0, 0, width_px, height_px - strip_px)
            for words in dict.fromkeys((top, min(top, 5), min(top, 3), 1)):
                size = _panel_size(text_px, words)
                panel = _place(free, _rect_of(found), size, text_px, taken)
                if panel is not None:
                    taken.append(panel)
                    _draw_panel(canvas, found, panel, text_px, words)
                    break
    return canvas


def _rect_of(found: FaceResult) -> _Rect:
    x, y, w, h = (round(float(value)) for value in found.face.box)
    return _Rect(x, y, max(w, 1), max(h, 1))


def _draw_box(canvas: Image, found: FaceResult, text_px: int) -> None:
    """Corners of the face's box in the colour of what it is read as."""
    x, y, w, h = _rect_of(found)
    colour = colour_of(found.emotions.label)
    thick_px = max(1, round(text_px / 5))
    arm_px = max(2, round(0.22 * min(w, h)))
    strokes = [
        ((corner_x, corner_y), end)
        for corner_x, inward_x in ((x, 1), (x + w, -1))
        for corner_y, inward_y in ((y, 1), (y + h, -1))
        for end in (
            (corner_x + inward_x * arm_px, corner_y),
            (corner_x, corner_y + inward_y * arm_px),
        )
    ]
    for shade, width_px in (((0, 0, 0), thick_px + 1 + (thick_px > 1)), (colour, thick_px)):
        for start, end in strokes:
            cv2.line(canvas, start, end, shade, width_px, cv2.LINE_AA)


def _draw_tag(canvas: Image, found: FaceResult, text_px: int) -> None:
    """Id and label on a plate above the box, or inside it at the frame's upper edge."""
    if text_px < _SMALLEST_TEXT_PX:
        text_px = _SMALLEST_TEXT_PX
        words = found.emotions.label
    else:
        words = f"{found.face.id}  {found.emotions.label}"
    pad_px = max(1, text_px // 2)
    width_px = _text_width(words, text_px) + 2 * pad_px
    height_px = text_px + 2 * pad_px
    if width_px > canvas.shape[1] or height_px > canvas.shape[0] // 2:
        return
    x, y, _, _ = _rect_of(found)
    x = min(max(x, 0), canvas.shape[1] - width_px)
    y = min(max(y - height_px - pad_px, 0), canvas.shape[0] - height_px)
    colour = colour_of(found.emotions.label)
    _shade(canvas, _Rect(x, y, width_px, height_px), colour, 0.88)
    _write(canvas, words, (x + pad_px, y + pad_px + text_px), text_px, _PANEL)


def _panel_size(text_px: int, top: int) -> tuple[int, int]:
    """Width and height of a panel with `top` words."""
    return round(16.5 * text_px), 4 * text_px + top * round(2.1 * text_px)


def _place(
    free: _Rect, face: _Rect, size: tuple[int, int], gap_px: int, taken: list[_Rect]
) -> _Rect | None:
    """Where a panel fits beside the face: right, left, below or above; None where nowhere."""
    width_px, height_px = size
    beside_y = min(max(face.y, 0), free.h - height_px)
    under_x = min(max(face.x, 0), free.w - width_px)
    tries = (
        _Rect(face.x + face.w + gap_px, beside_y, width_px, height_px),
        _Rect(face.x - gap_px - width_px, beside_y, width_px, height_px),
        _Rect(under_x, face.y + face.h + gap_px, width_px, height_px),
        _Rect(under_x, face.y - 4 * gap_px - height_px, width_px, height_px),
    )
    for rect in tries:
        inside = rect.x >= 0 and rect.y >= 0
        inside &= rect.x + rect.w <= free.w and rect.y + rect.h <= free.h
        if inside and not any(_overlap(rect, other) for other in taken):
            return rect
    return None


def _overlap(one: _Rect, other: _Rect) -> bool:
    beside = one.x + one.w <= other.x or other.x + other.w <= one.x
    return not (beside or one.y + one.h <= other.y or other.y + other.h <= one.y)


def _draw_panel(canvas: Image, found: FaceResult, panel: _Rect, text_px: int, top: int) -> None:
    """Best words with bars; above them how strong the expression is."""
    emotions = found.emotions
    _shade(canvas, panel, _PANEL, 0.72)
    left, right = panel.x + text_px, panel.x + panel.w - text_px
    y = panel.y + 2 * text_px
    title = "uncertain" if emotions.uncertain else emotions.label
    _write(canvas, title, (left, y), text_px, colour_of(emotions.label))
    strength = f"{100 * emotions.intensity:.0f}%"
    _write(canvas, strength, (right - _text_width(strength, text_px), y), text_px, _WHITE)
    y += round(0.7 * text_px)
    _bar(canvas, _Rect(left, y, right - left, max(2, text_px // 4)), emotions.intensity, _WHITE)
    small_px = max(_SMALLEST_TEXT_PX, round(0.82 * text_px))
    words = emotions.top(top)
    # Bars show the words against each other: 135 of them share the probability.
    longest = max((probability for _, probability in words), default=1.0) or 1.0
    y += round(0.1 * text_px)
    for word, probability in words:
        y += round(2.1 * text_px)
        _write(canvas, word, (left, y), small_px, _WHITE)
        number = (
            f"{100 * probability:.0f}%" if probability >= 0.0995 else f"{100 * probability:.1f}%"
        )
        _write(canvas, number, (right - _text_width(number, small_px), y), small_px, _GREY)
        bar = _Rect(left, y + round(0.45 * text_px), right - left, max(2, text_px // 4))
        _bar(canvas, bar, probability / longest, colour_of(word))


def _draw_strip(canvas: Image, timeline: Timeline, text_px: int) -> int:
    """The last seconds of up to four faces along the lower edge; returns its height."""
    height_px, width_px = canvas.shape[:2]
    rows = timeline.faces()[-_MOST_PANELS:]
    row_px = max(10, round(2.6 * text_px))
    strip_px = row_px * len(rows) + max(2, text_px // 2)
    _shade(canvas, _Rect(0, height_px - strip_px, width_px, strip_px), _PANEL, 0.6)
    label_px = round(2.6 * text_px)
    for place, face_id in enumerate(rows):
        bottom = height_px - strip_px + row_px * (place + 1)
        area = _Rect(label_px, bottom - row_px + 2, width_px - label_px - text_px, row_px - 3)
        if text_px >= _SMALLEST_TEXT_PX:
            _write(canvas, str(face_id), (text_px, bottom - row_px // 4), text_px, _WHITE)
        if area.w > 8 and area.h > 3:
            _draw_curves(canvas, timeline, timeline.moments(face_id), area, text_px)
    return strip_px


def _draw_curves(
    canvas: Image, timeline: Timeline, moments: list[Moment], area: _Rect, text_px: int
) -> None:
    """Attention as coloured columns, motion as a line; now is at the right."""
    # Shares shrink as a clip fills; half the height is what is usual, not what was first.
    usual = float(np.median([moment.attention for moment in moments] or [0.0])) or 1.0
    start_s = timeline.now_s - timeline.duration_s
    edges = [area.x + (m.time_s - start_s) / timeline.duration_s * area.w for m in moments]
    base = area.y + area.h
    line: list[tuple[int, int]] = []
    for place, moment in enumerate(moments):
        before = edges[place - 1] if place else edges[place] - 2
        # A column reaches back to the moment before, but not over a time without the face.
        before = max(before, edges[place] - area.w / 12)
        left, right = round(before), max(round(edges[place]), round(before) + 1)
        peak = round(area.h * min(moment.attention / (2 * usual), 1.0))
        colour = colour_of(moment.label)
        cv2.rectangle(canvas, (left, base - max(peak, 1)), (right - 1, base), colour, cv2.FILLED)
        speed = min(moment.motion / _FULL_MOTION, 1.0)
        line.append((round(edges[place]), base - round(speed * area.h)))
    if len(line) > 1:
        points = np.array(line, np.int32)
        cv2.polylines(canvas, [points], False, _PANEL, max(1, text_px // 8) + 1, cv2.LINE_AA)
        cv2.polylines(canvas, [points], False, _WHITE, max(1, text_px // 8), cv2.LINE_AA)


def _bar(canvas: Image, rect: _Rect, share: float, colour: Colour) -> None:
    """A track and, from its left, the part that is filled."""
    _shade(canvas, rect, (90, 96, 106), 0.8)
    filled = round(rect.w * min(max(share, 0.0), 1.0))
    if filled:
        _shade(canvas, _Rect(rect.x, rect.y, filled, rect.h), colour, 1.0)


def _shade(canvas: Image, rect: _Rect, colour: Colour, opacity: float) -> None:
    """Lay a colour over a rectangle, clipped to the frame."""
    part = canvas[
        max(rect.y, 0) : max(rect.y + rect.h, 0), max(rect.x, 0) : max(rect.x + rect.w, 0)
    ]
    if part.size == 0:
        return
    if opacity >= 1:
        part[:] = colour
    else:
        flat = np.empty_like(part)
        flat[:] = colour
        part[:] = cv2.addWeighted(flat, opacity, part, 1 - opacity, 0)


def _text_width(words: str, text_px: int) -> int:
    (width_px, _), _ = cv2.getTextSize(words, _FONT, text_px / _CAPITAL_PX, _weight(text_px))
    return int(width_px)


def _write(canvas: Image, words: str, at: tuple[int, int], text_px: int, colour: Colour) -> None:
    """Text whose capitals are `text_px` high, its baseline's left end at `at`."""
    cv2.putText(
        canvas, words, at, _FONT, text_px / _CAPITAL_PX, colour, _weight(text_px), cv2.LINE_AA
    )


def _weight(text_px: int) -> int:
    return max(1, round(text_px / 14))
