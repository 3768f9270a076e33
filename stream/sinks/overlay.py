"""Drawing what was found onto a frame: pixels in, pixels out.

Per face a box with its id and label and, where there is room, a panel: the label, the best words
with bars, and a plane of valence (to the right: pleasant) and arousal (upwards: agitated) with its
trace over the last seconds. The panel of a neutral face shows the probability of neutral and one
faint word. Along the lower edge stands a strip of the last seconds: a filled curve is the attention
each moment got, in the colour of its label, a white line the face's motion. Everything scales with
the frame; what would be too small to read is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..emotions import GREY, NEUTRAL, Colour, colour_of, faint
from ..result import FaceResult, Result
from .timeline import Moment, Timeline

__all__ = ["Timeline", "draw"]

Image = NDArray[np.uint8]

_WHITE: Colour = (245, 247, 250)
_PANEL: Colour = (18, 20, 26)
_FONT = cv2.FONT_HERSHEY_DUPLEX
# Height of a capital in the font at scale 1.
_CAPITAL_PX = 22.0
_SMALLEST_TEXT_PX = 6
# Panels of more faces would cover each other.
_MOST_PANELS = 4
# Room for the longest word and its number in the smallest text.
_LEAST_PANEL_PX = 114
# The trace in the plane of valence and arousal: about the last two seconds.
_TRACE_MOMENTS = 60
# Motion that fills the strip, face widths per second.
_FULL_MOTION = 0.6


class _Rect(NamedTuple):
    x: int
    y: int
    w: int
    h: int


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
            recent = timeline.moments(found.face.id) if timeline is not None else []
            trace = [moment.affect for moment in recent[-_TRACE_MOMENTS:] if moment.affect]
            for words, plane in _layouts(found, top):
                size = _panel_size(text_px, words, plane)
                panel = _place(free, _rect_of(found), size, text_px, taken)
                if panel is not None:
                    taken.append(panel)
                    _draw_panel(canvas, found, panel, text_px, words)
                    if plane:
                        _draw_plane(canvas, found, panel, text_px, trace)
                    break
    return canvas


def _rect_of(found: FaceResult) -> _Rect:
    x, y, w, h = (round(float(value)) for value in found.face.box)
    return _Rect(x, y, max(w, 1), max(h, 1))


def _title(found: FaceResult) -> str:
    """The text on a face: its label, or `uncertain`."""
    return "uncertain" if found.emotions.uncertain else found.emotions.label


def _colour(found: FaceResult) -> Colour:
    return colour_of(_title(found), found.emotions.labels)


def _draw_box(canvas: Image, found: FaceResult, text_px: int) -> None:
    """Corners of the face's box in the colour of its label."""
    x, y, w, h = _rect_of(found)
    colour = _colour(found)
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
        words = _title(found)
    else:
        words = f"{found.face.id}  {_title(found)}"
    pad_px = max(1, text_px // 2)
    width_px = _text_width(words, text_px) + 2 * pad_px
    height_px = text_px + 2 * pad_px
    if width_px > canvas.shape[1] or height_px > canvas.shape[0] // 2:
        return
    x, y, _, _ = _rect_of(found)
    x = min(max(x, 0), canvas.shape[1] - width_px)
    y = min(max(y - height_px - pad_px, 0), canvas.shape[0] - height_px)
    colour = _colour(found)
    _shade(canvas, _Rect(x, y, width_px, height_px), colour, 0.88)
    _write(canvas, words, (x + pad_px, y + pad_px + text_px), text_px, _PANEL)


def _layouts(found: FaceResult, top: int) -> list[tuple[int, bool]]:
    """What a panel may hold, the fullest first: how many words, and whether the plane."""
    has_affect = found.emotions.affect is not None
    # A neutral face has two lines: that what follows is faint, and the word.
    words = [2] if found.emotions.label == NEUTRAL else [top, min(top, 5), min(top, 3), 1]
    planes = (True, False) if has_affect else (False,)
    return [(count, plane) for count in dict.fromkeys(words) for plane in planes]


def _panel_size(text_px: int, words: int, plane: bool) -> tuple[int, int]:
    """Width and height of a panel with so many words, with or without the plane."""
    height_px = round(5.7 * text_px) + words * round(2.1 * text_px)
    return max(round(16.5 * text_px), _LEAST_PANEL_PX), height_px + (
        _plane_px(text_px) if plane else 0
    )


def _plane_px(text_px: int) -> int:
    """Height of the plane with what is written beside it."""
    return round(7.4 * text_px)


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
    """The label with how strong the expression is, or how surely there is none; words with bars."""
    emotions = found.emotions
    neutral = emotions.label == NEUTRAL
    _shade(canvas, panel, _PANEL, 0.72)
    left, right = panel.x + text_px, panel.x + panel.w - text_px
    small_px = max(_SMALLEST_TEXT_PX, round(0.82 * text_px))
    y = panel.y + 2 * text_px
    _write(canvas, _title(found), (left, y), text_px, _colour(found))
    much = emotions.neutral if neutral else emotions.intensity
    y += round(1.7 * text_px)
    edges = (left, right)
    name = NEUTRAL if neutral else "strength"
    _write_row(canvas, (name, GREY), (_percent(much), _WHITE), edges, y, small_px)
    y += round(0.5 * text_px)
    bar = _Rect(left, y, right - left, max(2, text_px // 4))
    _bar(canvas, bar, much, GREY if neutral else _WHITE)
    y += round(0.1 * text_px)
    if neutral:
        word, p = faint(emotions.ranked, emotions.neutral)
        y += round(2.1 * text_px)
        _write(canvas, "faintly", (left, y), small_px, GREY)
        y += round(1.7 * text_px)
        _write_row(canvas, (word, _WHITE), (_percent(p), GREY), edges, y, small_px)
        return
    words = emotions.top(top)
    # Bars show the words against each other: those of version 0.1 share the probability.
    longest = max((probability for _, probability in words), default=1.0) or 1.0
    for word, probability in words:
        y += round(2.1 * text_px)
        _write_row(canvas, (word, _WHITE), (_percent(probability), GREY), edges, y, small_px)
        bar = _Rect(left, y + round(0.45 * text_px), right - left, max(2, text_px // 4))
        _bar(canvas, bar, probability / longest, colour_of(word, emotions.labels))


def _draw_plane(
    canvas: Image,
    found: FaceResult,
    panel: _Rect,
    text_px: int,
    trace: Sequence[tuple[float, float]],
) -> None:
    """Valence and arousal at the panel's lower edge: the trace of the last seconds, and now."""
    affect = found.emotions.affect
    assert affect is not None
    side = round(6.2 * text_px)
    left, top = panel.x + text_px, panel.y + panel.h - side - round(0.8 * text_px)
    square = _Rect(left, top, side, side)
    _shade(canvas, square, (90, 96, 106), 0.45)
    middle = (left + side // 2, top + side // 2)
    for start, end in (
        ((left, middle[1]), (left + side, middle[1])),
        ((middle[0], top), (middle[0], top + side)),
    ):
        cv2.line(canvas, start, end, (130, 136, 146), 1, cv2.LINE_AA)

    def at(point: tuple[float, float]) -> tuple[int, int]:
        x, y = (min(max(value, -1.0), 1.0) for value in point)
        return round(left + (x + 1) / 2 * side), round(top + (1 - y) / 2 * side)

    colour = colour_of(found.emotions.label, found.emotions.labels)
    points = [at(point) for point in (*trace, affect)]
    for place in range(1, len(points)):
        # The older, the fainter.
        share = place / len(points)
        faded = (round(60 + (channel - 60) * share) for channel in colour)
        thick_px = max(1, round(text_px / 7))
        cv2.line(canvas, points[place - 1], points[place], tuple(faded), thick_px, cv2.LINE_AA)
    radius_px = max(2, round(0.42 * text_px))
    cv2.circle(canvas, points[-1], radius_px + 1, _PANEL, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(canvas, points[-1], radius_px, colour, cv2.FILLED, cv2.LINE_AA)
    small_px = max(_SMALLEST_TEXT_PX, round(0.72 * text_px))
    beside = left + side + round(0.8 * text_px)
    right = panel.x + panel.w - text_px
    for line, (name, value) in enumerate((("valence", affect[0]), ("arousal", affect[1]))):
        y = top + round((1.2 + 2.9 * line) * text_px)
        _write(canvas, name, (beside, y), small_px, GREY)
        number = f"{value:+.2f}"
        y += round(1.4 * text_px)
        _write(canvas, number, (right - _text_width(number, small_px), y), small_px, _WHITE)


def _write_row(
    canvas: Image,
    name: tuple[str, Colour],
    number: tuple[str, Colour],
    edges: tuple[int, int],
    y: int,
    text_px: int,
) -> None:
    """A name at the left edge and a number at the right one; a name that is too long is cut."""
    left, right = edges
    at = right - _text_width(number[0], text_px)
    words = name[0]
    while words and left + _text_width(words, text_px) + text_px // 2 > at:
        words = words[:-2].rstrip() + "." if len(words) > 2 else ""
    _write(canvas, words, (left, y), text_px, name[1])
    _write(canvas, number[0], (at, y), text_px, number[1])


def _percent(p: float) -> str:
    return f"{100 * p:.0f}%" if p >= 0.0995 else f"{100 * p:.1f}%"


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
    start_s = timeline.now_s - timeline.duration_s
    edges = [area.x + (m.time_s - start_s) / timeline.duration_s * area.w for m in moments]
    base = area.y + area.h
    line: list[tuple[int, int]] = []
    for place, moment in enumerate(moments):
        before = edges[place - 1] if place else edges[place] - 2
        # A column reaches back to the moment before, but not over a time without the face.
        before = max(before, edges[place] - area.w / 12)
        left, right = round(before), max(round(edges[place]), round(before) + 1)
        peak = round(area.h * min(moment.attention / 2, 1.0))  # half the height is an even share
        colour = moment.colour
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
