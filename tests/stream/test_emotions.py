"""Emotions: probabilities, names and honest doubt."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.engines.calibrator import PredictionSets
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.manifest import Head, Manifest
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import AFFECT, HOLDS, EmotionReader, Emotions, faint, steady
from tests.engines import tiny

BASIC8, WORDS = load_taxonomy("basic8"), load_taxonomy("emo135")


def logits(labels: tuple[str, ...], **scores: float) -> NDArray[np.float32]:
    return np.array([[scores.get(label, 0.0) for label in labels]], np.float32)


def read(basic8: NDArray[np.float32], words: NDArray[np.float32] | None = None) -> Emotions:
    words = logits(WORDS.labels, joy=3.0, delight=2.0) if words is None else words
    (emotions,) = EmotionReader(tiny.manifest()).read({"basic8": basic8, "emo135": words})
    return emotions


def test_probabilities_use_the_heads_temperature() -> None:
    head = replace(tiny.manifest().head("basic8"), temperature=2.0)
    p_BK = head.probabilities(logits(BASIC8.labels, happiness=4.0))
    assert p_BK.shape == (1, 8)
    assert p_BK.sum() == pytest.approx(1)
    assert p_BK[0, 1] / p_BK[0, 0] == pytest.approx(np.exp(4.0 / 2.0), rel=1e-5)
    huge = head.probabilities(logits(BASIC8.labels, happiness=1e4))
    assert huge[0, 1] == 1, "no overflow"


def test_a_clear_expression_is_named_by_its_best_word() -> None:
    emotions = read(logits(BASIC8.labels, happiness=9.0))
    assert emotions.label == "joy"
    assert not emotions.uncertain
    assert [word for word, _ in emotions.top(2)] == ["joy", "delight"]
    assert len(emotions.top()) == 10
    assert len(emotions.ranked) == 135
    chances = [p for _, p in emotions.ranked]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-5)


def test_families_add_up_their_words() -> None:
    emotions = read(logits(BASIC8.labels, happiness=9.0))
    assert tuple(emotions.families) == WORDS.families
    assert sum(emotions.families.values()) + emotions.neutral == pytest.approx(1, abs=1e-5)
    chance, shown = dict(emotions.ranked), 1 - emotions.neutral
    for family, p in emotions.families.items():
        summed = sum(chance[word] for word in WORDS.members(family))
        assert p == pytest.approx(shown * summed, abs=1e-5)
    assert max(emotions.families, key=emotions.families.__getitem__) == "joy"


def test_a_neutral_face_is_neutral_whatever_the_words_say() -> None:
    emotions = read(logits(BASIC8.labels, neutral=9.0))
    assert emotions.label == "neutral"
    assert emotions.neutral == emotions.basic8["neutral"] > 0.95
    assert emotions.intensity < 0.05
    assert sum(emotions.families.values()) < 0.05, "no family dominates a neutral face"
    assert emotions.ranked[0][0] == "joy"


def test_intensity_is_what_is_not_neutral_and_how_strong_the_words_are() -> None:
    weak = read(logits(BASIC8.labels, anger=9.0), logits(WORDS.labels, annoyance=12.0))
    strong = read(logits(BASIC8.labels, anger=9.0), logits(WORDS.labels, rage=12.0))
    half = read(logits(BASIC8.labels, anger=9.0, neutral=9.0), logits(WORDS.labels, rage=12.0))
    assert 0 <= weak.intensity <= strong.intensity <= 1
    assert half.intensity == pytest.approx(strong.intensity / 2, abs=0.02)
    if WORDS.intensity:
        assert weak.intensity < strong.intensity - 0.1


@pytest.mark.parametrize(
    ("scores", "uncertain"),
    [
        ({}, True),
        ({"happiness": 0.5}, True),
        ({"happiness": 3.0, "surprise": 3.0, "fear": 3.0}, True),  # a third each
        ({"happiness": 6.0, "surprise": 5.5}, False),
        ({"happiness": 9.0}, False),
    ],
)
def test_uncertain_where_the_basic_expressions_are_spread(
    scores: dict[str, float], uncertain: bool
) -> None:
    assert read(logits(BASIC8.labels, **scores)).uncertain is uncertain


def test_json_is_plain_and_complete() -> None:
    emotions = read(logits(BASIC8.labels, happiness=9.0))
    document = json.loads(json.dumps(emotions.to_json(3)))
    assert list(document) == [
        "label", "neutral", "intensity", "uncertain", "basic8", "families", "top",
    ]  # fmt: skip
    assert [entry["word"] for entry in document["top"]][:2] == ["joy", "delight"]
    assert len(document["top"]) == 3
    assert document["top"][0]["p"] == pytest.approx(emotions.ranked[0][1], abs=1e-4)
    assert tuple(document["basic8"]) == BASIC8.labels
    assert emotions.supervision["emo135"] == "weakly supervised"


def test_rows_of_a_batch_are_read_one_by_one() -> None:
    reader = EmotionReader(tiny.manifest())
    basic8 = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    words = np.random.default_rng(1).normal(size=(5, 135)).astype(np.float32)
    together = reader.read({"basic8": basic8, "emo135": words})
    for row, emotions in enumerate(together):
        one = slice(row, row + 1)
        (alone,) = reader.read({"basic8": basic8[one], "emo135": words[one]})
        assert alone.label == emotions.label
        assert alone.basic8 == pytest.approx(emotions.basic8)
    assert reader.read({"basic8": basic8[:0], "emo135": words[:0]}) == []


def test_labels_are_the_bundles_own() -> None:
    """In its order; families and neutral as its manifest has them."""
    manifest = tiny.manifest()
    basic = Head("basic8", ("bored", "keen", "lost"), ("flat", "up", ""), "trained", 1.0)
    words = Head("emo135", ("keen", "bored"), ("up", "flat"), "trained", 1.0)
    reader = EmotionReader(replace(manifest, heads=(basic, words, manifest.head("au"))))
    basic8, emo135 = np.array([[0, 2, 0]], np.float32), np.array([[1, 0]], np.float32)
    (emotions,) = reader.read({"basic8": basic8, "emo135": emo135})
    assert (emotions.label, emotions.neutral) == ("keen", 0.0)
    assert list(emotions.basic8) == ["bored", "keen", "lost"]
    assert emotions.families == pytest.approx({"up": 0.731, "flat": 0.269}, abs=1e-3)
    assert reader.labels.family("lost") == "" and reader.labels.family("bored") == "flat"


def test_classes_are_those_that_readings_hold() -> None:
    """CSV names a column for each: a head that no network scores says nothing of them."""
    added_up = Head("fg33", ("mood",), (), "derived", 1.0)
    labels = EmotionReader(tiny.manifest(heads=(*tiny.manifest().heads, added_up))).labels
    assert labels.fine == load_taxonomy("fg33").labels


def test_a_bundle_without_a_list_is_refused() -> None:
    heads = tiny.manifest().heads
    with pytest.raises(ContractMismatch, match="no head 'basic8'"):
        EmotionReader(tiny.manifest(heads=heads[1:]))


def test_a_set_of_expressions_is_named_where_the_bundle_promises_one() -> None:
    manifest = replace(tiny.manifest(), sets=PredictionSets("basic8", 0.9, 0.9, 0.0, 1))
    words = logits(WORDS.labels, joy=3.0)
    torn = logits(BASIC8.labels, sadness=8.0, fear=7.6, anger=5.0)
    (emotions,) = EmotionReader(manifest).read({"basic8": torn, "emo135": words})
    assert emotions.one_of == ("sadness",), "0.58; with fear it would be 0.97, above 0.9"
    (emotions,) = EmotionReader(
        replace(manifest, sets=replace(manifest.sets, threshold=0.98))  # type: ignore[type-var]
    ).read({"basic8": torn, "emo135": words})
    assert emotions.one_of == ("sadness", "fear")
    assert emotions.to_json()["one_of"] == ["sadness", "fear"]
    (silent,) = EmotionReader(tiny.manifest()).read({"basic8": torn, "emo135": words})
    assert silent.one_of == () and "one_of" not in silent.to_json()


def test_families_are_calibrated_where_the_bundle_can() -> None:
    plain = tiny.manifest()
    families = load_taxonomy("family6").labels
    sharp = Head("family6", families, (), "derived", 0.5)
    words = logits(WORDS.labels, joy=6.0, delight=5.0)
    (before,) = EmotionReader(plain).read(
        {"basic8": logits(BASIC8.labels, happiness=9.0), "emo135": words}
    )
    heads = (*plain.heads, sharp)
    (after,) = EmotionReader(replace(plain, heads=heads)).read(
        {"basic8": logits(BASIC8.labels, happiness=9.0), "emo135": words}
    )
    assert list(before.families) == list(after.families)
    shown = 1 - after.neutral
    assert sum(after.families.values()) == pytest.approx(shown, abs=1e-5)
    squared = {name: p**2 for name, p in before.families.items()}
    joy = shown * squared["joy"] / sum(squared.values())
    assert after.families["joy"] == pytest.approx(joy, rel=1e-4)


def judged_manifest() -> Manifest:
    """Of a bundle whose words are each on their own, with affect and the 33 classes."""
    plain = tiny.manifest()
    words = replace(
        plain.head("emo135"), kind="independent", supervision="machine-judged", temperature=1.0
    )
    fine = load_taxonomy("fg33").labels
    heads = (
        plain.head("basic8"),
        words,
        plain.head("au"),
        Head("affect", AFFECT, (), "machine-judged", 1.0, kind="scale"),
        Head("fg33", fine, (), "machine-judged", 1.0, kind="independent"),
    )
    return replace(plain, heads=heads)


def test_words_of_judged_faces_do_not_exclude_each_other() -> None:
    reader = EmotionReader(judged_manifest())
    assert reader.heads == ("basic8", "emo135", "affect", "fg33")
    (emotions,) = reader.read(
        {
            "basic8": logits(BASIC8.labels, happiness=9.0),
            "emo135": logits(WORDS.labels, joy=1.0, delight=1.0) - 1,
            "affect": np.array([[0.7, -0.2, 0.5]], np.float32),
            "fg33": np.zeros((1, 33), np.float32),
        }
    )
    assert emotions.top(2) == [("joy", 0.5), ("delight", 0.5)]
    assert dict(emotions.ranked)["rage"] == pytest.approx(1 / (1 + np.e), abs=1e-5)
    assert emotions.valence == pytest.approx(0.7) and emotions.arousal == pytest.approx(-0.2)
    assert emotions.intensity == 0.5, "the judged one, not what the words usually have"
    assert set(emotions.fine.values()) == {0.5} and len(emotions.fine) == 33
    document = emotions.to_json(1)
    assert (document["valence"], document["arousal"]) == (0.7, -0.2)
    assert sum(emotions.families.values()) == pytest.approx(1 - emotions.neutral, abs=1e-5)


def test_a_word_stays_while_it_is_nearly_as_likely() -> None:
    happy = logits(BASIC8.labels, happiness=9.0)
    softness = tiny.manifest().head("emo135").temperature
    near, far = (
        read(happy, logits(WORDS.labels, joy=3.0, delight=3.0 + softness * np.log(share)))
        for share in (HOLDS + 0.05, HOLDS - 0.05)
    )
    assert steady(near, "delight").label == "delight" and near.label == "joy"
    assert steady(near, "delight").ranked == near.ranked
    assert steady(far, "delight").label == steady(near, None).label == "joy"
    assert steady(near, "neutral").label == "joy"
    still = read(logits(BASIC8.labels, neutral=9.0))
    assert steady(still, "joy").label == "neutral"


def test_the_hint_of_a_still_face_is_faint_in_either_kind_of_bundle() -> None:
    still = read(logits(BASIC8.labels, neutral=9.0), logits(WORDS.labels, joy=9.0))
    word, p = faint(still.ranked, still.neutral)
    assert word == "joy" and p == pytest.approx(still.ranked[0][1] * (1 - still.neutral))
    assert p < 0.05
    own = (("joy", 0.03), ("delight", 0.02))
    assert faint(own, 0.99) == ("joy", 0.03)
