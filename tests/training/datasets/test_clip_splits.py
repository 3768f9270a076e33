"""Clips in three splits, synthetic and prepared, and how the streams are shown them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.clip import MotionEstimator
from ferstream.training.datasets.learning_clips import ClipSplits, LearningClips, load_clips
from ferstream.training.datasets.readers.prepared import FORMAT, SET, shard_path, write_shard
from ferstream.training.datasets.synthetic import write_packed
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.drawn_sets import (
    CropClips,
    FlowStacks,
    FrameFeatures,
    middle_stack,
)
from ferstream.training.learning.draws import Draw
from ferstream.training.papers.msau.figures import NONE_OF_SIX, SIX, six_class_figures, six_of
from tests.training.tiny_head import tiny_kit

LENGTHS = (3, 5, 12, 7, 9, 6, 8, 4)


@pytest.fixture(scope="module")
def rendered_clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSplits:
    folder = tmp_path_factory.mktemp("head")
    (folder / "ict_facekit").mkdir()
    write_packed(tiny_kit(), folder / "ict_facekit" / "ict_facekit.npz")
    return load_clips("synthetic:fg33", folder, frames=6, clip_px=64, limit=40)


@pytest.fixture(scope="module")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 3 to 12 frames as `ferstream data prepare` writes them."""
    folder, rng = tmp_path_factory.mktemp("prepared"), np.random.default_rng(0)
    frames, count = sum(LENGTHS), len(LENGTHS)
    text = np.array([f"clip{at}" for at in range(count)])
    arrays = {
        "crops": rng.integers(0, 255, (frames, 64, 64), np.uint8),
        "landmarks": rng.uniform(0, 64, (frames, 468, 2)).astype(np.float16),
        "times_s": np.concatenate([2 + np.arange(n) / 5 for n in LENGTHS]).astype(np.float32),
        "offset": np.cumsum([0, *LENGTHS]).astype(np.int64),
        "name": text,
        "split": np.array(["train"] * 6 + ["test"] * 2),
        "subject": np.array(["a", "a", "b", "b", "c", "d", "e", "e"]),
        "pose": np.array([""] * count),
        "label": np.array([0, 1, 0, 1, 0, -1, 1, 0], np.int16),
        "votes": np.zeros((count, 2), np.uint8),
        "units": np.zeros((count, 0), np.int8),
        "dropped": np.zeros((0, 2), str),
    }
    write_shard(shard_path(folder, 0), arrays)
    facts = {
        **{"format": FORMAT, "complete": True, "shards": 1, "labels": ["happiness", "anger"]},
        **{"units": [], "kind": "clips", "about": "a set", "options": {"crop_px": 64}},
    }
    (folder / SET).write_text(json.dumps({**facts, "fingerprint": "x"}))
    return folder


def test_synthetic_splits_share_nobody(rendered_clips: ClipSplits) -> None:
    parts = (rendered_clips.train, rendered_clips.validation, rendered_clips.test)
    assert [len(part) for part in parts] == [40, 33, 33]
    assert all(set(part.label.tolist()) == set(range(33)) for part in parts)
    people = [set(part.people.tolist()) for part in parts if part.people is not None]
    assert not people[0] & people[1] and not (people[0] | people[1]) & people[2]
    about = rendered_clips.about()
    assert about["name"] == "synthetic:fg33 clips" and about["train"] == 40
    assert np.allclose(np.diff(parts[0].times_s, axis=1), 0.1)


def test_stills_are_about_the_key_frames(rendered_clips: ClipSplits) -> None:
    clips = rendered_clips.train
    assert clips.level is not None and clips.units is not None
    peak = clips.peak
    np.testing.assert_allclose(clips.level[np.arange(40), peak], clips.level.max(axis=1), atol=2e-3)
    stills = rendered_clips.stills(3)
    assert (len(stills.train), len(stills.validation)) == (120, 33)
    first = stills.train.take(np.arange(0, 120, 3))
    np.testing.assert_array_equal(first.pixels, clips.pixels[np.arange(40), peak])
    assert first.units is not None
    np.testing.assert_array_equal(first.units, clips.units[np.arange(40), peak])
    np.testing.assert_array_equal(first.crops(64)[:, 0], first.pixels)
    at = [[int(name.split("#")[1]) for name in stills.train.names[n : n + 3]] for n in (0, 3)]
    assert all(max(abs(t - peak[n]) for t in row) <= 2 for n, row in enumerate(at))


def test_motion_is_what_run_time_measures(rendered_clips: ClipSplits) -> None:
    clips = rendered_clips.train.take(np.array([0, 1]))
    field = MotionEstimator().field(clips.pixels[1, 2], clips.pixels[1, 3], 0.1)
    np.testing.assert_allclose(clips.motion[1, 2], field, atol=2e-3)
    plain = FlowStacks(clips, 4, training=False)[Draw(1, 0)]["motion"].numpy()
    np.testing.assert_array_equal(plain.reshape(4, 2, 32, 32), clips.motion[1, 0:4])
    assert plain.shape == (8, 32, 32)
    varied = [FlowStacks(clips, 4, training=True)[Draw(1, key)]["motion"] for key in (3, 3, 4)]
    assert varied[0].equal(varied[1]) and not varied[0].equal(varied[2])


def test_mirrored_motion_is_that_of_the_mirrored_clip(rendered_clips: ClipSplits) -> None:
    """Within what the estimator itself makes of a mirrored picture."""
    clips = rendered_clips.train.take(np.array([2]))
    there, back = clips.pixels[0, 1], clips.pixels[0, 2]
    field = MotionEstimator().field(there, back, 0.1)
    other = MotionEstimator().field(there[:, ::-1].copy(), back[:, ::-1].copy(), 0.1)
    turned = field[..., ::-1] * np.array([-1, 1])[:, None, None]
    assert np.corrcoef(turned.ravel(), other.ravel())[0, 1] > 0.9


def test_crops_and_features_of_a_clip(rendered_clips: ClipSplits) -> None:
    clips = rendered_clips.train.take(np.array([0, 1]))
    item = CropClips(clips, 32, training=False)[Draw(0, 0)]
    assert item["motion"].shape == (6, 1, 32, 32)
    np.testing.assert_array_equal(item["motion"].numpy(), clips.crops(np.array([0]), 32)[0])
    feature = np.arange(2 * 2 * 6 * 3).reshape(2, 2, 6, 3).astype(np.float16)
    shown = FrameFeatures(clips, feature, training=False)[Draw(1, 0)]
    np.testing.assert_array_equal(shown["feature"].numpy(), feature[0, 1])
    assert shown["mask"].tolist() == [1] * 6
    drawn = [FrameFeatures(clips, feature, training=True)[Draw(1, key)] for key in range(30)]
    masks = np.stack([item["mask"].numpy() for item in drawn])
    assert masks[:, clips.peak[1]].all() and {3, 6} <= set(masks.sum(axis=1).tolist())
    assert {float(item["feature"][0, 0]) for item in drawn} == {18.0, 54.0}, "both views"


def test_prepared_clips(prepared_dir: Path) -> None:
    splits = load_clips(str(prepared_dir), None, frames=6, clip_px=64)
    names = {split: getattr(splits, split).names for split in ("train", "validation", "test")}
    assert sorted(names["test"]) == ["clip6", "clip7"] and len(names["validation"]) in (1, 2)
    assert "clip5" not in names["train"] + names["validation"], "it has no label"
    whole: LearningClips = splits.train
    for row, name in enumerate(whole.names):
        length = min(LENGTHS[int(name[4:])], 6)
        assert whole.mask[row].sum() == length and whole.times_s[row, 0] == 0
        assert (whole.motion[row, length - 1 :] == 0).all()
        assert whole.motion[row, : length - 1].any(axis=(1, 2, 3)).all()
        assert whole.peak[row] == round((length - 1) / 2)
    stack = middle_stack(whole.motion[0], 3, 4)
    assert not stack[:2].any() and np.array_equal(stack[2:], whole.motion[0, 3:5])
    fewer = load_clips(str(prepared_dir), None, frames=6, clip_px=64, limit=2)
    assert len(fewer.train) == 2


@pytest.mark.parametrize("name", ["nowhere", "fer2013plus", "synthetic:fg34"])
def test_no_such_clips(name: str) -> None:
    with pytest.raises(OptionsWrong, match="no set of"):
        load_clips(name, None, frames=6, clip_px=64)


def test_six_classes_as_the_paper_counts_them() -> None:
    """V-D: disgust is its own class, its siblings are anger, and love is nothing of the six."""
    labels = ("disgust", "wrath", "contempt", "lust", "thrill", "gloom", "amazement", "panic")
    names = [(*SIX, "none")[at] for at in six_of(labels).tolist()]
    assert names == [
        *("disgust", "anger", "anger", "none", "happiness", "sadness", "surprise", "fear")
    ]
    label = np.array([0, 1, 1, 3, 4, 5])
    guess = np.array([0, 2, 0, 3, 3, 5])
    found = six_class_figures(guess, label, labels)
    assert found["n"] == 5, "the clip of love is left out"
    assert found["top1"] == pytest.approx(3 / 5), "a guess of love is wrong for happiness"
    assert found["recall"] == {"anger": 0.5, "disgust": 1.0, "happiness": 0.0, "sadness": 1.0}
    assert found["macro_recall"] == pytest.approx(2.5 / 4)
    assert six_of(("neutral", "happiness")).tolist() == [NONE_OF_SIX, SIX.index("happiness")]
