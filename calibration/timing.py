"""Two forms of a network timed in turns, so that whatever else the machine does hits both."""

from __future__ import annotations

import statistics
import time

import numpy as np

from ferstream.engines.engine import Engine

from .gate import Speed
from .samples import Samples

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
