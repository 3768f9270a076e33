"""A lower precision beside the float form: what it changes, and whether it is taken.

A lower precision beside the float form, on labelled examples: what it changes.

N examples, K labels.

The gate: a lower precision is taken only where it costs next to nothing and is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.engine import Engine

from .errors import NotFinite
from .probability import mean_recall
from .ranges import Samples, batches
from .reliability import expected_calibration_error

Array = npt.NDArray[np.floating[Any]]
Outputs = Mapping[str, npt.NDArray[Any]]

TOP_WORDS = 10


@dataclass(frozen=True)
class Predictions:
    """Probabilities of the basic expressions (N, 8) and, where the network has them, of the
    words (N, 135)."""

    basic8: Array
    words: Array | None


@dataclass(frozen=True)
class Examples:
    """What one network is judged on."""

    inputs: Samples
    """By tensor name, N each."""
    label: npt.NDArray[np.int64]
    """(N,) what most raters say."""
    read: Callable[[Outputs], Predictions]
    """The network's outputs to probabilities, as at run time."""

    def predictions(self, engine: Engine, batch: int = 128) -> Predictions:
        """What an open engine says of them.

        Raises:
            NotFinite: NaN or infinity among its outputs.
        """
        parts = [engine.run(part) for part in batches(self.inputs, batch)]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise NotFinite(
                    f"{engine.spec.name} in {engine.precision} gives NaN or infinity in {name!r} "
                    f"on {len(self.label)} labelled faces: leave more layers in float"
                )
        return self.read(outputs)


@dataclass(frozen=True)
class Figures:
    """How well one form does."""

    top1: float
    macro_recall: float
    ece: float


@dataclass(frozen=True)
class Change:
    """How far a lower form is from the float form."""

    overlap: float | None
    """Mean share of the float form's ten best words among the lower form's; None without words."""
    kl: float
    """Mean divergence of the basic expressions from float to the lower form, nats."""
    agree: float
    """Share of the examples with the same best expression."""

    def to_json(self) -> dict[str, float | None]:
        """Plain numbers."""
        return asdict(self)


def figures(predicted: Predictions, label_N: npt.NDArray[np.int64]) -> Figures:
    """Top-1, macro recall and equal-width ECE."""
    guess_N = predicted.basic8.argmax(axis=1)
    return Figures(
        float((guess_N == label_N).mean()),
        mean_recall(guess_N, label_N),
        expected_calibration_error(predicted.basic8, label_N),
    )


def change(exact: Predictions, lower: Predictions) -> Change:
    """The lower form beside the float form."""
    p_NK, q_NK = exact.basic8.astype(np.float64), lower.basic8.astype(np.float64)
    kl_N = (p_NK * (np.log(p_NK + 1e-12) - np.log(q_NK + 1e-12))).sum(axis=1)
    overlap = None
    if exact.words is not None and lower.words is not None:
        overlap = float(_shared(_best(exact.words), _best(lower.words)).mean())
    agree = float((p_NK.argmax(axis=1) == q_NK.argmax(axis=1)).mean())
    return Change(overlap, max(float(kl_N.mean()), 0.0), agree)


def _best(words_NK: Array) -> npt.NDArray[np.int64]:
    return np.argsort(-words_NK, axis=1, kind="stable")[:, :TOP_WORDS]


def _shared(one_NT: npt.NDArray[np.int64], other_NT: npt.NDArray[np.int64]) -> Array:
    """Share of each row of `one_NT` that is in the same row of `other_NT`."""
    same_NTT = one_NT[:, :, None] == other_NT[:, None, :]
    return np.asarray(same_NTT.any(axis=2).mean(axis=1), np.float64)


@dataclass(frozen=True)
class Budget:
    """What a lower precision may cost."""

    top1: float = 0.005
    """Loss of top-1, as a share of all faces."""
    macro_recall: float = 0.01
    """Loss of mean recall over the classes."""
    overlap: float = 0.95
    """Least share of the ten best words that stay."""
    kl: float = 0.002
    """Divergence of the basic expressions from float, nats."""
    ece: float = 0.005
    """Rise of the calibration error."""
    speedup: float = 1.1
    """Least ratio of float's time to its own, on this machine; 0: speed does not matter."""


@dataclass(frozen=True)
class Speed:
    """Both forms timed in turns on this machine, one example at a time."""

    float_ms: float
    lower_ms: float
    backend: str

    @property
    def speedup(self) -> float:
        """Float's time over the lower form's."""
        return self.float_ms / self.lower_ms


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one network in one precision."""

    network: str
    precision: str
    n: int
    exact: Figures
    lower: Figures
    change: Change
    speed: Speed | None
    """None where this machine could not run what the form is for."""
    failures: tuple[str, ...]
    """Which limits were passed, and by how much."""

    @property
    def passed(self) -> bool:
        """Whether the form may go into the bundle."""
        return not self.failures

    def line(self) -> str:
        """One line: taken or refused, and why."""
        what = f"{self.network} in {self.precision}"
        if self.failures:
            return f"{what} is refused: {'; '.join(self.failures)}"
        speed = f"{self.speed.speedup:.2f} times as fast" if self.speed else "speed not judged here"
        return (
            f"{what} is taken: {speed}, top-1 {self.lower.top1 - self.exact.top1:+.4f}, "
            f"KL to float {self.change.kl:.5f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded."""
        document: dict[str, Any] = _rounded(asdict(self))
        if self.speed:
            document["speed"]["speedup"] = round(self.speed.speedup, 3)
        return {**document, "failures": list(self.failures), "passed": self.passed}


def judged(
    network: str,
    precision: str,
    n: int,
    exact: Figures,
    lower: Figures,
    change: Change,
    speed: Speed | None,
    budget: Budget,
) -> Verdict:
    """Holds measured figures against the budget."""
    failures = []

    def hold(name: str, cost: float, allowed: float) -> None:
        # Written so that NaN passes nothing; a hair more than nothing is rounding.
        if not cost <= allowed + 1e-9:
            failures.append(f"{name} by {cost:.4g}, {allowed:g} is allowed")

    hold("top-1 falls", exact.top1 - lower.top1, budget.top1)
    hold("macro recall falls", exact.macro_recall - lower.macro_recall, budget.macro_recall)
    if change.overlap is not None:
        hold("the ten best words change", 1 - change.overlap, round(1 - budget.overlap, 9))
    hold("KL to float rises", change.kl, budget.kl)
    hold("ECE rises", lower.ece - exact.ece, budget.ece)
    if speed is not None and budget.speedup and not speed.speedup >= budget.speedup:
        failures.append(
            f"{speed.lower_ms:.3f} ms is {speed.speedup:.2f} times as fast as float's "
            f"{speed.float_ms:.3f} ms on {speed.backend}, {budget.speedup:g} times is asked for"
        )
    return Verdict(network, precision, n, exact, lower, change, speed, tuple(failures))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value


ROUNDS = 100


def timed(exact: Engine, lower: Engine, inputs: Samples, rounds: int = ROUNDS) -> Speed:
    """Median time of one example in both forms, in alternation, after a warm-up."""
    one = {name: np.ascontiguousarray(array[:1]) for name, array in inputs.items()}
    times_ms: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(rounds + max(3, rounds // 5)):
        for at, engine in enumerate((exact, lower)):
            start_s = time.perf_counter()
            engine.run(one)
            times_ms[at].append((time.perf_counter() - start_s) * 1e3)
    kept = {at: statistics.median(times[-rounds:]) for at, times in times_ms.items()}
    return Speed(round(kept[0], 4), round(kept[1], 4), lower.backend)
