"""What the contract refuses, and how it says so."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.engines.contract import (
    Array,
    NetworkSpec,
    TensorSpec,
    fusion,
    hold,
    spatial,
    temporal,
)
from ferstream.engines.errors import ContractMismatch

FUSION = fusion(4)


def test_example_keeps_its_own_contract() -> None:
    for spec in (spatial(64), temporal(), FUSION):
        spec.check(spec.example(B=2, T=7), ranges=True)
    assert spatial(64).example(B=2)["crop"].shape == (2, 1, 48, 48)
    assert FUSION.example(T=5)["feature"].shape == (1, 5, 4)
    assert temporal().example()["motion"].shape == (1, 16, 32, 32)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("feature", np.zeros((1, 3, 4)), r"feature: got float64\(1, 3, 4\)"),
        ("feature", np.zeros((1, 3, 5), np.float32), r"expected float32\(B, T, 4\)"),
        ("feature", np.zeros((3, 4), np.float32), r"got float32\(3, 4\)"),
        ("mask", np.zeros((1, 2), np.float32), r"mask: .* with B=1, T=3"),
        ("has_motion", np.zeros((2, 1), np.float32), r"has_motion: .* with B=1"),
    ],
)
def test_names_what_differs(name: str, change: Array, said: str) -> None:
    inputs = {**FUSION.example(T=3), name: change}
    with pytest.raises(ContractMismatch, match=said):
        FUSION.check(inputs)


def test_missing_and_stray_tensors() -> None:
    inputs = FUSION.example()
    with pytest.raises(ContractMismatch, match=r"got tensors crop, .*expected feature, has_motion"):
        FUSION.check({**inputs, "crop": inputs["mask"]})
    del inputs["mask"]
    with pytest.raises(ContractMismatch, match="got tensors feature, has_motion, temporal"):
        FUSION.check(inputs)


@pytest.mark.parametrize(("value", "said"), [(1.5, "0.2 to 1.5"), (np.nan, "nan")])
def test_ranges_are_looked_at_on_request(value: float, said: str) -> None:
    spec = NetworkSpec("n", (TensorSpec("x", "float32", (2,), 0, 1),), ())
    inputs = {"x": np.array([0.2, value], np.float32)}
    spec.check(inputs)
    with pytest.raises(ContractMismatch, match=f"x: values .*{said}.*, expected 0 to 1"):
        spec.check(inputs, ranges=True)


def test_hold_lets_a_graph_be_freer_but_not_tighter() -> None:
    free = TensorSpec("motion", "float32", ("n", "c", 32, 32))
    tight = TensorSpec("motion", "float32", (1, 16, 32, 32))
    wanted = temporal()
    hold("graph", NetworkSpec("temporal", (free,), wanted.outputs), wanted)
    with pytest.raises(ContractMismatch, match=r"has motion float32\(1, 16, 32, 32\)"):
        hold("graph", NetworkSpec("temporal", (tight,), wanted.outputs), wanted)


def test_hold_lets_a_graph_give_more_but_not_ask_for_more() -> None:
    wanted, more = temporal(), TensorSpec("more", "float32", ("B",))
    hold("graph", NetworkSpec("temporal", wanted.inputs, (*wanted.outputs, more)), wanted)
    with pytest.raises(ContractMismatch, match="export the network anew"):
        hold("graph", NetworkSpec("temporal", (*wanted.inputs, more), wanted.outputs), wanted)
