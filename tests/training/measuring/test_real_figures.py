"""Figures of whole clips, on courses made by hand and on a clip made of one real face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from ferstream.engines.bundle import load_bundle
from ferstream.training.datasets.judged import Judgements
from ferstream.training.measuring.real_figures import (
    Predictions,
    Stretch,
    agreement,
    expression_of,
    held,
    held_figures,
    real_section,
    turn_figures,
    turns,
)
from tests.training.judged_layout import write_judged_clips

NEUTRAL, HAPPY, SAD = 0, 1, 3


def said(basic: list[int], leading: list[int] | None = None) -> Predictions:
    """Sure of these expressions; ten words, the first of which leads."""
    first = np.array(leading or [0] * len(basic))
    return Predictions(np.eye(8)[basic], first[:, None] + np.arange(10), np.zeros(len(basic)))


def judged(basic: list[int], words: list[list[int]] | None = None, strong: float = 1) -> Judgements:
    rows = words or [[0] for _ in basic]
    padded = [[*row, *[-1] * (5 - len(row))] for row in rows]
    count = len(basic)
    return Judgements(
        np.array(basic),
        np.full(count, strong, np.float32),
        np.linspace(-1, 1, count, dtype=np.float32),
        np.zeros(count, np.float32),
        np.array(padded),
    )


def stretch(
    window: Predictions, at: list[int], frame: Predictions | None = None, rate_hz: float = 10
) -> Stretch:
    times_s = np.arange(len(window.basic8)) / rate_hz
    return Stretch("a.mp4", times_s, window, frame or window, np.array(at), np.arange(len(at)))


def test_agreement_by_hand() -> None:
    """Three of four readable pictures; of the two that show something one has its word third."""
    faces = judged([NEUTRAL, HAPPY, SAD, NEUTRAL, -1], [[], [7, 5], [50], [], []])
    found = agreement(said([NEUTRAL, HAPPY, HAPPY, NEUTRAL, SAD], [0, 5, 5, 0, 0]), faces)
    assert (found["n"], found["basic_top1"]) == (4, 0.75)
    assert found["basic_macro_recall"] == pytest.approx((1 + 1 + 0) / 3)
    assert found["words"]["n"] == 2
    assert (found["words"]["top1"], found["words"]["top1_among"]) == (0, 0.5)
    assert found["words"]["first_in_top5"] == 0.5
    assert "valence_r" not in found and "intensity_r" in found


def test_affect_is_followed_over_all_pictures() -> None:
    faces = judged([NEUTRAL, HAPPY, HAPPY])
    one = said([NEUTRAL, HAPPY, HAPPY])
    with_affect = Predictions(one.basic8, one.ranked, one.intensity, faces.affect * 0.5)
    found = agreement(with_affect, faces)
    assert found["valence_r"] == pytest.approx(1) and found["arousal_r"] == 0


def test_an_onset_that_is_said_late() -> None:
    """Judged between 0.2 and 0.6 s, said from 0.7 s on: 0.3 s after the middle."""
    course = stretch(said([NEUTRAL] * 7 + [HAPPY] * 5, [9] * 6 + [20] * 6), [2, 6, 11])
    faces = judged([NEUTRAL, HAPPY, HAPPY], [[], [20, 21], [20]])
    (turn,) = turns(course, faces, faces)
    assert turn["kind"] == "onset" and turn["judged_s"] == [0.2, 0.6]
    assert turn["said_s"] == pytest.approx(0.7) and turn["delay_s"] == pytest.approx(0.3)
    assert turn["changed"] and turn["among"]
    figures = turn_figures([turn])
    assert (figures["n"], figures["seen"], figures["word_changed"], figures["word_among"]) == (
        1,
        1,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("basic", "said_s"),
    [
        ([NEUTRAL] * 12, None),
        ([HAPPY] * 12, None),
        ([NEUTRAL] * 4 + [HAPPY] * 8, 0.4),
        ([NEUTRAL] * 3 + [HAPPY] + [NEUTRAL] * 2 + [SAD] * 6, 0.6),
        ([NEUTRAL] * 4 + [HAPPY] * 6 + [NEUTRAL] * 2, None),
    ],
)
def test_when_an_onset_is_said(basic: list[int], said_s: float | None) -> None:
    """The last time that neutral ended, if it has by half a second after the second picture."""
    faces = judged([NEUTRAL, HAPPY])
    (turn,) = turns(stretch(said(basic), [2, 6]), faces, faces)
    assert turn["said_s"] == (None if said_s is None else pytest.approx(said_s))
    assert (turn["delay_s"] is None) == (said_s is None)


def test_an_offset_has_no_word_to_be_among() -> None:
    faces = judged([HAPPY, NEUTRAL])
    (turn,) = turns(stretch(said([HAPPY] * 5 + [NEUTRAL] * 5), [2, 6]), faces, faces)
    assert turn["kind"] == "offset" and turn["said_s"] == pytest.approx(0.5)
    assert "among" not in turn and "word_among" not in turn_figures([turn])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([NEUTRAL, HAPPY], [HAPPY, HAPPY]),
        ([NEUTRAL, HAPPY], [NEUTRAL, NEUTRAL]),
        ([-1, HAPPY],) * 2,
    ],
)
def test_no_turn_where_the_judges_do_not_see_one(first: list[int], second: list[int]) -> None:
    course = stretch(said([NEUTRAL] * 5 + [HAPPY] * 5), [2, 6])
    assert not list(turns(course, judged(first), judged(second)))


def test_changes_while_a_smile_is_held() -> None:
    """From 0.2 to 1 s the window's word changes twice and the frame's with each frame."""
    window = said([HAPPY] * 12, [5, 6, 0, 0, 0, 1, 1, 1, 0, 0, 0, 7])
    frame = said([HAPPY] * 12, list(range(12)))
    course = stretch(window, [2, 6, 10, 11], frame)
    (found,) = held(course, judged([HAPPY, HAPPY, HAPPY, NEUTRAL]))
    assert found["seconds"] == pytest.approx(0.8)
    assert (found["changes"], found["frame_changes"]) == (2, 8)
    figures = held_figures([found, found])
    assert figures["changes_per_s"] == pytest.approx(4 / 1.6) and figures["n"] == 2
    assert held_figures([]) == {"n": 0}


def test_what_is_not_held() -> None:
    course = stretch(said([HAPPY] * 12), [2, 6, 10])
    assert not list(held(course, judged([HAPPY] * 3, strong=1 / 3))), "slight"
    assert not list(held(course, judged([HAPPY, SAD, HAPPY]))), "others"
    assert not list(held(course, judged([NEUTRAL] * 3)))
    assert not list(held(stretch(said([HAPPY] * 12), [2, 6]), judged([HAPPY] * 2))), "two pictures"


@pytest.mark.parametrize(
    ("basic", "wanted"),
    [
        ([NEUTRAL, NEUTRAL, HAPPY], HAPPY),
        ([NEUTRAL] * 3 + [HAPPY], NEUTRAL),
        ([NEUTRAL, SAD, SAD, HAPPY], SAD),
        ([-1, NEUTRAL], NEUTRAL),
        ([-1], NEUTRAL),
    ],
)
def test_expression_of_a_clip(basic: list[int], wanted: int) -> None:
    assert expression_of(judged(basic)) == wanted


def write_clip(path: Path, frames: int = 12) -> None:
    """A second of one face, still."""
    import av

    face = astronaut()[:400]  # type: ignore[no-untyped-call]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 512, 400, "yuv420p"
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(face))
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def test_a_clip_as_it_runs(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4")
    path = write_judged_clips(tmp_path, ["a.mp4"] * 4, [0.0, 0.25, 0.5, 0.75])
    columns = dict(np.load(path))
    columns["box"][3] = (5, 5, 40, 40)
    np.savez(path, **columns)
    found = real_section(load_bundle(), tmp_path, backend="onnxruntime", precision="fp32")
    assert (found["n"], found["found"]) == (4, 3), "nobody is where the last one was judged"
    assert found["window"]["n"] == found["frame"]["n"] == found["judges"]["n"] == 3
    (headline,) = found["headlines"]["each"]
    assert headline["clip"] == "a.mp4" and headline["right"] == (
        headline["basic"] == headline["judge"]
    )
    assert found["headlines"]["right"] == int(headline["right"])


def test_real_clips_are_found(clips_dir: Path) -> None:
    """With the shipped bundle: every judged face is found, and the smile's beginning is seen."""
    found = real_section(load_bundle(), clips_dir)
    assert found["n"] == 91 and found["found"] >= 89
    assert found["window"]["intensity_r"] > 0.7
    assert found["onsets"]["n"] == 4 and found["held"]["seconds"] > 8
