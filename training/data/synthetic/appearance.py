"""Who a synthetic person is: shape weights, skin, hair, brows, eyes, and how they move.

A person is a number: the same number gives the same person in every set. Colours are linear
light, not what a screen shows. Simple and made up; nobody is meant by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .action_units import ACTION_UNITS

Floats = npt.NDArray[np.float32]

_SKINS = np.array(
    [
        [0.62, 0.42, 0.33],
        [0.52, 0.33, 0.24],
        [0.40, 0.24, 0.16],
        [0.26, 0.14, 0.09],
        [0.12, 0.065, 0.04],
    ],
    np.float32,
)
_HAIRS = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.035, 0.022, 0.015],
        [0.09, 0.05, 0.028],
        [0.30, 0.19, 0.09],
        [0.26, 0.25, 0.24],
    ],
    np.float32,
)
_IRISES = np.array(
    [[0.05, 0.025, 0.012], [0.11, 0.055, 0.025], [0.10, 0.12, 0.05], [0.10, 0.18, 0.28]],
    np.float32,
)
_CLOTHES = np.array(
    [
        [0.02, 0.02, 0.03],
        [0.30, 0.30, 0.30],
        [0.04, 0.07, 0.20],
        [0.25, 0.04, 0.04],
        [0.05, 0.15, 0.08],
    ],
    np.float32,
)
_PEOPLE_STREAM = 7_001
"""Keeps the random numbers of people apart from those of pictures."""


@dataclass(frozen=True)
class SyntheticPerson:
    """What stays with a person from picture to picture.

    shape (I,) identity weights; skin, lips, hair, brow, iris, clothes (3,) albedo in linear
    light; hair_cm its thickness, hairline_cm how far it has moved up, long_cm how far it falls
    below the ears, 0 where it is short; brow_cm the brows' thickness; stubble, furrows 0..1;
    habits (A,) what the face at rest shows; vividness (A,) how strongly each unit moves.
    """

    number: int
    shape: Floats
    skin: Floats
    lips: Floats
    hair: Floats
    brow: Floats
    iris: Floats
    clothes: Floats
    hair_cm: float
    hairline_cm: float
    long_cm: float
    brow_cm: float
    stubble: float
    furrows: float
    habits: Floats
    vividness: Floats


def person_of(number: int, shapes: int) -> SyntheticPerson:
    """The person of this number for a head with this many identity shapes."""
    rng = np.random.default_rng([_PEOPLE_STREAM, number])
    shape = np.clip(rng.normal(0, 0.9, shapes), -2, 2).astype(np.float32)
    skin = _between(_SKINS, rng) * rng.uniform(0.9, 1.1)
    dark = float(skin.mean()) < 0.2
    hair = _HAIRS[int(rng.integers(0, 2 if dark else len(_HAIRS)))] * rng.uniform(0.7, 1.3)
    habits = np.where(rng.random(len(ACTION_UNITS)) < 0.2, rng.uniform(0, 0.12), 0.0)
    long_cm = float(rng.uniform(2, 11)) if rng.random() < 0.45 else 0.0
    return SyntheticPerson(
        number=number,
        shape=shape,
        skin=skin,
        lips=(skin * [1.0, 0.55, 0.6] + [0.05, 0, 0]).astype(np.float32) * rng.uniform(0.75, 1.0),
        hair=hair.astype(np.float32),
        brow=np.minimum(hair * rng.uniform(0.6, 1.0), 0.12).astype(np.float32),
        iris=_IRISES[int(rng.integers(0, 2 if dark else len(_IRISES)))],
        clothes=_CLOTHES[int(rng.integers(0, len(_CLOTHES)))],
        hair_cm=float(rng.uniform(0.3, 1.6)),
        hairline_cm=float(rng.uniform(-0.6, 1.2)),
        brow_cm=float(rng.uniform(0.28, 0.6)),
        long_cm=long_cm,
        stubble=0.0 if long_cm else float(max(rng.uniform(-0.8, 0.7), 0.0)),
        furrows=float(rng.uniform(0.3, 1.0)),
        habits=_without_mouth_and_eyes(habits),
        vividness=np.clip(rng.normal(1, 0.12, len(ACTION_UNITS)), 0.7, 1.3).astype(np.float32),
    )


def _between(palette: Floats, rng: np.random.Generator) -> Floats:
    """A colour between two neighbours of a palette."""
    at = rng.uniform(0, len(palette) - 1)
    low = int(at)
    return np.asarray(
        palette[low] + (palette[min(low + 1, len(palette) - 1)] - palette[low]) * (at - low)
    )


def _without_mouth_and_eyes(habits: npt.NDArray[np.float64]) -> Floats:
    """At rest a mouth is not open, eyes are not shut or turned, the jaw is straight."""
    for column, name in enumerate(ACTION_UNITS):
        if int(name[2:]) in (
            10,
            11,
            16,
            18,
            20,
            22,
            25,
            26,
            27,
            29,
            30,
            33,
            43,
            45,
            61,
            62,
            63,
            64,
        ):
            habits[column] = 0.0
    return habits.astype(np.float32)
