"""TMSAU-Net (paper 003, video): trained by one command, measured, exported, taken up, varied."""

from __future__ import annotations

import shutil
from html import escape
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.calibration.probability import softmax
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.ort import OrtEngine
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.synthetic import write_packed
from ferstream.training.errors import OptionsWrong, RunMismatch
from ferstream.training.learning.checkpoint import read_checkpoint
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import open_system, train_system, trained_network
from ferstream.training.networks.clip_streams import ClipFusion, ClipNetwork, LabelRollUp
from ferstream.training.papers.msau.clip_figures import frame_features, fusion_curve, motion_of
from ferstream.training.systems.tmsau import AttentionLearner, TemporalLearner, tmsau_stages
from ferstream.training.systems.tmsau_options import TmsauOptions, frames_px, trained_frames
from tests.training.conftest import lightning_warns
from tests.training.tiny_head import tiny_kit
from tests.training.toy_runs import train_by_command

TOY: dict[str, Any] = {
    "faces": "synthetic",
    "limit": 72,
    "frames": 6,
    "fields": 4,
    "clip_px": 32,
    "stills": 1,
    "crop_px": 74,
    "frames_width": 0.1,
    "frames_batch": 16,
    "unit_epochs": 1,
    "frames_epochs": 1,
    "temporal_epochs": 2,
    "epochs": 2,
    "batch": 8,
    "stream_px": 64,
    "width": 0.03,
    "reduced": 16,
    "optimizer": "adamw",
    "rate": 1e-2,
    "precision": "fp32",
}
SYSTEM = open_system("tmsau")


@pytest.fixture(scope="module")
def head_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("head")
    (folder / "ict_facekit").mkdir()
    write_packed(tiny_kit(), folder / "ict_facekit" / "ict_facekit.npz")
    return str(folder)


@pytest.fixture(scope="module")
def run(head_dir: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run by the one command; tests leave it as it is."""
    path = tmp_path_factory.mktemp("tmsau") / "run"
    with lightning_warns():
        return train_by_command("tmsau", path, head_dir, TOY)


@pytest.fixture(scope="module")
def bundle(run: RunFolder, head_dir: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "tmsau"
    cli.export(run.path, out, head_dir)
    return load_bundle(out)


def options_of(**changes: Any) -> TmsauOptions:
    return TmsauOptions(**{**TOY, **changes})


def trained(path: Path, head_dir: str, **changes: Any) -> RunFolder:
    with lightning_warns():
        return train_system(SYSTEM, options_of(**changes), path, head_dir)


def state(run: RunFolder, stage: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(run.checkpoint(stage))["state_dict"]
    return found


def test_what_is_measured(run: RunFolder) -> None:
    """The weight is the validation curve's best, and the figures are of that fusion."""
    metrics, said = run.metrics(), run.predictions()
    label = said["validation_target"].argmax(axis=1)
    streams = [softmax(said[f"validation_{name}"]) for name in ("spatial", "temporal")]
    weight = fusion_curve(streams[0], streams[1], label).best
    assert metrics["fusion"]["spatial_weight"] == weight
    spatial, temporal = (softmax(said[f"test_{name}"]) for name in ("spatial", "temporal"))
    mixed = weight * spatial + (1 - weight) * temporal
    np.testing.assert_allclose(np.exp(said["test_logits"]), mixed, atol=1e-5)
    truth = said["test_target"].argmax(axis=1)
    assert metrics["test"]["top1"] == pytest.approx((mixed.argmax(1) == truth).mean())
    for name, stream in (("spatial", spatial), ("temporal", temporal)):
        assert metrics["test"][f"{name}_top1"] == pytest.approx((stream.argmax(1) == truth).mean())
    np.testing.assert_allclose(said["test_attention"].sum(axis=1), 1, atol=1e-5)
    assert {"six_top1", "attention_follows_level"} <= metrics["test"].keys()


def test_the_report_shows_the_curve_and_says_synthetic(run: RunFolder) -> None:
    metrics = run.metrics()
    page = (run.path / "report.html").read_text("utf-8")
    assert set(metrics["pictures"]) == {"fusion_curve.png", "attention.png"}
    assert all((run.path / name).stat().st_size > 5_000 for name in metrics["pictures"])
    assert len(metrics["tables"]) == 2
    for told in (*metrics["tables"], *metrics["pictures"].values()):
        assert escape(told) in page and "synthetic" in told
    (streams,) = (t for title, t in metrics["tables"].items() if title.startswith("Streams"))
    assert {"spatial stream", "temporal stream", "spatial stream, last frame alone"} <= {
        row[0] for row in streams["rows"]
    }


def test_earlier_stages_stay_as_they_are(run: RunFolder) -> None:
    """MSAU-Net's weights are fixed while the attention learns (V-B), and so is the motion's."""
    whole = state(run, "attention")
    for stage, part in (("joint", "frames"), ("temporal", "streams.temporal")):
        kept = {n.removeprefix("network."): v for n, v in state(run, stage).items()}
        found = {
            name.removeprefix(f"network.{part}."): value
            for name, value in whole.items()
            if name.startswith(f"network.{part}.")
        }
        assert found.keys() == kept.keys()
        assert all(torch.equal(value, kept[name]) for name, value in found.items())
    assert whole["network.streams.spatial.attend.kernel"].abs().sum() > 0, "it has learned"


def test_what_each_stage_learns(run: RunFolder, head_dir: str) -> None:
    options = options_of()
    data = SYSTEM.data(options, head_dir)
    stages = {stage.name: stage for stage in tmsau_stages(options, data, run)}  # type: ignore[arg-type]
    assert list(stages) == ["units", "joint", "temporal", "attention"]
    learner = stages["attention"].learner()
    assert isinstance(learner, AttentionLearner)
    learning = {name for name, p in learner.network.named_parameters() if p.requires_grad}
    assert learning and all(name.startswith("streams.spatial.") for name in learning)
    learner.train()
    assert learner.network.streams.spatial.training and not learner.network.frames.training
    motion = stages["temporal"].learner()
    assert isinstance(motion, TemporalLearner)
    batch = {"motion": torch.randn(3, 8, 32, 32), "target": torch.eye(8)[:3]}
    motion.eval()
    with torch.no_grad():
        loss, parts = motion.losses({**batch, "counts": torch.ones(3)})
    assert set(parts) == {"leaf", "basic"}
    assert loss == pytest.approx(0.5 * parts["leaf"] + 0.5 * parts["basic"])


def test_taken_up_after_a_stop_it_ends_the_same(
    run: RunFolder, head_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within the motion's second epoch, then within the attention's."""
    place = tmp_path / "run"
    for stage in ("units", "joint"):
        shutil.copytree(run.path / stage, place / stage)
    for learner in (TemporalLearner, AttentionLearner):
        scores = learner.losses

        def stopped(self: Any, batch: Any, scores: Any = scores) -> Any:
            if self.global_step == 12:
                raise KeyboardInterrupt
            return scores(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(learner, "losses", stopped)
            with pytest.raises((KeyboardInterrupt, SystemExit)):
                trained(place, head_dir, save_every_min=0)
        stage = "temporal" if learner is TemporalLearner else "attention"
        assert 9 < read_checkpoint(place / stage / "last.ckpt")["global_step"] <= 12
    again = trained(place, head_dir)
    for stage in ("temporal", "attention"):
        alone, resumed = state(run, stage), state(again, stage)
        assert all(torch.equal(value, resumed[name]) for name, value in alone.items())
    for name, value in run.predictions().items():
        np.testing.assert_array_equal(value, again.predictions()[name])


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"variant": "two-stream"}, {"frames", "temporal", "attention"}),
        ({"variant": "nan"}, {"attention"}),
        ({"back_end": "vgg16-lstm", "fusion": "0.7"}, {"temporal", "attention"}),
        ({"back_end": "c3d-lstm", "attention": "mean"}, {"temporal", "attention"}),
    ],
)
def test_every_row_of_the_tables(
    run: RunFolder, head_dir: str, tmp_path: Path, changes: dict[str, Any], stages: set[str]
) -> None:
    """Table II and V; MSAU-Net is the other run's, where there is one."""
    given = {"epochs": 1, "temporal_epochs": 1, "rate": 1e-3, **changes}
    taken = "" if changes.get("variant") == "two-stream" else str(run.path)
    done = trained(tmp_path / "run", head_dir, msau=taken, **given)
    assert {path.parent.name for path in done.path.glob("*/last.ckpt")} == stages
    metrics, network = done.metrics(), trained_network(SYSTEM, done, 8)
    assert isinstance(network, ClipNetwork)
    assert (network.streams.temporal is None) == (changes.get("variant") == "nan")
    assert ("temporal_top1" in metrics["test"]) == (changes.get("variant") != "nan")
    if changes.get("variant") == "nan":
        assert metrics["fusion"]["spatial_weight"] == 1 and len(metrics["tables"]) == 1
    if "fusion" in changes:
        assert metrics["fusion"]["spatial_weight"] == 0.7
    even = changes.get("variant") == "two-stream" or changes.get("attention") == "mean"
    attention = done.predictions()["test_attention"]
    assert np.allclose(attention, 1 / TOY["frames"]) == even
    if taken:
        frames = state(done, "attention")
        for name, value in state(run, "joint").items():
            key = name.replace("network.", "network.frames.", 1)
            assert torch.equal(value, frames[key])
    if changes.get("back_end"):
        with pytest.raises(OptionsWrong, match="--back-end flow, or --variant nan"):
            cli.export(done.path, tmp_path / "bundle", head_dir)


def test_the_bundle_says_and_plays(bundle: Bundle, run: RunFolder) -> None:
    manifest = bundle.manifest
    assert manifest.fusion == {"spatial_weight": run.metrics()["fusion"]["spatial_weight"]}
    assert manifest.motion.fields == TOY["fields"] and manifest.crop.px == TOY["crop_px"]
    for head in ("basic8", "emo135"):
        assert "fused in training's own labels" in manifest.head(head).note
    assert "synthetic" in manifest.training_data and "synthetic" in manifest.measured["data"]
    with Recognizer(bundle, threads=1) as recognizer:
        frames = islice(open_source("sample").frames(), 0, 36, 3)
        results = [recognizer.process(frame) for frame in frames]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    assert 0 < face.attention <= 1 and (face.zoom >= 0).all() and (face.zoom <= 1).all()


def test_the_bundle_is_the_run(bundle: Bundle, run: RunFolder, head_dir: str) -> None:
    """Features, motion, attention and fusion through ONNX are those of the trained network."""
    data, options = SYSTEM.data(options_of(), head_dir), options_of()
    clips = data.test  # type: ignore[attr-defined]
    network = trained_network(SYSTEM, run, 8)
    assert isinstance(network, ClipNetwork)
    streams, rows = network.streams, np.arange(6)
    feature = torch.from_numpy(frame_features(network.frames, clips, TOY["crop_px"])[rows]).float()
    motion = motion_of(clips, rows, options)
    assert streams.temporal is not None
    with torch.no_grad():
        reduced = streams.spatial.reduce(feature)
        spatial, attention = streams.spatial(feature, torch.ones(6, TOY["frames"]))
        temporal = streams.temporal(torch.from_numpy(motion)).leaf.softmax(1).numpy()
    onnx, specs = run.path / "onnx", bundle.manifest.networks
    crops = clips.crops(rows, TOY["crop_px"])[:, 2]
    seen = OrtEngine(onnx / "spatial.onnx", specs["spatial"], threads=1).run({"crop": crops})
    np.testing.assert_allclose(seen["feature"], reduced[:, 2].numpy(), atol=0.03)
    heard = OrtEngine(onnx / "temporal.onnx", specs["temporal"], threads=1).run({"motion": motion})
    np.testing.assert_allclose(softmax(heard["basic8"]), temporal, atol=0.01)
    np.testing.assert_allclose(softmax(heard[contract.OWN]), temporal, atol=0.01)
    given = {
        "feature": reduced.numpy(),
        "mask": np.ones((6, TOY["frames"]), np.float32),
        "temporal": heard["basic8"],
        contract.motion_input(contract.OWN): heard[contract.OWN],
        "has_motion": np.ones((6, 1), np.float32),
    }
    fused = OrtEngine(onnx / "fusion.onnx", specs["fusion"], threads=1).run(given)
    weight = run.metrics()["fusion"]["spatial_weight"]
    wanted = weight * spatial.leaf.softmax(1).numpy() + (1 - weight) * temporal
    np.testing.assert_allclose(softmax(fused["basic8"]), wanted, atol=0.01)
    np.testing.assert_allclose(fused["attention"], attention.numpy(), atol=0.01)


def test_motion_moves_the_words_leaf_by_leaf() -> None:
    """Frames torn between two leaves, motion sure of one: the words follow, and half as far where
    motion is half heard."""
    leaves, weight = ("amusement", "pride"), 0.4
    shares, eight = torch.zeros(2, 135), torch.zeros(2, 8)
    words = load_taxonomy("emo135").labels
    for row, leaf in enumerate(leaves):
        shares[row, words.index(leaf)] = 1
        eight[row, 1] = 1  # both are happiness: only the leaves tell them apart

    class Torn(torch.nn.Module):
        def attend(self, feature: Any, mask: Any) -> Any:
            return feature.mean(1), mask / mask.sum(1, keepdim=True)

        def heads(self, clip: Any) -> Any:
            return SimpleNamespace(leaf=torch.zeros(len(clip), 2))

    fusion: Any = ClipFusion(Torn(), LabelRollUp(eight, shares), weight)  # type: ignore[arg-type]
    own = torch.tensor([[20.0, 0.0]]).expand(3, 2)
    heard = torch.tensor([[0.0], [0.5], [1.0]])
    basic8, said, _ = fusion(torch.zeros(3, 2, 4), torch.ones(3, 2), torch.zeros(3, 8), heard, own)
    found = said.softmax(1)[:, [words.index(leaf) for leaf in leaves]]
    torch.testing.assert_close(found[:, 0], torch.tensor([0.5, 0.65, 0.8]), atol=1e-3, rtol=0)
    torch.testing.assert_close(basic8.softmax(1)[:, 1], torch.ones(3), atol=1e-3, rtol=0)


def test_another_run_must_fit(run: RunFolder, head_dir: str, tmp_path: Path) -> None:
    taken = options_of(msau=str(run.path))
    assert frames_px(taken) == TOY["crop_px"]
    with pytest.raises(OptionsWrong, match="tells 8 labels apart"):
        trained_frames(taken, ("happiness", "sadness"), run)
    with pytest.raises(RunMismatch, match="limit 72, not 16"):
        trained(run.path, head_dir, limit=16)
    borrowed = tmp_path / "borrowed"
    shutil.copytree(run.path, borrowed)
    text = (borrowed / "run.json").read_text().replace('"msau": ""', '"msau": "elsewhere"')
    (borrowed / "run.json").write_text(text)
    with pytest.raises(OptionsWrong, match="has trained no MSAU-Net"):
        frames_px(options_of(msau=str(borrowed)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "tmsao"}, "there are tmsau, two-stream, nan"),
        ({"back_end": "lstm"}, "there are flow, vgg16-lstm, c3d-lstm"),
        ({"fusion": "1.5"}, "validation, or a number from 0 to 1"),
        ({"fields": 6}, "clips of 6 frames have 5"),
        ({"crop_px": 75}, "multiple of 16"),
        ({"stream_px": 30}, "flow takes 51 pixels"),
        ({"back_end": "vgg16-lstm", "stream_px": 40}, "a multiple of 32"),
        ({"variant": "two-stream", "msau": "run"}, "leave --msau out"),
        ({"basic_classes": 3}, "--basic-classes 6"),
        ({"faces": "fer2013plus"}, "no set of clips"),
    ],
)
def test_wrong_options_end_in_one_line(
    head_dir: str, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionsWrong, match=said) as caught:
        trained(tmp_path / "run", head_dir, **changes)
    assert "\n" not in str(caught.value)
