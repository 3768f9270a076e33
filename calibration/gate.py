"""The gate: a lower precision is taken only where it costs next to nothing and is faster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .compare import Change, Figures


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
    engine: str

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
            f"{speed.float_ms:.3f} ms on {speed.engine}, {budget.speedup:g} times is asked for"
        )
    return Verdict(network, precision, n, exact, lower, change, speed, tuple(failures))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value
