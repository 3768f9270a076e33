"""Synthetic faces on a made-up head: what is drawn, what is known of it, and that it repeats."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import fields

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.align import ANCHOR_TEMPLATE, anchor_matrix
from ferstream.training.datasets.synthetic import (
    ACTION_UNITS,
    ARKIT_NAMES,
    MOMENTS,
    ORIGIN,
    PARSING_CLASSES,
    POSES,
    TAXONOMIES,
    SyntheticClip,
    SyntheticFaces,
    SyntheticHead,
    SyntheticImage,
    SyntheticOptions,
    labels_of,
    person_of,
    synthetic_sheet,
)
from ferstream.training.datasets.synthetic.expressions import recipe
from ferstream.training.datasets.synthetic.stage import level_curve
from tests.training.tiny_head import tiny_kit


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return SyntheticHead(tiny_kit())


@pytest.fixture(scope="module")
def faces(head: SyntheticHead) -> SyntheticFaces:
    return SyntheticFaces(head, SyntheticOptions(size_px=64, frames=6))


def clean(head: SyntheticHead, **changes: object) -> SyntheticFaces:
    """Faces without camera noise and talking."""
    plain = {"size_px": 64, "faults": 0.0, "distraction": 0.0, **changes}
    return SyntheticFaces(head, SyntheticOptions(**plain))  # type: ignore[arg-type]


def same(one: SyntheticImage | SyntheticClip, other: SyntheticImage | SyntheticClip) -> bool:
    """Whether all fields are equal."""
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(one)
    )


def test_an_image_knows_everything_about_itself(faces: SyntheticFaces) -> None:
    image = faces.image(1)
    assert image.pixels.shape == (64, 64, 3) and image.pixels.dtype == np.uint8
    assert image.parsing.shape == (64, 64) and image.parsing.max() < len(PARSING_CLASSES)
    assert image.landmarks_xy.shape == (68, 2) and image.anchors_xy.shape == (6, 2)
    assert image.mesh_xy.shape == (0, 2)  # a made-up topology has none
    assert image.action_units.shape == (len(ACTION_UNITS),)
    assert image.blendshapes.shape == (len(ARKIT_NAMES),) == (52,)
    assert image.action_units.min() >= 0 and image.action_units.max() <= 1
    assert (image.word, image.label, image.taxonomy) == ("happiness", 1, "basic8")
    assert image.origin == ORIGIN == "synthetic"


def test_a_clip_knows_everything_about_itself(faces: SyntheticFaces) -> None:
    clip = faces.clip(2)
    assert clip.pixels.shape == (6, 64, 64, 3) and clip.parsing.shape == (6, 64, 64)
    assert clip.landmarks_xy.shape == (6, 68, 2) and clip.anchors_xy.shape == (6, 6, 2)
    assert clip.action_units.shape == (6, len(ACTION_UNITS)) and clip.blendshapes.shape == (6, 52)
    assert clip.flow.shape == (5, 64, 64, 2) and clip.flow_seen.shape == (5, 64, 64)
    assert np.allclose(np.diff(clip.times_s), 1 / 12.5)
    assert (clip.word, clip.moment, clip.origin) == ("surprise", "whole", "synthetic")


def test_a_number_is_always_the_same_picture(head: SyntheticHead, faces: SyntheticFaces) -> None:
    again = SyntheticFaces(head, faces.options)
    again.image(5)  # whatever was asked for before
    assert same(again.image(3), faces.image(3)) and same(again.clip(3), faces.clip(3))
    assert not same(faces.image(3, "neutral"), faces.image(4, "neutral"))
    other = SyntheticFaces(head, SyntheticOptions(size_px=64, seed=1))
    assert not np.array_equal(other.image(3).pixels, faces.image(3).pixels)


def test_another_pose_is_the_same_moment_from_another_side(head: SyntheticHead) -> None:
    faces = clean(head)
    views = {pose: faces.image(9, pose=pose) for pose in POSES}
    front = views["front"]
    for pose, view in views.items():
        assert view.person == front.person and view.word == front.word
        assert np.array_equal(view.action_units, front.action_units)
        assert np.array_equal(view.pixels, front.pixels) == (pose == "front")
    nose = {pose: view.landmarks_xy[30] for pose, view in views.items()}
    assert nose["half_left"][0] < nose["front"][0] < nose["half_right"][0]
    assert nose["bird"][1] > nose["front"][1]


def test_words_and_poses_take_turns(head: SyntheticHead) -> None:
    faces = SyntheticFaces(head, SyntheticOptions(size_px=16, poses=tuple(POSES), supersample=1))
    images = [faces.image(index) for index in range(8 * 4)]
    assert len({(image.word, image.pose) for image in images}) == 8 * 4
    told = faces.image(0, word="fear", person=77, pose="bird")
    assert (told.word, told.person, told.pose) == ("fear", 77, "bird")


def test_people_stay_themselves() -> None:
    first, again, other = person_of(5, 10), person_of(5, 10), person_of(6, 10)
    assert np.array_equal(first.shape, again.shape) and first.hair_cm == again.hair_cm
    assert not np.allclose(first.shape, other.shape)
    assert max(abs(person_of(number, 10).shape).max() for number in range(30)) <= 2


def test_the_true_flow_carries_one_frame_to_the_next(head: SyntheticHead) -> None:
    faces = clean(head, size_px=96, frames=4, rate_hz=8.0, supersample=3)
    clip = faces.clip(1, "happiness", moment="onset")
    grey = clip.pixels.mean(-1).astype(np.float32)
    column, row = np.meshgrid(np.arange(96, dtype=np.float32), np.arange(96, dtype=np.float32))
    moved = np.abs(clip.flow).max(axis=(1, 2, 3))
    step = int(moved.argmax())
    assert moved[step] > 1
    at = np.stack([column, row], -1) + clip.flow[step]
    carried = cv2.remap(grey[step + 1], at, None, cv2.INTER_LINEAR)
    where = clip.flow_seen[step] & (np.abs(clip.flow[step]).max(-1) > 0.5)
    assert where.sum() > 30
    with_flow = np.abs(carried - grey[step])[where].mean()
    without = np.abs(grey[step + 1] - grey[step])[where].mean()
    assert with_flow < 0.75 * without  # the light on a bump changes as it moves


def test_landmarks_move_with_the_flow(head: SyntheticHead) -> None:
    clip = clean(head, size_px=128, frames=3, rate_hz=4.0).clip(6, "surprise", moment="onset")
    for before, after, flow in zip(
        clip.landmarks_xy, clip.landmarks_xy[1:], clip.flow, strict=False
    ):
        column, row = np.rint(before[27:31]).astype(int).T  # the bridge of the nose is in view
        assert np.allclose(flow[row, column], (after - before)[27:31], atol=0.25)


def test_what_is_hidden_later_is_not_followed(head: SyntheticHead) -> None:
    clip = clean(head, frames=2).clip(0, "neutral")
    assert clip.flow_seen.mean() > 0.9
    background = PARSING_CLASSES.index("background")
    still = (clip.parsing[0] == background) & (clip.parsing[1] == background)
    assert (clip.flow[0][still] == 0).all() and clip.flow_seen[0][still].all()


def test_parsing_lies_where_the_landmarks_are(head: SyntheticHead) -> None:
    image = clean(head, size_px=128).image(0, "neutral")
    eye, nose, mouth = (PARSING_CLASSES.index(name) for name in ("eye", "nose", "mouth"))
    for points, wanted in ((range(36, 42), eye), (range(42, 48), eye), (range(29, 31), nose)):
        x, y = np.rint(image.landmarks_xy[list(points)].mean(0)).astype(int)
        assert image.parsing[y, x] == wanted
    x, y = np.rint(image.landmarks_xy[[51, 62]].mean(0)).astype(int)
    assert image.parsing[y, x] == mouth
    above = image.parsing[: int(image.landmarks_xy[17:27, 1].min())]
    assert (above == PARSING_CLASSES.index("hair")).sum() > 50


@pytest.mark.parametrize("pose", POSES)
def test_crops_are_aligned_as_at_run_time(head: SyntheticHead, pose: str) -> None:
    image = clean(head, framing="crop").image(4, pose=pose)
    assert np.allclose(anchor_matrix(image.anchors_xy, 64), [[1, 0, 0], [0, 1, 0]], atol=1e-3)
    off = np.abs(image.anchors_xy - (ANCHOR_TEMPLATE * 64 - 0.5)).mean()
    assert off < (4 if pose == "front" else 12)


def test_a_trembling_crop_moves(head: SyntheticHead) -> None:
    still = clean(head, framing="crop").clip(0, "neutral", moment="apex")
    trembling = clean(head, framing="crop", trembling_px=1.0).clip(0, "neutral", moment="apex")
    assert np.abs(still.flow).max() < 0.1 < np.abs(trembling.flow).mean()


def test_contempt_is_on_one_side(head: SyntheticHead) -> None:
    left, right = (ARKIT_NAMES.index(f"mouthDimple{side}") for side in ("Left", "Right"))
    shapes = [clean(head).image(index, "contempt").blendshapes for index in range(12)]
    stronger = {bool(shape[left] > shape[right]) for shape in shapes}
    assert stronger == {True, False}
    assert all(min(s[left], s[right]) < 0.3 * max(s[left], s[right]) for s in shapes if s[left])


def test_grey_is_one_channel(head: SyntheticHead) -> None:
    assert clean(head, colour="grey").image(0).pixels.shape == (64, 64)
    assert clean(head, colour="grey", frames=2).clip(0).pixels.shape == (2, 64, 64)


def test_a_camera_adds_noise(head: SyntheticHead) -> None:
    plain = clean(head).image(2).pixels.astype(float)
    noisy = clean(head, faults=1.0).image(2).pixels.astype(float)
    assert np.abs(plain - noisy).mean() > 1


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("tempo_s", [(0.2, 0.4, 0.3), (1.4, 2.0, 1.5)])
def test_expressions_come_and_go(moment: str, tempo_s: tuple[float, float, float]) -> None:
    times_s = np.linspace(0, 2, 50).astype(np.float32)
    for seed in range(20):
        levels = level_curve(times_s, tempo_s, moment, np.random.default_rng(seed))
        assert levels.min() >= 0 and levels.max() <= 1
        rises = np.diff(levels)
        if moment == "apex":
            assert (levels == 1).all()
        elif moment == "onset":
            assert (rises >= 0).all() and levels[0] < 0.05 and levels[-1] > 0.9
        elif moment == "offset":
            assert (rises <= 0).all() and levels[0] > 0.95 and levels[-1] < 0.1
        else:
            top = int(levels.argmax())
            assert levels[0] < 0.05 and levels[top] > 0.9 and levels[-1] < 0.15
            assert (rises[:top] >= 0).all() and (rises[top:] <= 1e-6).all()


def test_an_unknown_moment_is_refused(faces: SyntheticFaces) -> None:
    with pytest.raises(ValueError, match="whole, onset, apex, offset, not 'peak'"):
        faces.clip(0, moment="peak")


@pytest.mark.parametrize(("taxonomy", "count"), [("basic8", 8), ("fg33", 33), ("f2ed54", 54)])
def test_every_word_has_a_recipe_of_its_own(taxonomy: str, count: int) -> None:
    words = labels_of(taxonomy)
    assert len(set(words)) == len(words) == count
    for one, other in itertools.combinations(words, 2):
        a, b = recipe(one), recipe(other)
        apart = (
            np.abs(a.units - b.units).sum() + 0.2 * np.abs(np.subtract(a.tempo_s, b.tempo_s)).sum()
        )
        assert apart > 0.3, f"{one} and {other} look the same"
    assert set(TAXONOMIES) == {"basic8", "fg33", "f2ed54"}


def test_the_sheet_is_a_picture(head: SyntheticHead) -> None:
    sheet = synthetic_sheet(head, size_px=32)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.shape[2] == 3
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"taxonomy": "emo135"}, "no synthetic expressions for 'emo135'; there are basic8"),
        ({"colour": "bgr"}, "colour is rgb or grey; got 'bgr'"),
        ({"framing": "body"}, "framing is head or crop; got 'body'"),
        ({"poses": ("back",)}, "choose of half_left, front, half_right, bird"),
        ({"moments": ()}, "choose of whole"),
        ({"frames": 1}, "at least 2 frames; got 1"),
        ({"rate_hz": 0}, "rate_hz is positive; got 0"),
        ({"size_px": 8}, "at least 16; got 8"),
        ({"strength": (0.9, 0.1)}, "0..1, low first"),
        ({"people": (0, 0)}, "at least one person"),
        ({"supersample": 9}, "supersample is 1 to 4; got 9"),
        ({"seed": -1}, "seed is not negative; got -1"),
    ],
)
def test_wrong_options_are_refused_in_one_line(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        SyntheticOptions(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)


def test_wrong_questions_are_refused(faces: SyntheticFaces) -> None:
    with pytest.raises(ValueError, match="numbered from 0; got -1"):
        faces.image(-1)
    with pytest.raises(ValueError, match=r"basic8 has neutral, .*; got 'bliss'"):
        faces.image(0, word="bliss")
    with pytest.raises(ValueError, match=r"poses are half_left, .*; got 'back'"):
        faces.image(0, pose="back")


def test_no_torch_is_needed() -> None:
    code = "import sys, ferstream.training.datasets.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
