"""The Recognizer on real faces, with functions for networks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.engines import contract
from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import Array, Tensors
from ferstream.engines.engine import Engine
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.manifest import Crop, Motion
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer, Result
from tests.engines import tiny

from ..engines.function import FunctionEngine
from .footage import at_rate, frames_of, pictures_of

FEATURES, CLIP_FRAMES = 2, 32
SPECS = {
    "spatial": contract.spatial(FEATURES),
    "temporal": contract.temporal(),
    "fusion": contract.fusion(FEATURES),
}
BUNDLE = Bundle(
    Path("nowhere"),
    tiny.manifest(
        crop=Crop(48, "grey", "eyes-and-nose"),
        clip_frames=CLIP_FRAMES,
        motion=Motion(32, 8, 0.1, still=-1.0, moving=0.0),  # also a still face is heard
        networks=SPECS,
    ),
)


class Networks:
    """Functions that stand in for the networks and note what they are given.

    The crop's brightness is the feature and moves the frame's happiness; motion says surprise;
    the clip's happiness is the mean of the features, its attention even.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.inputs: dict[str, dict[str, NDArray[np.generic]]] = {}
        functions = {"spatial": self.spatial, "temporal": self.temporal, "fusion": self.fusion}
        self.engines = {
            name: FunctionEngine(SPECS[name], self.noting(name, function))
            for name, function in functions.items()
        }

    def noting(
        self, name: str, function: Callable[[Tensors], dict[str, Array]]
    ) -> Callable[[Tensors], dict[str, Array]]:
        def noted(inputs: Tensors) -> dict[str, Array]:
            self.calls.append(name)
            self.inputs[name] = {tensor: array.copy() for tensor, array in inputs.items()}
            return function(inputs)

        return noted

    @staticmethod
    def spatial(inputs: Tensors) -> dict[str, Array]:
        bright_B = inputs["crop"].mean((1, 2, 3)) / 255
        size = len(bright_B)
        basic8 = np.zeros((size, 8), np.float32)
        basic8[:, 1] = 10 * bright_B
        return {
            "feature": np.stack([bright_B, np.ones(size)], 1).astype(np.float32),
            "basic8": basic8,
            "emo135": np.zeros((size, 135), np.float32),
            "au": np.full((size, 52), 0.25, np.float32),
            "zoom": np.full((size, 2), 0.5, np.float32),
        }

    @staticmethod
    def temporal(inputs: Tensors) -> dict[str, Array]:
        basic8 = np.zeros((len(inputs["motion"]), 8), np.float32)
        basic8[:, 2] = 5
        return {"basic8": basic8}

    @staticmethod
    def fusion(inputs: Tensors) -> dict[str, Array]:
        mask_BT = inputs["mask"]
        attention_BT = mask_BT / mask_BT.sum(1, keepdims=True)
        basic8 = inputs["temporal"] * inputs["has_motion"]
        basic8[:, 1] += 10 * (attention_BT * inputs["feature"][..., 0]).sum(1)
        emo135 = np.zeros((len(mask_BT), 135), np.float32)
        return {"basic8": basic8, "emo135": emo135, "attention": attention_BT}


@pytest.fixture
def networks() -> Networks:
    return Networks()


@pytest.fixture
def recognizer(networks: Networks) -> Iterator[Recognizer]:
    with Recognizer(BUNDLE, engines=networks.engines) as recognizer:
        yield recognizer


class Starting:
    """An engine that starts without waiting, as those on a GPU do."""

    overlaps = True

    def __init__(self, engine: Engine, log: list[str]) -> None:
        self.spec, self.backend, self.precision = engine.spec, engine.backend, engine.precision
        self._engine, self._log = engine, log

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        self._log.append(f"start {self.spec.name}")

        def finish() -> dict[str, Array]:
            self._log.append(f"finish {self.spec.name}")
            return self._engine.run(inputs)

        return finish

    def run(self, inputs: Tensors) -> dict[str, Array]:
        return self.start(inputs)()

    def close(self) -> None:
        self._engine.close()


def test_both_streams_are_under_way_at_once_where_engines_can(
    clips_dir: Path, networks: Networks, recognizer: Recognizer
) -> None:
    log: list[str] = []
    overlapping = {name: Starting(engine, log) for name, engine in networks.engines.items()}
    with Recognizer(BUNDLE, engines=overlapping) as other:
        for frame in itertools.islice(frames_of(clips_dir / "single_face.mp4"), 30):
            one, two = recognizer.process(frame), other.process(frame)
            assert one.to_json() == two.to_json()
    together = ["start spatial", "start temporal", "finish spatial", "finish temporal"]
    assert any(log[at : at + 4] == together for at in range(len(log)))


def test_one_face_from_the_first_frame_to_the_last(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    results = [recognizer.process(f) for f in frames_of(clips_dir / "single_face.mp4")]
    assert [result.frame for result in results] == list(range(72))
    assert {len(result.faces) for result in results} == {1}
    stages = {"detect", "align", "flow", "spatial", "temporal", "fusion"}
    assert all(set(result.stages_ms) == stages for result in results)
    assert all(ms >= 0 for result in results for ms in result.stages_ms.values())
    assert networks.calls.count("spatial") == networks.calls.count("fusion") == 72
    # 30 frames a second: a field every third frame, the first stack with the third field
    assert networks.calls.count("temporal") == 71 // 3 - 2
    (face,) = results[-1].faces
    assert face.blendshape_values.shape == (52,)
    assert face.zoom.shape == (2,)
    kept = int(networks.inputs["fusion"]["mask"].sum())
    assert 28 <= kept <= CLIP_FRAMES
    assert face.attention == pytest.approx(1 / kept)


def test_a_video_s_frames_take_turns_as_they_are_and_mirrored(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    turned, sides = Networks(), []
    mirrored = replace(BUNDLE, manifest=replace(BUNDLE.manifest, mirrored=True))
    with Recognizer(mirrored, engines=turned.engines) as other:
        for frame in itertools.islice(frames_of(clips_dir / "single_face.mp4"), 12):
            one, two = recognizer.process(frame), other.process(frame)
            plain, shown = (of.inputs["spatial"]["crop"] for of in (networks, turned))
            mirror = plain[..., ::-1]
            if frame.index == 0:
                np.testing.assert_array_equal(shown, np.concatenate([plain, mirror]))
            else:
                sides.append(np.array_equal(shown, mirror))
                assert sides[-1] or np.array_equal(shown, plain)
            # Functions of brightness do not mind which side they see.
            assert [face.emotions.label for face in one.faces] == [
                face.emotions.label for face in two.faces
            ]
    assert len(sides) == 11 and 4 <= sum(sides) <= 7, "half of them each"


def test_crops_and_motion_reach_the_networks_as_agreed(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    for at, frame in enumerate(frames_of(clips_dir / "three_faces.mp4")):
        result = recognizer.process(frame)
        crops = networks.inputs["spatial"]["crop"]
        # A clip's first frame has nothing before it to be read with: two more views of each.
        assert crops.shape == (3 if at else 9, 1, 48, 48)
        crops = crops[:: len(crops) // 3]
        assert crops.dtype == np.uint8
        for crop, face in zip(crops, result.faces, strict=True):
            assert np.mean(crop) / 255 == pytest.approx(face.quality.brightness, abs=0.03)
    motion = networks.inputs["temporal"]["motion"]
    assert motion.shape == (3, 16, 32, 32)
    assert 0 < np.abs(motion).max() < 5
    np.testing.assert_array_equal(networks.inputs["fusion"]["has_motion"], np.ones((3, 1)))


def test_the_clip_remembers_the_frame_does_not(clips_dir: Path, recognizer: Recognizer) -> None:
    bright = pictures_of(clips_dir / "single_face.mp4")[0]
    dim = (bright // 2).astype(np.uint8)
    *_, last = (recognizer.process(f) for f in at_rate([bright] * 10 + [dim], 10))
    (face,) = last.faces
    lately, now = face.emotions.basic8, face.frame_emotions.basic8
    assert lately["happiness"] / lately["neutral"] > 1.2 * now["happiness"] / now["neutral"]
    assert lately["surprise"] > 2 * now["surprise"], "what motion says"


def test_nobody_there_is_a_result_without_a_network_run(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    for frame in frames_of(clips_dir / "no_face.mp4"):
        assert recognizer.process(frame).faces == []
    assert networks.calls == []


def test_many_sources_are_one_batch_with_faces_of_their_own(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    clips = {name: pictures_of(clips_dir / name) for name in CLIPS}
    for index in range(12):
        frames = [Frame(p[index], index / 10, index, name) for name, p in clips.items()]
        results = recognizer.process_many(frames)
        assert [result.source for result in results] == list(CLIPS)
        assert [[f.face.id for f in r.faces] for r in results] == [[1], [1, 2], [], [1, 2, 3]]
        assert networks.calls[-1] == "fusion"
        assert len(networks.inputs["fusion"]["mask"]) == 6
    assert networks.calls.count("spatial") == 12
    with Recognizer(BUNDLE, engines=Networks().engines) as alone:
        for index in range(12):
            (together,) = (r for r in results if r.source == "two_faces.mp4")
            picture = clips["two_faces.mp4"][index]
            result = alone.process(Frame(picture, index / 10, index, "two_faces.mp4"))
    assert numbers(result) == numbers(together)


CLIPS = ("single_face.mp4", "two_faces.mp4", "no_face.mp4", "three_faces.mp4")


def numbers(result: Result) -> list[dict[str, float]]:
    return [{**f.emotions.basic8, "attention": f.attention} for f in result.faces]


def test_two_frames_of_one_source_are_refused_together(recognizer: Recognizer) -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="two frames of one source"):
        recognizer.process_many([Frame(picture, t, t, "one") for t in (0, 1)])
    assert recognizer.process_many([]) == []


def test_reset_forgets_clips_and_keeps_counting_ids(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    picture = pictures_of(clips_dir / "single_face.mp4")[0]
    for source in ("one", "other"):
        for frame in at_rate([picture] * 8, 10, source):
            recognizer.process(frame)
    recognizer.reset("one")
    (face,) = recognizer.process(Frame(picture, 0.8, 8, "one")).faces
    assert face.id == 2
    assert face.attention == 1.0
    assert not networks.inputs["fusion"]["has_motion"].any()
    (face,) = recognizer.process(Frame(picture, 0.8, 8, "other")).faces
    assert face.id == 1
    assert face.attention == pytest.approx(1 / 9)


def test_a_dropout_restarts_motion_but_not_the_clip(
    clips_dir: Path, recognizer: Recognizer, networks: Networks
) -> None:
    picture = pictures_of(clips_dir / "single_face.mp4")[0]
    for index in range(10):
        recognizer.process(Frame(picture, index / 10, index, "x"))
    assert networks.inputs["fusion"]["has_motion"].all()
    (face,) = recognizer.process(Frame(picture, 1.3, 13, "x")).faces
    assert face.attention == pytest.approx(1 / 11) and face.among == 11
    assert not networks.inputs["fusion"]["has_motion"].any()


def test_memory_does_not_grow_with_faces_that_are_gone(
    clips_dir: Path, recognizer: Recognizer
) -> None:
    picture = pictures_of(clips_dir / "single_face.mp4")[0]
    for visit in range(6):  # each after more than the tracker's patience: a new id
        recognizer.process(Frame(picture, 5.0 * visit, visit, "x"))
    assert [len(faces) for faces in recognizer._scorer.memory._faces.values()] == [1]


def test_rows_are_plain_json(clips_dir: Path, recognizer: Recognizer) -> None:
    frames = list(frames_of(clips_dir / "noface_face.mov"))[94:98]
    rows = [json.loads(json.dumps(recognizer.process(f).to_json(top=4))) for f in frames]
    assert [len(row["faces"]) for row in rows] == [0, 0, 1, 1]
    assert all(row["schema"] == 2 and row["source"] == "noface_face.mov" for row in rows)
    assert [row["frame"] for row in rows] == [94, 95, 96, 97]
    (face,) = rows[-1]["faces"]
    assert list(face) == [
        "id", "box", "quality", "label", "neutral", "intensity", "uncertain", "basic8",
        "families", "top", "attention", "frame_emotions",
    ]  # fmt: skip
    assert len(face["top"]) == 4


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        (Crop(48, "rgb", "eyes-and-nose"), "rgb crops"),
        (Crop(48, "grey", "ears"), "aligned as 'ears', this version knows eyes-and-nose"),
    ],
)
def test_crops_that_nobody_makes_are_refused(crop: Crop, said: str) -> None:
    bundle = Bundle(Path("nowhere"), tiny.manifest(crop=crop))
    with pytest.raises(ContractMismatch, match=said):
        Recognizer(bundle, engines=Networks().engines)


def test_a_bundles_own_networks_are_opened(tmp_path: Path, clips_dir: Path) -> None:
    """The tiny bundle of real ONNX files, with features of the sizes run time makes."""
    specs = {
        "spatial": contract.spatial(tiny.FEATURES, crop_px=tiny.CROP_PX),
        "fusion": contract.fusion(tiny.FEATURES),
    }
    temporal = Networks().engines["temporal"]
    bundle = tiny.bundle(tmp_path / "bundle")
    with Recognizer(bundle.path, "onnxruntime", "fp32", engines={"temporal": temporal}) as tested:
        assert {tested.engines[name].backend for name in specs} == {"onnxruntime"}
        frame = next(frames_of(clips_dir / "two_faces.mp4"))
        result = tested.process(frame)
    assert len(result.faces) == 2
    for face in result.faces:
        assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-5)
        assert face.attention == pytest.approx(1)
