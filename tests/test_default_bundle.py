"""The bundle in the repository, on real faces: what a newcomer sees first must be right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ferstream import Recognizer, open_source
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.stream.result import FaceResult
from ferstream.training.datasets.fer import FerPlus, load_fer_plus
from ferstream.training.measuring.evaluate import Scores, basic8_figures, emo135_figures, score

MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("default")


@pytest.fixture(scope="module")
def photographs(data_dir: Path) -> FerPlus:
    data = load_fer_plus("test", data_dir)
    return data.subset(data.rated)


def watched(source: str) -> list[FaceResult]:
    """The first face of every frame."""
    with Recognizer() as recognizer:
        results = [recognizer.process(frame) for frame in open_source(source).frames()]
    assert all(len(result.faces) == 1 for result in results)
    return [result.faces[0] for result in results]


def family(faces: Sequence[FaceResult]) -> str:
    """The strongest family over some frames."""
    total: dict[str, float] = {}
    for face in faces:
        for name, p in face.emotions.families.items():
            total[name] = total.get(name, 0.0) + p
    return max(total, key=total.__getitem__)


def test_is_small_and_says_how_it_was_taught(bundle: Bundle) -> None:
    assert bundle.size_bytes <= MOST_BYTES
    taught = {head.name: head.supervision for head in bundle.manifest.heads}
    assert taught["basic8"] == "trained"
    assert taught["emo135"] == taught["affect"] == taught["fg33"] == "machine-judged"
    assert bundle.manifest.measured["basic8"]["n"] == 3552


def test_the_sample_smiles() -> None:
    faces = watched("sample")
    smile = faces[36:57]  # 1.2 to 1.9 s: her own smile
    assert family(smile) == "joy"
    assert np.mean([face.emotions.basic8["happiness"] for face in smile]) > 0.6
    assert len(smile[0].emotions.top(10)) == 10


def test_a_real_smile_arrives_and_stays(clips_dir: Path) -> None:
    faces = watched(str(clips_dir / "single_face.mp4"))
    assert faces[5].emotions.label == "neutral"
    arrived = faces[30:]
    assert family(arrived) == "joy"
    assert all(face.emotions.basic8["happiness"] > 0.8 for face in arrived)


def test_a_held_smile_is_not_taken_for_a_resting_face(clips_dir: Path) -> None:
    faces = watched(str(clips_dir / "smiling_man.mp4"))
    assert all(face.emotions.basic8["happiness"] > 0.8 for face in faces)


@pytest.fixture(scope="module")
def deployed(bundle: Bundle, photographs: FerPlus) -> Scores:
    """What the form that runs on a CPU says of every photograph."""
    return score(bundle, photographs, backend="onnxruntime", precision="int8")


def test_it_is_as_good_as_it_says(bundle: Bundle, photographs: FerPlus, deployed: Scores) -> None:
    """Within half a point of the figures in the manifest."""
    basic8 = basic8_figures(deployed.basic8, photographs)
    measured = bundle.manifest.measured
    assert basic8["top1"] == pytest.approx(measured["basic8"]["top1"], abs=0.005)
    assert basic8["ece"] <= 0.03
    words = emo135_figures(deployed, photographs)
    assert words["family_top1"] == pytest.approx(measured["emo135"]["family_top1"], abs=0.01)
    assert words["second_family_in_top10"] >= 0.7


@pytest.mark.parametrize(
    ("backend", "precision"), [("onnxruntime", "fp32"), ("openvino", "int8"), ("openvino", "fp32")]
)
def test_every_form_says_the_same(
    bundle: Bundle, photographs: FerPlus, deployed: Scores, backend: str, precision: str
) -> None:
    """On every sixth photograph."""
    rows = np.arange(0, len(photographs), 6)
    found = score(bundle, photographs.subset(rows), backend=backend, precision=precision)
    for name in ("basic8", "family6"):
        got, wanted = getattr(found, name), getattr(deployed, name)[rows]
        assert (got.argmax(axis=1) == wanted.argmax(axis=1)).mean() >= 0.96
        assert np.abs(got - wanted).mean() < 0.01
    assert np.abs(found.emo135 - deployed.emo135[rows]).mean() < 0.005
