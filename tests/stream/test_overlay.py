"""Drawing: pure, of every size, and where it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import colour_of
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks import overlay
from ferstream.stream.sinks.overlay import draw
from ferstream.stream.sinks.timeline import Timeline

from .fakes import Box, face


def grey(width_px: int, height_px: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height_px, width_px, 3), 120, np.uint8)


def result(count: int = 1, box: Box = (200.0, 100.0, 100.0, 120.0), time_s: float = 0.0) -> Result:
    return Result(0, time_s, "clip", [face(k + 1, box) for k in range(count)])


@pytest.mark.parametrize(
    "size",
    [
        (1, 1),
        (2, 3),
        (7, 500),
        (500, 7),
        (64, 64),
        (160, 120),
        (480, 270),
        (360, 640),
        (1920, 1080),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 4, 20])
def test_any_size_and_number_of_faces(size: tuple[int, int], count: int) -> None:
    pixels = grey(*size)
    timeline = Timeline()
    found = result(count)
    timeline.add(found)
    drawn = draw(pixels, found, timeline)
    assert drawn.shape == pixels.shape and drawn.dtype == np.uint8
    assert (pixels == 120).all(), "the frame itself is not drawn on"


@pytest.mark.slow
def test_eight_k() -> None:
    drawn = draw(grey(7680, 4320), result(1, (3000.0, 1000.0, 900.0, 900.0)))
    assert (drawn != 120).any(axis=2).sum() > 300_000


def test_nothing_found_changes_nothing() -> None:
    np.testing.assert_array_equal(draw(grey(640, 480), result(0)), grey(640, 480))


def test_drawing_is_around_the_face_and_not_on_it() -> None:
    drawn = draw(grey(640, 480), result(1, (200.0, 150.0, 100.0, 120.0)))
    changed = (drawn != 120).any(axis=2)
    assert not changed[165:255, 215:285].any()
    assert changed[148:152, 200:215].any()
    assert changed[150:300, 310:480].mean() > 0.5, "the panel stands at the right"


def test_the_panel_goes_where_there_is_room() -> None:
    drawn = draw(grey(640, 480), result(1, (520.0, 150.0, 100.0, 120.0)))
    changed = (drawn != 120).any(axis=2)
    assert changed[150:300, 350:505].mean() > 0.5, "the panel stands at the left"


@pytest.mark.parametrize("box", [(-500.0, -500.0, 100.0, 100.0), (-30.0, 400.0, 900.0, 900.0)])
def test_boxes_beyond_the_frame(box: Box) -> None:
    assert draw(grey(320, 240), result(1, box)).shape == (240, 320, 3)


def test_every_label_has_the_colour_of_its_family() -> None:
    words = load_taxonomy("emo135")
    by_family: dict[int, set[tuple[int, int, int]]] = {}
    for word, family in zip(words.labels, words.family_of, strict=True):
        by_family.setdefault(family, set()).add(colour_of(word))
    own = {colour_of("disgust"), colour_of("contempt")}
    assert [len(colours - own) for colours in by_family.values()] == [1] * 6
    assert colour_of("neutral") == colour_of("what is this")
    assert len({colour_of(label) for label in load_taxonomy("basic8").labels}) == 8


def test_the_strip_shows_the_last_seconds_under_the_picture() -> None:
    timeline = Timeline(duration_s=2.0)
    for index in range(61):
        timeline.add(result(1, time_s=index / 30))
    drawn = draw(grey(640, 480), result(1, time_s=2.0), timeline)
    joy = np.abs(drawn.astype(int) - colour_of("joy")).sum(axis=2) < 30
    assert joy[440:, 40:].any(axis=0).mean() > 0.9


def test_the_timeline_forgets() -> None:
    timeline = Timeline(duration_s=1.0)
    for index in range(2_000):
        timeline.add(result(1, time_s=index / 1000))
    assert len(timeline.moments(1)) <= 512
    timeline.add(result(0, time_s=12.0))
    assert timeline.faces() == []


def test_a_new_clip_begins_a_new_timeline() -> None:
    timeline = Timeline()
    timeline.add(result(1, time_s=50.0))
    timeline.add(result(1, time_s=0.0))
    assert [moment.time_s for moment in timeline.moments(1)] == [0.0]


def test_motion_is_of_the_features_not_of_the_head() -> None:
    timeline = Timeline()
    timeline.add(result(1, (200.0, 100.0, 100.0, 120.0), 0.0))
    timeline.add(result(1, (230.0, 140.0, 100.0, 120.0), 0.1))
    moved = result(1, (230.0, 140.0, 100.0, 120.0), 0.2)
    moved.faces[0].face.landmarks_xy[:234, 1] += 10
    timeline.add(moved)
    still, head, features = (moment.motion for moment in timeline.moments(1))
    assert still == 0
    assert head == pytest.approx(0, abs=1e-4)
    assert features == pytest.approx(5 / 100 / 0.1, rel=0.02)


def panel_words(found: FaceResult, monkeypatch: pytest.MonkeyPatch, moments: int = 1) -> list[str]:
    """What is written onto a frame with this face."""
    written: list[str] = []
    real = overlay._write

    def write(canvas: Any, words: str, *where: Any) -> None:
        written.append(words)
        real(canvas, words, *where)

    monkeypatch.setattr(overlay, "_write", write)
    timeline = Timeline()
    for n in range(moments):
        one = Result(n, n / 10, "clip", [found])
        timeline.add(one)
    draw(grey(960, 540), one, timeline)
    return written


def test_a_neutral_face_is_labelled_with_how_surely_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = face(1, (200.0, 100.0, 100.0, 120.0), label="neutral", strength=0.997)
    written = panel_words(found, monkeypatch)
    assert written[written.index("100%") - 1] == "neutral" and "0%" not in written
    words = dict(found.emotions.ranked)
    assert [one in words for one in written].count(True) == 1, "a hint, no list of words"
    assert written[written.index("faintly") + 1] in words
    doubtful = replace(found, emotions=replace(found.emotions, uncertain=True))
    written = panel_words(doubtful, monkeypatch)
    assert "1  uncertain" in written and "uncertain" in written
    assert written[written.index("100%") - 1] == "neutral"


@pytest.mark.parametrize("text_px", [6, 7, 11, 22, 45])
def test_every_word_has_room_before_its_number(
    text_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int, int]] = []
    monkeypatch.setattr(
        overlay,
        "_write",
        lambda canvas, words, at, px, colour: written.append(
            (words, at[0], at[0] + overlay._text_width(words, px))
        ),
    )
    width_px, _ = overlay._panel_size(text_px, 1, plane=False)
    small_px = max(overlay._SMALLEST_TEXT_PX, round(0.82 * text_px))
    edges, grey_ = (text_px, width_px - text_px), (0, 0, 0)
    longer = "a word that no taxonomy has"
    for word in (*load_taxonomy("emo135").labels, longer):
        written.clear()
        overlay._write_row(grey(9, 9), (word, grey_), ("100%", grey_), edges, 0, small_px)
        (name, begins, ends), (number, at, last) = written
        assert begins >= edges[0] and ends < at and last <= edges[1], (word, number)
        assert (name == word) is (word != longer)


def test_valence_and_arousal_are_drawn_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = face(1, (200.0, 100.0, 100.0, 120.0))
    assert "valence" not in panel_words(plain, monkeypatch)
    told = replace(plain, emotions=replace(plain.emotions, valence=0.7, arousal=-0.2))
    written = panel_words(told, monkeypatch, 5)
    assert {"valence", "+0.70", "arousal", "-0.20"} <= set(written)
    assert written[written.index("strength") + 1] == "97%"
