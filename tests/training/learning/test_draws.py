"""Draws, options and parsing labels: what a training is made of before it begins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.face_splits import Splits, load_splits
from ferstream.training.datasets.label_lists import basic8_shares, word_shares
from ferstream.training.datasets.parsing import (
    BISENET_TO_CLASSES,
    CLASSES,
    IGNORED,
    Parsing,
    dominant,
    polygons,
)
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.drawn_sets import FaceImages
from ferstream.training.learning.draws import Draw, DrawBatches, DrawLoader
from ferstream.training.learning.options import Options, field_docs
from ferstream.training.systems.slfer import SlferOptions, component_loss, segmentation_loss
from tests.training.layout import GROUPS, INDEX
from tests.training.toy_runs import toy_options


@pytest.fixture(scope="module")
def splits(tiny_dir: Path) -> Splits:
    return load_splits("fer2013plus", tiny_dir)


def batches(processes: int = 1, rank: int = 0, parts: int = 1) -> DrawBatches:
    return DrawBatches(50, 12, seed=3, training=True, processes=processes, rank=rank, parts=parts)


def test_processes_and_parts_make_up_the_same_batch() -> None:
    whole = list(batches())
    shared = [list(batches(processes=2, rank=rank, parts=3)) for rank in range(2)]
    for number, batch in enumerate(whole):
        pieces = [d for rank in shared for part in rank[3 * number : 3 * number + 3] for d in part]
        assert pieces == batch
    assert len(whole) == 4 and len(shared[0]) == 12
    rows = [draw.row for batch in whole for draw in batch]
    assert len(set(rows)) == len(rows) == 48, "nobody twice in an epoch"


def test_epochs_differ_and_a_place_is_found_again() -> None:
    first, again = batches(), batches()
    epochs = []
    for epoch in range(2):
        first.set_epoch(epoch)
        epochs.append(list(first))
    assert epochs[0] != epochs[1]
    again.epoch, again.start = 1, 2
    again.set_epoch(1)
    assert list(again) == epochs[1][2:]
    again.set_epoch(2)
    assert len(list(again)) == 4, "the next epoch is whole"


def test_validation_shows_everyone_once() -> None:
    shared = [
        DrawBatches(10, 8, seed=0, training=False, processes=2, rank=rank) for rank in range(2)
    ]
    assert len(shared[0]) == len(shared[1]) == 2
    counted = [draw.row for part in shared for batch in part for draw in batch if draw.counts]
    assert sorted(counted) == list(range(10))


def test_weights_decide_who_is_drawn() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0])
    drawn = DrawBatches(4, 4, seed=0, training=True, weights=weights)
    rows = []
    for epoch in range(300):
        drawn.set_epoch(epoch)
        rows += [draw.row for batch in drawn for draw in batch]
    assert set(rows) == {1, 2} and 0.7 < rows.count(2) / len(rows) < 0.8


@pytest.mark.parametrize("more", [{"processes": 5}, {"parts": 7}])
def test_a_batch_that_cannot_be_shared(more: dict[str, int]) -> None:
    with pytest.raises(OptionsWrong, match="cannot be shared"):
        batches(**more)


def test_a_showing_follows_from_its_draw_alone(splits: Splits) -> None:
    faces = FaceImages(splits.train, 32, augmentation="rich", parsing=Parsing())
    first, same = faces[Draw(3, 11)], faces[Draw(3, 11)]
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["crop"], faces[Draw(3, 12)]["crop"])
    workers = iter(DrawLoader(faces, DrawBatches(16, 16, seed=0, training=True), workers=1))
    alone: Iterator[dict[str, torch.Tensor]] = iter(
        DrawLoader(faces, DrawBatches(16, 16, seed=0, training=True))
    )
    assert torch.equal(next(workers)["crop"], next(alone)["crop"])


def test_validation_shows_what_run_time_cuts(splits: Splits) -> None:
    shown = FaceImages(splits.validation, 48)[Draw(5, 0)]
    np.testing.assert_array_equal(shown["crop"][0], splits.validation.crop(5, 48))
    np.testing.assert_array_equal(shown["target"], splits.validation.target[5])


def test_polygons_paint_the_parts() -> None:
    """A face drawn by hand: what is where the landmarks of a group lie."""
    centre = {
        "face_oval": (48, 48, 40),
        "lips": (48, 72, 8),
        "left_eye": (64, 40, 5),
        "right_eye": (32, 40, 5),
        "nose": (48, 54, 6),
    }
    points = np.full((len(INDEX), 2), 48.0, np.float32)
    place = {int(number): at for at, number in enumerate(INDEX)}
    for group, (x, y, radius) in centre.items():
        angles = np.linspace(0, 2 * np.pi, len(GROUPS[group]), endpoint=False)
        for number, angle in zip(GROUPS[group], angles, strict=True):
            points[place[number]] = x + radius * np.cos(angle), y + radius * np.sin(angle)
    labels = polygons(points, INDEX, 96)
    named = {
        (48, 72): "mouth",
        (64, 40): "eye",
        (32, 40): "eye",
        (48, 54): "nose",
        (20, 48): "skin",
        (2, 2): "background",
    }
    for (x, y), name in named.items():
        assert CLASSES[labels[y, x]] == name
    assert (labels == CLASSES.index("mouth")).sum() == pytest.approx(np.pi * 8.5**2, rel=0.1)


def test_dominant_parts_have_the_most_pixels() -> None:
    labels = np.repeat(np.array([1, 0, 5, 2, 4, IGNORED], np.uint8), [9, 7, 5, 3, 1, 20])
    found = dominant(labels, 4)
    assert np.flatnonzero(found).tolist() == [0, 1, 2, 5]
    assert dominant(labels, 8).sum() == 5, "parts without a pixel never dominate"


def test_a_folder_of_masks(splits: Splits, tmp_path: Path) -> None:
    faces = splits.train.take(np.arange(2))
    painted = np.zeros((48, 48), np.uint8)
    painted[10:40, 8:40], painted[30:34, 18:30] = 1, 12
    for name in faces.names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), painted)
    parsing = Parsing(str(tmp_path))
    parsing.check(faces)
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(parsing.crop(faces, 0, still, 48), BISENET_TO_CLASSES[painted])
    with pytest.raises(OptionsWrong, match="holds the label 12, beyond 8"):
        Parsing(str(tmp_path), mask_classes=8).crop(faces, 0, still, 48)
    cv2.imwrite(str(tmp_path / f"{faces.names[1]}.png"), painted[:20])
    with pytest.raises(OptionsWrong, match=r"shape \(20, 48\), its picture \(48, 48\)"):
        parsing.crop(faces, 1, still, 48)
    (tmp_path / f"{faces.names[0]}.png").unlink()
    with pytest.raises(OptionsWrong, match="is missing or no picture"):
        parsing.crop(faces, 0, still, 48)


@pytest.mark.parametrize(
    ("source", "said"), [("nowhere", "no such folder"), ("given", "comes without parsing")]
)
def test_parsing_that_is_not_there(splits: Splits, source: str, said: str) -> None:
    with pytest.raises(OptionsWrong, match=said):
        Parsing(source).check(splits.train)


def test_the_3d_face_brings_its_own_labels(data_dir: Path) -> None:
    faces = load_splits("synthetic", data_dir, limit=16)
    assert len(faces.train) == 16 and faces.train.people is not None
    assert faces.test.people is not None
    assert not set(faces.train.people.tolist()) & set(faces.test.people.tolist())
    shown = FaceImages(faces.train, 64, parsing=Parsing("given"))[Draw(0, 0)]
    parts = {CLASSES[at] for at in set(shown["semantic"].flatten().tolist())}
    assert {"skin", "eye", "nose", "mouth", "hair"} <= parts


def test_a_limit_keeps_shares_and_its_choice(tiny_dir: Path) -> None:
    found = [load_splits("fer2013plus", tiny_dir, limit=24, seed=1) for _ in range(2)]
    assert [len(found[0].train), len(found[0].validation)] == [24, 24]
    assert found[0].about() == found[1].about()
    assert found[0].about() != load_splits("fer2013plus", tiny_dir, limit=24, seed=2).about()
    with pytest.raises(
        OptionsWrong, match="'faces': there are fer2013plus, fer2013plus:words, synthetic"
    ):
        load_splits("faces", tiny_dir)


def test_the_paper_s_numbers() -> None:
    """Paper 002, "Implementation details" and Table 3."""
    paper = SlferOptions.paper()
    assert (paper.epochs, paper.batch, paper.rate, paper.crop_px) == (40, 16, 1e-4, 224)
    assert paper.decay_epochs == (10, 18, 25, 32) and paper.components == 4
    assert (paper.segmentation_weight, paper.component_weight) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "all"}, "variant 'all': there are baseline"),
        ({"crop_px": 50}, "multiple of 16"),
        ({"epochs": 0}, "epochs is 0: it must be 1 or more"),
        ({"precision": "int4"}, "'int4' is unknown"),
        ({"accumulate": 3}, "batch 16 cannot be split"),
        ({"rate": -1.0}, "rate is -1.0"),
        ({"augmentation": "none"}, "'none': there are crops, rich"),
        ({"rate": float("nan")}, "rate is nan"),
    ],
)
def test_options_that_cannot_be(changes: dict[str, object], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said):
        toy_options(**changes)


def test_options_come_back_from_their_file() -> None:
    options = toy_options(seed=4)
    assert SlferOptions.from_json(options.to_json()) == options
    assert not options.differences(toy_options(seed=4, workers=3))
    assert options.differences(toy_options(variant="ct")) == ["seed", "variant"]
    with pytest.raises(OptionsWrong, match="colour: unknown to SlferOptions"):
        SlferOptions.from_json({"colour": "grey"})
    docs = field_docs(SlferOptions)
    assert set(options.to_json()) <= docs.keys() and set(field_docs(Options)) < set(docs)
    assert all(docs.values()), "each option has its help"


def test_the_losses_are_the_paper_s() -> None:
    """Eq. 2 averages over known pixels, eq. 3 sums over classes."""
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 8, 3, 3), torch.randint(0, 8, (2, 3, 3))
    labels[0, 0] = IGNORED
    log_p = logits.log_softmax(1)
    wanted = [
        -log_p[b, labels[b, y, x], y, x]
        for b, y, x in np.ndindex(2, 3, 3)
        if labels[b, y, x] != IGNORED
    ]
    torch.testing.assert_close(segmentation_loss(logits, labels), torch.stack(wanted).mean())
    unknown = torch.full_like(labels, IGNORED)
    assert segmentation_loss(logits, unknown) == 0
    scores, truth = torch.randn(3, 8), torch.randint(0, 2, (3, 8)).float()
    p = scores.sigmoid()
    each = -(truth * p.log() + (1 - truth) * (1 - p).log()).sum(1)
    parsed = torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(component_loss(scores, truth, parsed), (each[0] + each[2]) / 2)


def test_labels_are_shared_out_among_what_a_bundle_says() -> None:
    seven = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    np.testing.assert_array_equal(basic8_shares(seven).sum(axis=1), 1)
    assert basic8_shares(seven)[3].argmax() == 1 and basic8_shares(seven)[:, 7].sum() == 0
    words = word_shares(seven)
    np.testing.assert_allclose(words.sum(axis=1), [1, 1, 1, 1, 1, 1, 0], atol=1e-5)
    fine, leaves = load_taxonomy("emo135"), load_taxonomy("fg33")
    np.testing.assert_array_equal(word_shares(fine.labels), np.eye(135))
    np.testing.assert_allclose(word_shares(leaves.labels).sum(axis=1), 1, atol=1e-5)
    with pytest.raises(OptionsWrong, match="'hungry' is neither"):
        word_shares(("hungry",))
    with pytest.raises(OptionsWrong, match="'hungry' is neither"):
        basic8_shares(("hungry",))


def write_prepared(
    folder: Path, splits: list[str], labels: Sequence[str] = ("happiness", "anger")
) -> Path:
    """A folder as `ferstream data prepare` leaves it: grey crops of 32 pixels."""
    count, rng = len(splits), np.random.default_rng(0)
    facts = {
        "format": 1,
        "complete": True,
        "fingerprint": "0",
        "options": {"crop_px": 32},
        "labels": list(labels),
        "units": [],
        "kind": "images",
        "about": "drawn",
        "shards": 1,
    }
    folder.mkdir()
    (folder / "set.json").write_text(json.dumps(facts))
    np.savez(
        folder / "shard-00000.npz",
        crops=rng.integers(0, 256, (count, 32, 32), np.uint8),
        landmarks=rng.uniform(0, 32, (count, 468, 2)).astype(np.float16),
        times_s=np.zeros(count),
        offset=np.arange(count + 1),
        name=np.array([f"face{row:02d}" for row in range(count)]),
        split=np.array(splits),
        subject=np.array([f"person{row // 2}" for row in range(count)]),
        pose=np.array([""] * count),
        label=(np.arange(count) % len(labels)).astype(np.int16),
        votes=np.zeros((count, 0), np.uint8),
        units=np.zeros((count, 0), np.int8),
    )
    return folder


def test_any_prepared_set_can_be_learned_from(tmp_path: Path) -> None:
    """Splits that a set lacks are drawn from its training part, whole people at a time."""
    made = load_splits(str(write_prepared(tmp_path / "whole", ["all"] * 40)), None)
    parts = (made.train, made.validation, made.test)
    assert [len(part) for part in parts] == [32, 4, 4] and made.labels == ("happiness", "anger")
    people = [{int(name[4:]) // 2 for name in part.names} for part in parts]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    kept = load_splits(str(write_prepared(tmp_path / "split", ["train"] * 20 + ["test"] * 6)), None)
    assert len(kept.test) == 6 and kept.about()["name"] == "drawn"
    shown = FaceImages(kept.train, 32, parsing=Parsing())[Draw(0, 0)]
    assert shown["crop"].shape == (1, 32, 32) and shown["parsed"] == 1
