"""Episodes: the words' changes, smoothed, with the right times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.episodes import Episode, Episodes

from .fakes import face

JOY, SADNESS = face(label="happiness"), face(label="sadness")
JOYFUL, SAD = JOY.emotions.label, SADNESS.emotions.label


def doubtful(found: FaceResult) -> FaceResult:
    return replace(found, emotions=replace(found.emotions, uncertain=True))


def played(
    labels: Sequence[str | None], rate_hz: float = 25.0, **options: Any
) -> tuple[list[Episode], Episodes]:
    """Episodes of face 1 that shows these labels, one a frame; None where it is not seen."""
    episodes = Episodes(**options)
    ended: list[Episode] = []
    for index, label in enumerate(labels):
        faces = [] if label is None else [face(1, label=label)]
        ended += episodes.add(Result(index, index / rate_hz, "clip", faces))
    return ended, episodes


def times(episodes: Iterable[Episode]) -> list[tuple[str, float, float]]:
    return [(found.label, round(found.start_s, 2), round(found.end_s, 2)) for found in episodes]


def test_a_change_is_dated_back_to_when_the_other_began_to_lead() -> None:
    labels = ["happiness"] * 75 + ["sadness"] * 75
    ended, episodes = played(labels, smooth_s=0)
    assert times(ended) == [(JOYFUL, 0.0, 3.0)]
    assert times(episodes.current) == [(SAD, 3.0, 5.96)]
    last = episodes.finish()
    assert times(last) == [(SAD, 3.0, 5.96)]
    assert [found.gone for found in (*ended, *last)] == [False, True]
    assert episodes.current == []


def test_smoothing_does_not_move_a_change() -> None:
    ended, _ = played(["happiness"] * 75 + ["sadness"] * 75)
    assert times(ended) == [(JOYFUL, 0.0, 3.0)], "dated back to the first frame that shows it"


@pytest.mark.parametrize("smooth_s", [0.0, 0.4])
def test_a_flicker_changes_nothing(smooth_s: float) -> None:
    labels = (["happiness"] * 20 + ["sadness"] * 5) * 6
    ended, episodes = played(labels, smooth_s=smooth_s)
    assert ended == []
    assert times(episodes.finish()) == [(JOYFUL, 0.0, 5.96)]


def test_three_labels_in_turns_do_not_hide_that_the_first_is_over() -> None:
    labels = ["neutral"] * 50 + (["happiness"] * 8 + ["sadness"] * 4) * 10
    ended, episodes = played(labels, smooth_s=0)
    assert times(ended)[0] == ("neutral", 0.0, 2.0)
    assert episodes.current[0].label == JOYFUL


@pytest.mark.parametrize("rate_hz", [4.0, 15.0, 60.0])
@pytest.mark.parametrize("min_s", [0.5, 1.0, 2.0])
def test_episodes_join_and_none_is_shorter_than_asked(rate_hz: float, min_s: float) -> None:
    """Labels that change at uneven times, as seen at different frame rates."""
    names = ["happiness", "sadness", "neutral", "anger", "surprise"]
    labels = [
        names[math.floor(3 * math.sin(0.9 * index / rate_hz) ** 2 + 0.2 * index / rate_hz) % 5]
        for index in range(int(40 * rate_hz))
    ]
    ended, episodes = played(labels, rate_hz, min_s=min_s)
    found = [*ended, *episodes.finish()]
    assert len(found) >= 3
    assert found[0].start_s == 0 and found[-1].end_s == (len(labels) - 1) / rate_hz
    for before, after in pairwise(found):
        assert before.end_s == after.start_s
        assert (before.expression, before.uncertain) != (after.expression, after.uncertain)
        assert before.duration_s >= min_s - 1e-9


@pytest.mark.parametrize("rate_hz", [10.0, 25.0, 60.0])
def test_a_broad_smile_of_less_than_a_second_is_told(rate_hz: float) -> None:
    still, smile = ["neutral"] * round(2 * rate_hz), ["happiness"] * round(0.9 * rate_hz)
    ended, episodes = played([*still, *smile, *still], rate_hz)
    first, second, third = times([*ended, *episodes.finish()])
    assert first == ("neutral", 0.0, 2.0)
    assert second[:2] == (JOYFUL, 2.0) and second[2] == pytest.approx(2.9, abs=0.03)
    assert third[:2] == ("neutral", second[2])


def test_words_that_take_turns_are_one_episode_named_by_the_best() -> None:
    first, second, *others = JOY.emotions.ranked
    swapped = ((second[0], first[1]), (first[0], second[1]), *others)
    other = replace(JOY, emotions=replace(JOY.emotions, ranked=swapped, label=second[0]))
    episodes = Episodes()
    for index in range(200):
        shown = other if index % 5 else JOY
        assert episodes.add(Result(index, index / 25, "clip", [shown])) == []
    (found,) = episodes.finish()
    assert (found.expression, found.label, found.family) == ("happiness", second[0], "joy")
    assert found.probability == pytest.approx(0.8 * first[1] + 0.2 * second[1])


def test_frames_count_by_attention_and_intensity() -> None:
    strong, weak = face(1, attention=0.8), face(1, attention=0.1, strength=0.6)
    episodes = Episodes()
    for index in range(50):
        episodes.add(Result(index, index / 25, "clip", [weak if index % 2 else strong]))
    (found,) = episodes.finish()
    weights = 0.8 * strong.emotions.intensity, 0.1 * weak.emotions.intensity
    numbers = strong.emotions.intensity, weak.emotions.intensity
    expected = sum(w * n for w, n in zip(weights, numbers, strict=True)) / sum(weights)
    assert found.intensity == pytest.approx(expected)
    assert found.valence is None and found.arousal is None


def test_what_comes_first_and_does_not_last_is_the_way_to_what_follows() -> None:
    ended, episodes = played(["neutral"] * 3 + ["happiness"] * 60, smooth_s=0)
    assert ended == []
    assert times(episodes.finish()) == [(JOYFUL, 0.0, 2.48)]


def test_a_short_loss_is_bridged_and_a_long_one_ends_the_episode_where_it_was_seen() -> None:
    ended, episodes = played(["happiness"] * 25 + [None] * 25 + ["happiness"] * 25)
    assert ended == [] and times(episodes.current) == [(JOYFUL, 0.0, 2.96)]
    ended, episodes = played(["happiness"] * 25 + [None] * 39)
    assert times(ended) == [(JOYFUL, 0.0, 0.96)]
    assert ended[0].gone
    assert episodes.current == []


def test_a_pause_of_the_frames_is_no_evidence() -> None:
    """A face comes back looking otherwise: one frame of it changes nothing yet."""
    episodes = Episodes(smooth_s=0)
    for index in range(50):
        episodes.add(Result(index, index / 25, "clip", [face(1, label="happiness")]))
    for time_s in (3.4, 3.44):
        assert episodes.add(Result(0, time_s, "clip", [face(1, label="sadness")])) == []
    assert episodes.current[0].label == JOYFUL


def test_a_pause_does_not_lend_its_length_to_what_has_just_begun_to_lead() -> None:
    episodes = Episodes(smooth_s=0)
    for index in range(50):
        shown = face(1, label="happiness" if index < 48 else "sadness")
        episodes.add(Result(index, index / 25, "clip", [shown]))
    assert episodes.add(Result(50, 3.4, "clip", [face(1, label="sadness")])) == []
    assert episodes.current[0].label == JOYFUL


@pytest.mark.parametrize("step_s", [0.5, 1.0, 1.11, 2.0])
def test_a_picture_that_stands_for_long_is_an_episode(step_s: float) -> None:
    """At a slow rate each picture is shown until the next one."""
    episodes, ended = Episodes(), []
    for index in range(6):
        shown = face(1, label="happiness" if index % 2 else "neutral")
        ended += episodes.add(Result(index, index * step_s, "clip", [shown]))
    ended += episodes.finish()
    assert [e.expression for e in ended] == ["neutral", "happiness"] * 3
    assert [e.start_s for e in ended] == pytest.approx([index * step_s for index in range(6)])


def test_a_change_is_not_dated_back_to_an_earlier_flicker() -> None:
    labels = ["happiness"] * 25 + ["sadness"] * 5 + ["happiness"] * 45 + ["sadness"] * 50
    ended, _ = played(labels, smooth_s=0)
    assert times(ended) == [(JOYFUL, 0.0, 3.0)]


def test_a_face_back_after_a_gap_of_the_frames_is_two_episodes() -> None:
    episodes = Episodes()
    episodes.add(Result(0, 0.0, "clip", [face(1)]))
    ended = episodes.add(Result(1, 9.0, "clip", [face(1)]))
    assert times(ended) == [(JOYFUL, 0.0, 0.0)]
    assert times(episodes.current) == [(JOYFUL, 9.0, 9.0)]


def test_faces_are_kept_apart_and_ended_in_order() -> None:
    episodes = Episodes()
    for index in range(50):
        two = [face(1, label="happiness"), face(2, label="anger")]
        one = [face(2, label="anger")]
        episodes.add(Result(index, index / 25, "clip", two if index >= 10 else one))
    found = episodes.finish()
    assert [episode.face_id for episode in found] == [2, 1]
    assert [episode.start_s for episode in found] == [0.0, 0.4]
    assert [episode.family for episode in found] == ["anger", "joy"]


def test_doubt_is_a_change_too() -> None:
    episodes = Episodes()
    ended: list[Episode] = []
    for index in range(100):
        shown = face(1) if index < 50 else doubtful(face(1))
        ended += episodes.add(Result(index, index / 25, "clip", [shown]))
    assert [(found.label, found.uncertain) for found in ended] == [(JOYFUL, False)]
    assert [(found.label, found.uncertain) for found in episodes.current] == [(JOYFUL, True)]


def test_long_episodes_are_cut_where_asked() -> None:
    ended, episodes = played(["happiness"] * 300, longest_s=4.0)
    assert times([*ended, *episodes.finish()]) == [
        (JOYFUL, 0.0, 4.0),
        (JOYFUL, 4.0, 8.0),
        (JOYFUL, 8.0, 11.96),
    ]


def test_numbers_are_the_means() -> None:
    _, episodes = played(["neutral"] * 50)
    (found,) = episodes.finish()
    assert found.probability == pytest.approx(0.8)
    assert found.family == ""
    assert found.intensity == pytest.approx(0.2)
    _, episodes = played(["happiness"] * 50)
    (found,) = episodes.finish()
    assert found.probability == pytest.approx(0.3)
    assert found.family == "joy"
    assert len(found.top) == 10 and found.top[0][0] == JOYFUL
    assert found.top[0][1] == pytest.approx(0.3)
    assert [p for _, p in found.top] == sorted((p for _, p in found.top), reverse=True)


def test_time_running_backwards_begins_anew() -> None:
    episodes = Episodes()
    episodes.add(Result(0, 5.0, "clip", [face(1)]))
    assert times(episodes.add(Result(1, 1.0, "clip", [face(1)]))) == [(JOYFUL, 5.0, 5.0)]
    assert times(episodes.current) == [(JOYFUL, 1.0, 1.0)]


@pytest.mark.parametrize("options", [{"min_s": -1.0}, {"smooth_s": -0.1}, {"longest_s": 0.5}])
def test_times_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give positive times"):
        Episodes(**options)
