"""How fast the networks run: every form on every backend and batch, by turns in one process.

A slow minute of the machine then falls on all alike, and a ratio of two rows of one run can be
trusted where their milliseconds cannot.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .bundle import Bundle
from .engine import Engine, open_engine, present_backends, runnable_backends
from .errors import EngineUnavailable
from .roofline import Ceilings, Cost, ceiling_calls, ceilings_from, cost_of

_TURN = 10
"""Timed runs in a turn. The first run of a turn, which finds caches full of another's data and
threads asleep, is not timed."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY", "OPENBLAS_NUM_THREADS")

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Timing:
    """One network in one form on one backend at one batch."""

    network: str
    precision: str
    backend: str
    batch: int
    runs: int
    median_ms: float
    p95_ms: float
    cost: Cost
    least_ms: float | None
    """What the run would take at the ceilings; None on a GPU, whose ceilings are not measured."""
    bound: str | None
    """What sets that: compute or memory."""

    @property
    def share(self) -> float | None:
        """0..1 (and above, where a backend beats the ceilings' own): of the ceiling reached."""
        return None if self.least_ms is None else self.least_ms / self.median_ms

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        share = self.share
        return {
            "network": self.network,
            "precision": self.precision,
            "backend": self.backend,
            "batch": self.batch,
            "runs": self.runs,
            "median_ms": round(self.median_ms, 4),
            "p95_ms": round(self.p95_ms, 4),
            "per_second": round(self.batch / self.median_ms * 1e3, 1),
            "operations": self.cost.operations,
            "bytes": self.cost.bytes,
            "gops": round(self.cost.total / self.median_ms / 1e6, 2),
            "least_ms": None if self.least_ms is None else round(self.least_ms, 4),
            "bound": self.bound,
            "share": None if share is None else round(share, 4),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What `measure` found."""

    path: str
    timings: tuple[Timing, ...]
    ceilings: Ceilings
    machine: dict[str, Any]
    threads: dict[str, Any]
    """How threads were set: what was asked, what the backends make of it, the environment."""

    def to_json(self) -> dict[str, Any]:
        """One document of plain types."""
        return {
            "path": self.path,
            "machine": self.machine,
            "threads": self.threads,
            "ceilings": self.ceilings.to_json(),
            "networks": [timing.to_json() for timing in self.timings],
        }


def measure(
    bundle: Bundle,
    *,
    backends: Sequence[str] = ("all",),
    batches: Sequence[int] = (1,),
    runs: int = 200,
    threads: int | None = None,
    on_round: Callable[[int, int], None] | None = None,
) -> Report:
    """Times every network in every form that runs here.

    Args:
        backends: by name; "all": those that can run here.
        runs: timed runs of each, in turns of ten.
        threads: of each network and of the ceilings; None leaves it to the backends.
        on_round: told after each round of turns, with its number and how many there are.

    Raises EngineUnavailable for a backend that runs no form here, and what opening one raises.
    """
    forms = list(_forms(bundle, backends))
    calls: dict[Any, Callable[[], object]] = {}
    opened: list[Engine] = []
    costs: dict[tuple[str, str, int], Cost] = {}
    try:
        for form in forms:
            network, precision, backend = form
            opened.append(
                open_engine(bundle, network, precision=precision, backend=backend, threads=threads)
            )
            for batch in batches:
                inputs = opened[-1].spec.example(B=batch, T=bundle.manifest.clip_frames)
                calls[form, batch] = _call(opened[-1].run, inputs)
                file = bundle.network_file(network, precision)
                if file is not None and (network, precision, batch) not in costs:
                    costs[network, precision, batch] = cost_of(file, inputs)
        times_ms = by_turns({**calls, **ceiling_calls(threads)}, runs, on_round=on_round)
    finally:
        for engine in opened:
            engine.close()
    ceilings = ceilings_from({name: taken for name, taken in times_ms.items() if name not in calls})
    timings = tuple(
        _timing(form, batch, times_ms[form, batch], costs.get((*form[:2], batch), Cost()), ceilings)
        for form, batch in calls
    )
    return Report(str(bundle.path), timings, ceilings, machine(), thread_settings(threads))


def by_turns(
    calls: Mapping[K, Callable[[], object]],
    runs: int,
    *,
    turn: int = _TURN,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[K, list[float]]:
    """Milliseconds of `runs` runs of each call, which take turns in a new order every round.

    A round before the first warms up and is not counted.
    """
    times_ms: dict[K, list[float]] = {name: [] for name in calls}
    order, chance = list(calls), random.Random(0)
    rounds = -(-runs // turn)
    for number in range(-1, rounds):
        chance.shuffle(order)
        timed = min(turn, runs - max(number, 0) * turn)
        for name in order:
            call = calls[name]
            call()
            taken_ms = [_timed_ms(call, clock) for _ in range(timed)]
            if number >= 0:
                times_ms[name] += taken_ms
        if on_round is not None and number >= 0:
            on_round(number + 1, rounds)
    return times_ms


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def thread_settings(threads: int | None) -> dict[str, Any]:
    """How many threads the networks use, and what else decides about them."""
    import importlib.metadata

    versions = {}
    for package in ("onnxruntime", "openvino"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "asked": threads or "left to the backends",
        "spinning": False,
        "versions": versions,
        "environment": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    }


def _forms(bundle: Bundle, backends: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    """Every (network, precision, backend) that was asked for and can run here."""
    every = [
        (network, precision, backend)
        for network in bundle.manifest.held
        for precision in bundle.precisions(network)
        for backend in runnable_backends(bundle, network, precision)
    ]
    known = {backend for _, _, backend in every}
    for name in backends:
        if name != "all" and name not in known:
            raise EngineUnavailable(
                f"backend {name!r} runs no network of bundle {bundle.manifest.name} here; "
                f"there are all, {', '.join(sorted(known))}"
            )
    return [form for form in every if "all" in backends or form[2] in backends]


def _timing(
    form: tuple[str, str, str],
    batch: int,
    taken_ms: list[float],
    cost: Cost,
    ceilings: Ceilings,
) -> Timing:
    network, precision, backend = form
    least_ms, bound = ceilings.least_ms(cost)
    on_cpu = backend in present_backends()
    return Timing(
        network,
        precision,
        backend,
        batch,
        runs=len(taken_ms),
        median_ms=statistics.median(taken_ms),
        p95_ms=float(np.percentile(taken_ms, 95)),
        cost=cost,
        least_ms=least_ms if on_cpu else None,
        bound=bound if on_cpu else None,
    )


def _call(run: Callable[[Any], object], inputs: Any) -> Callable[[], object]:
    return lambda: run(inputs)


def _timed_ms(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start_s = clock()
    call()
    return (clock() - start_s) * 1e3


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
