"""A run of a paper's system as a bundle, a report and a row beside others."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import ferstream
from ferstream.calibration.quantize import Options
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.ort import OrtEngine
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.label_lists import lists_for
from ferstream.training.errors import RunMismatch, RunUnfinished
from ferstream.training.exporting.export import export, onnx_from_network
from ferstream.training.exporting.image import (
    image_modules,
    learned_attention,
    spoiled_clips,
    taught_heads,
)
from ferstream.training.learning.default_learners import AttentionOptions
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import open_system, trained_network
from ferstream.training.measuring.compare import compare
from ferstream.training.measuring.metrics import classifier_figures
from tests.training.conftest import lightning_warns
from tests.training.layout import write_layout
from tests.training.toy_runs import train_toy


@pytest.fixture(scope="module")
def bundle(
    paper_run: RunFolder, tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "slfer"
    return export(paper_run.path, out, str(tiny_dir), options=Options(rounds=0))[0]


@pytest.fixture(scope="module")
def second_run(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Another seed, one epoch."""
    with lightning_warns():
        path = tmp_path_factory.mktemp("paper") / "second"
        return train_toy(path, str(tiny_dir), seed=1, variant="baseline", epochs=1)


def test_the_bundle_says_what_it_is(bundle: Bundle, paper_run: RunFolder) -> None:
    manifest = load_bundle(bundle.path).manifest
    taught = {head.name: head.supervision for head in manifest.heads}
    assert taught["basic8"] == "trained" and taught["emo135"] == taught["fg33"] == "derived"
    assert manifest.head("au").labels == () and "no action units" in manifest.head("au").note
    assert (manifest.name, manifest.crop.px) == ("slfer", 32)
    assert paper_run.about["data"]["fingerprint"] in manifest.training_data
    assert manifest.measured["basic8"]["n"] == 96
    assert manifest.sets is not None


@pytest.mark.parametrize(
    ("labels", "trained"),
    [
        (("neutral", "fear"), "basic8"),
        (load_taxonomy("emo135").labels[:5], "emo135"),
        (load_taxonomy("fg33").labels, "fg33"),
        (load_taxonomy("f2ed54").labels, ""),
    ],
)
def test_only_the_head_that_the_labels_name_is_trained(
    labels: tuple[str, ...], trained: str
) -> None:
    found = taught_heads(lists_for(labels), "synthetic:words")
    assert list(found) == ["basic8", "emo135", "fg33"]
    assert [name for name, (kind, _) in found.items() if kind == "trained"] == [trained] * bool(
        trained
    )
    for kind, told in found.values():
        assert told.startswith(kind)
        assert "synthetic:words" in told or told.startswith("derived: the 135")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_run_within_the_contract(bundle: Bundle, backend: str) -> None:
    for name, spec in bundle.manifest.networks.items():
        engine = open_engine(bundle, name, backend=backend, precision="fp32")
        found = engine.run(spec.example(B=2, T=3))
        spec.check_outputs(found, ranges=True)
        engine.close()


def test_a_clip_is_played(bundle: Bundle) -> None:
    with Recognizer(bundle, threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 3)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    assert len(face.emotions.top(10)) == 10 and face.blendshape_values.shape == (0,)
    assert face.emotions.supervision["emo135"] == "derived"


def test_a_bundle_needs_a_finished_run_on_the_same_data(
    paper_run: RunFolder, tiny_dir: Path, tmp_path: Path
) -> None:
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    about = {**paper_run.about, "finished": None}
    (unfinished / "run.json").write_text(json.dumps(about))
    with pytest.raises(RunUnfinished, match="go on to its end"):
        cli.export(unfinished, tmp_path / "bundle", str(tiny_dir))
    other = write_layout(tmp_path / "data", per_class=2)
    with pytest.raises(RunMismatch, match="name the folder it was trained on"):
        cli.export(paper_run.path, tmp_path / "bundle", str(other))
    assert not (tmp_path / "bundle").exists()


def test_attention_is_learned_where_it_is_asked_for(
    paper_run: RunFolder, tiny_dir: Path, tmp_path: Path
) -> None:
    """On clips of which some frames are spoiled; the system's own weights stay as they are."""
    data = load_splits("fer2013plus", str(tiny_dir))
    network: Any = trained_network(open_system("slfer"), paper_run, 8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    options = AttentionOptions(clips=16, views=4, epochs=1, batch=8)
    with lightning_warns():
        run = RunFolder(tmp_path, paper_run.about)
        attend = learned_attention(network, data, 32, run, options)
    assert attend.kernel.abs().sum() > 0, "it has learned something"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    clips = spoiled_clips(network, data.validation, 32, options, training=False)
    feature = torch.from_numpy(clips["feature"])
    assert feature.shape == (96, 4, network.features) and (clips["spoiled"].sum(1) == 2).all()
    fusion = image_modules(network, lists_for(data.labels), attend)["fusion"]
    spec = contract.fusion(network.features)
    onnx_from_network(fusion, spec, tmp_path / "fusion.onnx")
    engine = OrtEngine(tmp_path / "fusion.onnx", spec, threads=1)
    given = {**spec.example(B=96, T=4), "feature": clips["feature"]}
    wanted = attend(feature, torch.from_numpy(given["mask"]))[1]
    np.testing.assert_allclose(engine.run(given)["attention"], wanted.detach().numpy(), atol=2e-3)
    engine.close()


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_report_stands_alone(paper_run: RunFolder) -> None:
    text = (paper_run.path / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.tags.count("img") == 4 and "script" not in page.tags
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert paper_run.about["data"]["fingerprint"] in text
    figures = paper_run.metrics()["test"]
    assert f"{100 * figures['top1']:.1f} %" in text and "Lambda 1 of eq. 5" in text
    for name in ("confusion_test", "confusion_validation", "curves_joint", "reliability"):
        picture = cv2.imread(str(paper_run.path / f"{name}.png"))
        assert picture is not None and min(picture.shape[:2]) > 300 and picture.std() > 10


def test_runs_side_by_side(
    paper_run: RunFolder,
    second_run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [paper_run.path, second_run.path]
    found = compare(paths)
    assert [row.options["variant"] for row in found.rows] == ["proposed", "baseline"]
    assert "seed" not in found.rows[0].options and len(found.data) == 1
    cli.compare(paths, json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["rows"][0]["test"]["top1"] == paper_run.metrics()["test"]["top1"]
    cli.compare(paths, html=tmp_path / "page.html")
    assert "baseline" in capsys.readouterr().out
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert page.tags.count("tr") == 5 and not page.links
    with pytest.raises(RunUnfinished, match="is no run"):
        compare([tmp_path])


def test_seeds_make_one_row(paper_run: RunFolder, tmp_path: Path) -> None:
    """Two runs alike but for the seed: mean and standard deviation."""
    twin = tmp_path / "twin"
    shutil.copytree(paper_run.path, twin)
    about = json.loads((twin / "run.json").read_text())
    about["options"]["seed"] = 9
    (twin / "run.json").write_text(json.dumps(about))
    metrics = json.loads((twin / "metrics.json").read_text())
    metrics["test"]["top1"] += 0.2
    (twin / "metrics.json").write_text(json.dumps(metrics))
    (row,) = compare([paper_run.path, twin]).rows
    top1 = paper_run.metrics()["test"]["top1"]
    assert row.test["top1"] == pytest.approx(top1 + 0.1)
    assert row.spread["top1"] == pytest.approx(0.2 / 2**0.5) and row.interval is None
    assert len(compare([paper_run.path, twin], by_seed=False).rows) == 2


def test_figures_of_a_known_classifier() -> None:
    target = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    logits = np.log(np.array([[8, 1, 1], [8, 1, 1], [1, 8, 1], [1, 8, 1]], np.float32) / 10)
    found = classifier_figures(logits, target, ("a", "b", "c"))
    assert found["top1"] == 0.75 and found["recall"] == {"a": pytest.approx(2 / 3), "b": 1.0}
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["nll"] == pytest.approx(-(3 * np.log(0.8) + np.log(0.1)) / 4, rel=1e-4)


def test_help_lists_the_system_and_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for line, wanted in (
        (["train", "--help"], ("default", "slfer")),
        (["train", "slfer", "--help"], ("--fast", "--decay-epochs", "Lambda 1", "paper: 0.5")),
    ):
        with pytest.raises(SystemExit, match="0"):
            ferstream.main(line)
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert [word for word in wanted if word not in shown] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["slfer", "--crop-px", "50"], "crop_px is 50"),
        (["slfer", "--decay-epochs", "1,two"], "decay_epochs is '1,two': give whole numbers"),
        (["slfer", "--faces", "nobody"], "no set of faces 'nobody'"),
        (["neighborhood", "--perceived-weights", "1,x"], "is '1,x': give numbers with commas"),
        (["neighborhood", "--perceived-weights", "1,0.5"], "is (1.0, 0.5): it must be three"),
    ],
)
def test_wrong_options_end_in_one_line(
    words: list[str], said: str, tiny_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        ferstream.main(["train", *words, "--fast", "--data", str(tiny_dir)])
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
