"""The check of speed: what it takes for slower, and that each figure it compares is there."""

from __future__ import annotations

import json

from ferstream.engines.bundle import load_bundle

from .bench_check import FIGURES, SLOWER, SLOWER_ELSEWHERE, networks, table


def test_slower_and_missing_figures_are_named() -> None:
    then = {"fast": 1.0, "slow": 1.0, "gone": 1.0}
    lines, slow = table({"fast": 1.3, "slow": 1.4, "new": 5.0}, then, SLOWER)
    assert set(slow) == {"slow", "gone"}
    assert [line.split()[0] for line in lines.splitlines()[1:]] == ["fast", "slow", "new", "gone"]
    assert table({"fast": 1.3, "slow": 1.4, "gone": 1.9}, then, SLOWER_ELSEWHERE)[1] == []


def test_every_form_of_the_default_bundle_is_recorded() -> None:
    recorded = json.loads(FIGURES.read_text("utf-8"))["figures"]
    assert set(recorded) == {"a frame of the sample", *networks(load_bundle("default"))}
