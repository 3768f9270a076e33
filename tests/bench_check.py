"""Has anything become slower? Speeds as ratios within one run, against the recorded ones.

    python -m tests.bench_check             compare with tests/bench_figures.json, print a table
    python -m tests.bench_check --record    write the ratios of this run there

What is measured takes turns with a fixed reference, a product of two float matrices (or of two int8
ones) of 768 in ONNX Runtime. Each figure is processor time divided by the reference's: how many of
these products a frame costs. So neither the machine's speed nor its load nor its number of cores is
in it, only how much work is done; that stages overlap it does not see. Processors of other
instruction sets give other ratios: where the processor is another kind than the recorded one, the
tolerance is wider.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ferstream.engines.bench import by_turns, machine
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.manifest import NETWORKS
from ferstream.engines.ort import OrtEngine
from ferstream.engines.roofline import ceiling_calls
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources.sample import SampleSource

FIGURES = Path(__file__).with_name("bench_figures.json")
SLOWER, SLOWER_ELSEWHERE = 1.35, 2.0
"""How much more than recorded a figure may be: on the recorded kind of processor, and on others."""
FRAMES = 5
"""Of the sample, in one timed call."""
RUNS = 100

Call = Callable[[], object]


def networks(bundle: Bundle) -> dict[str, Call]:
    """One run of each network in each form on ONNX Runtime, for one face, in one thread."""
    calls: dict[str, Call] = {}
    for name in NETWORKS:
        for precision in bundle.precisions(name):
            file = bundle.network_file(name, precision)
            assert file is not None
            spec = bundle.manifest.networks[name]
            engine = OrtEngine(file, spec, precision=precision, threads=1)
            inputs = spec.example(B=1, T=bundle.manifest.clip_frames)
            calls[f"{name}, {precision}"] = partial(engine.run, inputs)
    return calls


def sample_frames(recognizer: Recognizer) -> Call:
    """FRAMES frames of the sample through everything but decoding, over and over."""
    frames = list(SampleSource().frames())
    step_s = frames[1].time_s - frames[0].time_s
    numbers = count()

    def some() -> None:
        for number in (next(numbers) for _ in range(FRAMES)):
            frame = frames[number % len(frames)]
            recognizer.process(replace(frame, index=number, time_s=number * step_s))

    return some


def measured() -> dict[str, float]:
    """Each figure's ratio to the reference of its element type."""
    bundle = load_bundle("default")
    with Recognizer(bundle, backend="onnxruntime", threads=1) as recognizer:
        calls: dict[Any, Call] = {
            "a frame of the sample": sample_frames(recognizer),
            **networks(bundle),
            **{key: call for key, call in ceiling_calls(1).items() if key[0] == "product"},
        }
        taken_ms = by_turns(calls, RUNS, turn=5, clock=time.process_time)
    # The first quarter: what other programs add comes on top, never below.
    cost_ms = {name: statistics.quantiles(times, n=4)[0] for name, times in taken_ms.items()}
    cost_ms["a frame of the sample"] /= FRAMES
    return {
        name: cost_ms[name] / cost_ms["product", "int8" if name.endswith("int8") else "float32"]
        for name in cost_ms
        if isinstance(name, str)
    }


def table(now: dict[str, float], then: dict[str, float], most: float) -> tuple[str, list[str]]:
    """A line for each figure, and the names of those that are `most` times as slow, or missing."""
    lines = [f"{'cost in products of the reference':34} {'recorded':>9} {'now':>9} {'ratio':>7}"]
    slow = [name for name in then if name not in now]
    for name, ratio in now.items():
        before = then.get(name)
        if before is None:
            lines.append(f"{name:34} {'-':>9} {ratio:9.4f}       -  new: --record it")
            continue
        slower = ratio > most * before
        slow += [name] * slower
        mark = "  SLOWER" if slower else ""
        lines.append(f"{name:34} {before:9.4f} {ratio:9.4f} {ratio / before:7.2f}{mark}")
    lines += [f"{name:34} {then[name]:9.4f} {'gone':>9}" for name in then if name not in now]
    return "\n".join(lines), slow


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_check")
    parser.add_argument("--record", action="store_true", help="these are the figures from now on")
    record = parser.parse_args(arguments).record
    processor = machine()["processor"]
    now = measured()
    if record:
        figures = {name: round(ratio, 4) for name, ratio in now.items()}
        told = json.dumps({"processor": processor, "figures": figures}, indent=1)
        FIGURES.write_text(told + "\n", "utf-8")
    recorded = json.loads(FIGURES.read_text("utf-8"))
    most = SLOWER if recorded["processor"] == processor else SLOWER_ELSEWHERE
    lines, slow = table(now, recorded["figures"], most)
    print(lines)
    print(f"tolerance {most:g} times; recorded on {recorded['processor']}, measured on {processor}")
    if slow:
        print(f"slower than recorded, or gone: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
