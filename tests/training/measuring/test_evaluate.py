"""Figures of evaluation on cases made by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.calibration.outputs import photograph_logits
from ferstream.engines.taxonomy import load_taxonomy, roll_up
from ferstream.training.datasets.fer import BASIC8, FerPlus
from ferstream.training.measuring.evaluate import (
    Scores,
    basic8_figures,
    emo135_figures,
    figures,
    score,
)
from tests.engines import tiny as tiny_networks

WORDS = load_taxonomy("emo135")
Floats = NDArray[np.float32]


def voted(tiny: FerPlus, *counts: dict[str, int]) -> FerPlus:
    """As many photographs with these votes."""
    raw = np.zeros((len(counts), 8), np.float32)
    for row, votes in enumerate(counts):
        for name, count in votes.items():
            raw[row, BASIC8.index(name)] = count
    few = tiny.subset(np.arange(len(counts)))
    return replace(few, raw_votes=raw, votes=raw / raw.sum(1, keepdims=True))


def rows_of(names: tuple[str, ...], *rows: dict[str, float]) -> Floats:
    """Rows of probabilities; what is left over is spread evenly."""
    made = []
    for row in rows:
        even = (1 - sum(row.values())) / (len(names) - len(row))
        made.append([row.get(name, even) for name in names])
    return np.array(made, np.float32)


def scores(basic8: Floats, emo135: Floats) -> Scores:
    families = np.asarray(emo135 @ roll_up("emo135", "family6"), np.float32)
    strength = np.array(load_taxonomy("emo135").intensity, np.float32)
    intensity = (1 - basic8[:, 0]) * (emo135 @ strength)
    return Scores(basic8, emo135, families, intensity, None, "function", "fp32")


def test_basic8_figures(tiny: FerPlus) -> None:
    """Two of three happy faces and one of one afraid are found."""
    data = voted(tiny, *[{"happiness": 10}] * 3, {"fear": 10})
    certain = [{"happiness": 1.0}, {"happiness": 1.0}, {"anger": 1.0}, {"fear": 1.0}]
    found = basic8_figures(rows_of(BASIC8, *certain), data)
    assert found["n"] == 4 and found["top1"] == 0.75
    assert found["recall"] == pytest.approx({"happiness": 2 / 3, "fear": 1.0})
    assert found["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["ece"] == pytest.approx(0.25)
    assert found["nll"] == pytest.approx(found["kl"], abs=1e-6), "these votes have no entropy"


def test_families_of_the_words(tiny: FerPlus) -> None:
    """A word of the family is right, love counts as joy, disgust is of anger's family."""
    data = voted(
        tiny, {"happiness": 10}, {"happiness": 10}, {"disgust": 10}, {"fear": 10}, {"neutral": 10}
    )
    words = rows_of(
        WORDS.labels,
        {"love": 0.9},
        {"sadness": 0.9},
        {"rage": 0.9},
        {"terror": 0.9},
        {"rage": 0.9},
    )
    basic = rows_of(
        BASIC8,
        {"happiness": 0.6},
        {"happiness": 0.6},
        {"contempt": 0.6},
        {"neutral": 0.6, "surprise": 0.3},
        {"neutral": 0.9},
    )
    found = emo135_figures(scores(basic, words), data_with_second(data))
    assert found["n"] == 4, "the neutral face has no word to be right about"
    assert found["family_top1"] == 0.75
    assert found["basic8_family_top1"] == 0.75


def data_with_second(data: FerPlus) -> FerPlus:
    """The first photograph gets a second emotion, so that there is one to look for."""
    raw = data.raw_votes.copy()
    raw[0, BASIC8.index("surprise")] += 4
    return replace(data, raw_votes=raw)


@pytest.mark.parametrize(
    ("votes", "word", "counted", "hit"),
    [
        ({"happiness": 6, "surprise": 4}, "amazement", 1, 1.0),
        ({"happiness": 6, "surprise": 4}, "agony", 1, 0.0),
        ({"happiness": 8, "surprise": 2}, "amazement", 0, 0.0),
        ({"anger": 6, "disgust": 4}, "rage", 0, 0.0),
        ({"happiness": 4, "neutral": 3, "sadness": 3}, "agony", 1, 1.0),
    ],
)
def test_the_second_family_among_the_ten(
    tiny: FerPlus, votes: dict[str, int], word: str, counted: int, hit: float
) -> None:
    """Beside one sure case, in which it is found, and a neutral face, which does not count."""
    joyful = [w for w, f in zip(WORDS.labels, WORDS.family_of, strict=True) if f == 1][:9]
    ten = dict.fromkeys([*joyful, word], 0.09)
    certain = dict.fromkeys([*joyful, "terror"], 0.09)
    data = voted(tiny, votes, {"happiness": 6, "fear": 4}, {"neutral": 6, "fear": 4})
    basic = rows_of(BASIC8, {"happiness": 0.6}, {"happiness": 0.7}, {"neutral": 0.9})
    found = emo135_figures(scores(basic, rows_of(WORDS.labels, ten, certain, ten)), data)
    assert found["second_n"] == 1 + counted
    assert found["second_family_in_top10"] == pytest.approx((1 + hit) / (1 + counted))


@pytest.mark.parametrize(("turned", "wanted"), [(False, 1.0), (True, -1.0)])
def test_intensity_follows_the_share_that_saw_an_expression(
    tiny: FerPlus, turned: bool, wanted: float
) -> None:
    shares = (2, 5, 7, 10)
    data = voted(
        tiny, *({"neutral": 10 - n, "fear": max(n - 4, 0), "anger": min(n, 4)} for n in shares)
    )
    levels = [0.9, 0.5, 0.3, 0.1]
    basic = rows_of(BASIC8, *({"neutral": n} for n in (levels[::-1] if turned else levels)))
    words = rows_of(WORDS.labels, *[{"fear": 0.9}] * 4)
    found = emo135_figures(scores(basic, words), data)
    assert found["intensity_rank_correlation"] == pytest.approx(wanted)


def test_stronger_words_show_more_intensity(tiny: FerPlus) -> None:
    data = voted(tiny, {"neutral": 4, "anger": 3, "fear": 3}, {"anger": 7, "fear": 3})
    basic = rows_of(BASIC8, *[{"anger": 0.9}] * 2)
    for words, sign in ((("annoyance", "rage"), 1), (("rage", "annoyance"), -1)):
        rows = rows_of(WORDS.labels, *({word: 0.9} for word in words))
        found = emo135_figures(scores(basic, rows), data)
        assert found["intensity_rank_correlation"] == pytest.approx(sign)


def test_a_bundle_is_measured_in_any_batch(tmp_path: Path, tiny: FerPlus) -> None:
    bundle = tiny_networks.bundle(tmp_path / "bundle")
    crops = tiny.crops(tiny_networks.CROP_PX)
    whole = photograph_logits(bundle, crops, backend="onnxruntime", precision="fp32")
    parts = photograph_logits(bundle, crops, backend="onnxruntime", precision="fp32", batch=10)
    assert whole[0].shape == (len(tiny), 8) and whole[1].shape == (len(tiny), 135)
    for a, b in zip(whole[:2], parts[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert whole[2:] == ("onnxruntime", "fp32")


def test_all_figures_of_a_bundle(tmp_path: Path, tiny: FerPlus) -> None:
    bundle, data = tiny_networks.bundle(tmp_path / "bundle"), tiny.subset(tiny.rated)
    probability = score(bundle, data, backend="onnxruntime", precision="int8")
    np.testing.assert_allclose(probability.basic8.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(probability.emo135.sum(1), 1, atol=1e-5)
    found = figures(bundle, data, backend="onnxruntime", precision="int8")
    assert (found["engine"], found["precision"]) == ("onnxruntime", "int8")
    assert found["basic8"]["n"] == 96 and found["emo135"]["n"] == 84
    assert found["emo135"]["second_n"] > 0


PLAIN = [
    *(f"datasets.{name}" for name in ("fer", "judged", "label_lists", "augment", "motion")),
    "measuring.evaluate",
]


@pytest.mark.parametrize("block", ["torch", "lightning"])
def test_measuring_needs_no_torch(block: str, repository: Path) -> None:
    """A bundle is measured where only the base is installed."""
    program = [
        "import sys",
        "class Blocked:",
        "    def find_spec(self, name, *rest):",
        f"        if name.split('.')[0] == {block!r}: raise ImportError(name)",
        "sys.meta_path.insert(0, Blocked())",
        *(f"import ferstream.training.{name}" for name in PLAIN),
    ]
    code = "\n".join(program)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository, timeout=120)
