"""A trained run to a bundle that run time accepts, on the tiny data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ferstream.calibration import heads as measured_heads
from ferstream.calibration.data import labelled_faces, photographs
from ferstream.calibration.gate import Budget
from ferstream.calibration.outputs import photograph_logits
from ferstream.calibration.probability import fit_temperature, softmax
from ferstream.calibration.quantize import Options
from ferstream.engines.bundle import load_bundle, write_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.manifest import NETWORKS
from ferstream.training.datasets.fer import BASIC8, FerPlus, load_fer_plus
from ferstream.training.datasets.judged import judged_columns
from ferstream.training.datasets.synthetic.expressions import ARKIT_NAMES
from ferstream.training.errors import RunUnfinished
from ferstream.training.exporting.assemble import WEIGHTS, fold, sampled_prior
from ferstream.training.exporting.default import quantization_samples, quantized_with, taught_by
from ferstream.training.exporting.export import export, with_int8, with_probabilities
from ferstream.training.learning.run_folder import current_commit, open_run
from ferstream.training.learning.system import DONE
from ferstream.training.measuring.evaluate import figures
from ferstream.training.systems.default import DefaultOptions, trained_spatial
from tests.training.conftest import SMALL, Exported


def test_the_bundle_is_accepted(exported: Exported) -> None:
    bundle = load_bundle(exported[0].path)
    assert bundle.precisions("spatial") == bundle.precisions("temporal") == ("fp32", "int8")
    assert bundle.precisions("fusion") == ("fp32",)
    assert bundle.size_bytes < 12e6


def test_the_manifest_says_what_is_in_it(exported: Exported) -> None:
    manifest = exported[0].manifest
    supervision = {head.name: head.supervision for head in manifest.heads}
    assert supervision == {
        "basic8": "trained",
        "emo135": "machine-judged",
        "affect": "machine-judged",
        "fg33": "machine-judged",
        "au": "weakly supervised",
        "family6": "derived",
    }
    assert manifest.head("basic8").labels == BASIC8
    assert manifest.head("au").labels == ARKIT_NAMES
    assert all(head.note for head in manifest.heads)
    assert manifest.crop.px == 48 and manifest.motion.fields == 8
    assert manifest.commit == current_commit()
    assert "FER" in manifest.training_data and manifest.licence
    assert "distillation" not in manifest.training_data
    told = taught_by(replace(DefaultOptions(), teachers="old, default", teacher_share=0.25))
    assert told == (
        "; 25 % of the labels of the FER2013 photographs are answers of 2 earlier bundles "
        "(distillation)"
    )


def test_every_engine_runs_within_the_contract(exported: Exported) -> None:
    bundle = exported[0]
    for name, spec in bundle.manifest.networks.items():
        for precision in bundle.precisions(name):
            engine = open_engine(bundle, name, backend="onnxruntime", precision=precision)
            found = engine.run(spec.example(B=2, T=3))
            spec.check_outputs(found, ranges=True)
            engine.close()


def test_the_figures_are_those_of_the_bundle(exported: Exported, tiny_dir: Path) -> None:
    test = load_fer_plus("test", tiny_dir)
    found = figures(exported[0], test.subset(test.rated), backend="auto", precision="auto")
    measured = exported[0].manifest.measured
    assert "FER+" in measured["data"]
    for head in ("basic8", "emo135"):
        recall = found[head].pop("recall", {}), measured[head].get("recall", {})
        assert recall[0] == pytest.approx(recall[1])
        for name, value in found[head].items():
            assert measured[head][name] == pytest.approx(value, abs=1e-6), name


def test_how_it_was_put_together_is_kept(exported: Exported, trained: Path) -> None:
    report = exported[1]
    assert set(report["fusion"]) == set(WEIGHTS)
    weight = exported[0].manifest.fusion["spatial_weight"]
    assert weight == report["weight"] == min(WEIGHTS, key=lambda w: report["fusion"][w]["nll"])
    stored = json.loads((trained / "assembly.json").read_text())
    assert set(stored) == set(report)


def test_a_photograph_keeps_its_spatial_scores(
    exported: Exported, trained: Path, tiny: FerPlus
) -> None:
    """Mirroring, priors and temperatures go through: the bundle gives the network's scores."""
    bundle, report = exported
    crops = tiny.crops(48)
    logits = photograph_logits(bundle, crops, backend="onnxruntime", precision="fp32")[0]
    network, heads = trained_spatial(SMALL, open_run(trained)), report["heads"]
    with torch.no_grad():
        sides = torch.from_numpy(crops), torch.from_numpy(crops[..., ::-1].copy())
        plain = torch.stack([network(side).logits for side in sides]).mean(0).numpy()
    offset = -heads["prior"] * np.log(prior_of_sampler(tiny))
    offset[0] += heads["neutral_shift"]
    wanted = softmax((plain + offset) / heads["basic8_temperature"])
    np.testing.assert_allclose(softmax(logits), wanted, atol=0.01)


def prior_of_sampler(data: FerPlus) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How much more often than in the data each emotion was shown."""
    rated = data.subset(data.rated)
    share = rated.votes.mean(axis=0)
    weight = rated.votes @ (1 / share) ** 0.4
    shown = (rated.votes * weight[:, None]).sum(0) / weight.sum()
    return np.asarray(shown / share, np.float64)


def test_the_samplers_prior(tiny: FerPlus, tiny_dir: Path) -> None:
    np.testing.assert_allclose(
        sampled_prior(str(tiny_dir), SMALL.balance), np.log(prior_of_sampler(tiny)), atol=1e-4
    )


def test_temperatures_are_fitted_on_the_deployed_outputs(
    exported: Exported, judged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sure and mostly right outputs in place of those of a network that learned for a moment."""
    shutil.copytree(exported[0].path, tmp_path / "bundle")
    faces = photographs("validation", str(judged_dir), 48)
    validation = faces.data
    rng, label = np.random.default_rng(0), validation.majority
    basic8 = 6 * np.eye(8)[label] + rng.normal(0, 4, (len(label), 8))
    named = judged_columns(validation, judged_dir, "validation").words > 0
    emo135 = np.where(named, 8.0, -8.0) + rng.normal(0, 4, named.shape)
    outputs = {"basic8": basic8, "emo135": emo135}
    for name, answer in (
        ("photograph_outputs", (outputs, "onnxruntime", "int8")),
        ("photograph_logits", (basic8, emo135, "onnxruntime", "int8")),
    ):
        monkeypatch.setattr(measured_heads, name, lambda *given, answer=answer: answer)
    known = labelled_faces(faces, str(judged_dir))
    again = with_probabilities(load_bundle(tmp_path / "bundle"), known)
    before = exported[0].manifest
    heads = {head.name: head.temperature for head in again.manifest.heads}
    best = fit_temperature(basic8, np.eye(8)[label])
    assert 1.2 < best < 4 and heads["basic8"] == round(best, 4)
    words = again.manifest.head("emo135")
    assert words.calibrator is not None and words.calibrator.kind == "logistic"
    said = words.probabilities(emo135)
    assert abs(said.mean() - named.mean()) < 0.002, "as many are said as are named"
    assert heads["fg33"] == before.head("fg33").temperature
    assert again.manifest.files == before.files
    assert load_bundle(tmp_path / "bundle").manifest == again.manifest


@torch.no_grad()
def test_folding_a_prior_and_a_temperature() -> None:
    head, feature = nn.Linear(5, 8), torch.randn(4, 5)
    before, prior = head(feature), torch.randn(8)
    fold(head, 2.0, prior)
    torch.testing.assert_close(head(feature), (before + prior) / 2)
    fold(head, 0.5)
    torch.testing.assert_close(head(feature), before + prior)


def test_quantization_samples_hold_every_emotion(trained: Path, tiny_dir: Path) -> None:
    crops, motion = quantization_samples(trained / "temporal", str(tiny_dir), each=4)
    assert crops.shape == (32, 1, 48, 48) and crops.dtype == np.uint8
    assert motion.shape == (32, 16, 32, 32) and motion.dtype == np.float32
    everything = quantization_samples(trained / "temporal", str(tiny_dir))
    assert len(everything[0]) == 96 and len(everything[1]) == 64


def test_int8_forms_went_through_the_gate(exported: Exported) -> None:
    bundle, report = exported
    for network in ("spatial", "temporal"):
        known = bundle.manifest.calibration["int8"][network]
        assert known["gate"] == report["int8"][network] and known["gate"]["passed"]
        assert known["gate"]["n"] > 50 and len(known["fingerprint"]) == 64


def test_a_form_that_costs_too_much_is_left_out(
    exported: Exported, trained: Path, tiny_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported[0].path, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    floats = {f"{n}.onnx": (bundle.path / f"{n}.onnx").read_bytes() for n in NETWORKS}
    plain = write_bundle(bundle.path, bundle.manifest, floats)
    strict = Options(rounds=0, sweep=False, budget=Budget(kl=-1.0))
    data = quantized_with(plain, trained / "temporal", str(tiny_dir))
    left, verdicts = with_int8(plain, data, strict)
    assert left.precisions("spatial") == left.precisions("temporal") == ("fp32",)
    assert all("KL to float rises" in " ".join(v["failures"]) for v in verdicts.values())


def test_a_run_without_a_stage_is_not_exported(
    trained: Path, judged_dir: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for lacking in ("attention", "heads", "joint"):
        (run / lacking / DONE).unlink()
        with pytest.raises(RunUnfinished, match=f"stage {lacking}: let `ferstream train default"):
            export(run, tmp_path / "bundle", str(judged_dir))
    assert not (tmp_path / "bundle").exists()
