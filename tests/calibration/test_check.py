"""What a check says, on made-up probabilities and on drawn faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.calibration.check import by_class, checked, overall
from ferstream.calibration.data import labelled_faces, photographs
from ferstream.calibration.heads import calibrated
from ferstream.calibration.page import check_page
from ferstream.calibration.quantize import kept_files, stored
from ferstream.engines.bundle import Bundle


def test_honest_guesses_pass_and_vain_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet(np.full(8, 0.4), 4000)
    label = (honest.cumsum(1) < rng.random((4000, 1))).sum(1)
    vain = honest**3 / (honest**3).sum(1, keepdims=True)
    good = overall(honest, label, np.eye(8)[label], 50, 0)
    bad = overall(vain, label, np.eye(8)[label], 50, 0)
    for name in ("ece", "ece_equal_mass", "ece_classwise", "ece_votes"):
        assert good[name]["high"] < bad[name]["low"], name
    for name in ("nll", "brier"):
        assert good[name]["value"] < bad[name]["value"]
    assert good["top1"] == bad["top1"]
    for row in good.values():
        assert row["low"] <= row["value"] <= row["high"]


def test_each_class_against_the_rest(bundle: Bundle) -> None:
    head = bundle.manifest.head("basic8")
    predicted = np.tile(np.array([0.5, 0.5, 0, 0, 0, 0, 0, 0]), (10, 1))
    label = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    rows = by_class(predicted, label, head)
    assert rows[head.labels[0]] == pytest.approx(
        {"n": 8, "said": 0.5, "so": 0.8, "recall": 1.0, "ece": 0.3}
    )
    assert rows[head.labels[7]]["n"] == 0 and rows[head.labels[7]]["recall"] == 0


@pytest.mark.slow
def test_a_bundle_is_checked_as_deployed(bundle: Bundle, faces_dir: Path, tmp_path: Path) -> None:
    faces = labelled_faces(photographs("validation", str(faces_dir), 8), str(faces_dir))
    fitted = stored(bundle.path, calibrated(bundle, faces), kept_files(bundle))
    found = checked(fitted, str(faces_dir), clips=0, resamples=20)
    document = found.to_json()
    assert document["n"] == len(found.label) == 520 and document["precision"] == "fp32"
    assert set(document["sets"]["measured"]) == {"as they are", "blur", "dark", "small"}
    assert 0.8 < document["sets"]["measured"]["as they are"]["covered"] <= 1
    assert sum(row["n"] for row in document["classes"].values()) == 520
    sharp = [row["n"] for name, row in document["quality"].items() if "sharpness" in name]
    assert sum(sharp) == 520 and "clips" not in document
    titles = [title for title, _, _ in found.tables()]
    assert titles[0] == "tiny 1 on 520 faces of test, onnxruntime fp32" and len(titles) == 4
    page = tmp_path / "deep" / "check.html"
    check_page(page, fitted, found)
    assert "Nothing was fitted on them" in page.read_text()


def test_a_bundle_without_sets_is_checked_too(bundle: Bundle, faces_dir: Path) -> None:
    found = checked(bundle, str(faces_dir), "validation", clips=0, resamples=20)
    assert "sets" not in found.to_json() and len(found.tables()) == 3
