"""The gate's limits, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferstream.calibration.gate import (
    Budget,
    Change,
    Figures,
    Predictions,
    Speed,
    Verdict,
    change,
    figures,
    judged,
)

EXACT = Figures(0.85, 0.70, 0.015)
SAME = Change(0.99, 0.0005, 0.99)
FAST = Speed(3.0, 1.5, "onnxruntime")


def verdict(
    lower: Figures = EXACT, moved: Change = SAME, speed: Speed | None = FAST, **budget: Any
) -> Verdict:
    return judged("spatial", "int8", 3505, EXACT, lower, moved, speed, Budget(**budget))


def test_a_form_as_good_and_faster_is_taken() -> None:
    found = verdict()
    assert found.passed
    assert found.line() == (
        "spatial in int8 is taken: 2.00 times as fast, top-1 +0.0000, KL to float 0.00050"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lower": replace(EXACT, top1=0.84)}, "top-1 falls by 0.01, 0.005 is allowed"),
        (
            {"lower": replace(EXACT, macro_recall=0.68)},
            "macro recall falls by 0.02, 0.01 is allowed",
        ),
        ({"lower": replace(EXACT, ece=0.022)}, "ECE rises by 0.007, 0.005 is allowed"),
        (
            {"moved": replace(SAME, overlap=0.9)},
            "the ten best words change by 0.1, 0.05 is allowed",
        ),
        ({"moved": replace(SAME, kl=0.01)}, "KL to float rises by 0.01, 0.002 is allowed"),
        ({"moved": replace(SAME, kl=float("nan"))}, "KL to float rises by nan, 0.002 is allowed"),
        (
            {"speed": Speed(3.0, 2.9, "openvino")},
            "2.900 ms is 1.03 times as fast as float's 3.000 ms on openvino, "
            "1.1 times is asked for",
        ),
    ],
)
def test_each_limit_says_by_how_much(changes: dict[str, Any], line: str) -> None:
    found = verdict(**changes)
    assert found.failures == (line,) and not found.passed
    assert found.line() == f"spatial in int8 is refused: {line}"


def test_limits_are_settable_and_their_edge_passes() -> None:
    worse = replace(EXACT, top1=0.84, macro_recall=0.69, ece=0.02)
    assert len(verdict(worse).failures) == 1
    assert verdict(worse, top1=0.01).passed
    assert verdict(speed=Speed(1.0, 2.0, "onnxruntime"), speedup=0).passed


def test_without_words_or_speed_these_are_not_judged() -> None:
    found = verdict(moved=replace(SAME, overlap=None), speed=None)
    assert found.passed and "speed not judged here" in found.line()


def test_all_failures_are_told() -> None:
    assert (
        len(verdict(Figures(0.5, 0.3, 0.4), Change(0.1, 1.0, 0.5), Speed(1, 2, "x")).failures) == 6
    )


def test_figures_of_a_comparison() -> None:
    label = np.array([0, 1, 1])
    one = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    other = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    words = np.tile(np.linspace(1, 0, 30), (3, 1))
    swapped = words.copy()
    swapped[:, [9, 10]] = swapped[:, [10, 9]]
    assert figures(Predictions(other, None), label).top1 == pytest.approx(2 / 3)
    assert figures(Predictions(other, None), label).macro_recall == pytest.approx(0.75)
    moved = change(Predictions(one, words), Predictions(other, swapped))
    kl = (0.4 * np.log(0.4 / 0.6) + 0.6 * np.log(0.6 / 0.4)) / 3
    assert moved.kl == pytest.approx(kl) and moved.agree == pytest.approx(2 / 3)
    assert moved.overlap == pytest.approx(0.9)
    assert change(Predictions(one, words), Predictions(one, words)) == Change(1.0, 0.0, 1.0)
