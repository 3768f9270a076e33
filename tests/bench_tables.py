"""How large tables are: the rows of a long clip as JSON lines, CSV and Parquet.

    python tests/bench_tables.py [CLIP] [--minutes 20]

The clip's results are written again and again with later times until so much time is full. As no
film repeats itself to the last digit, every number of every repetition is moved a little at random;
`--exact` leaves them as they are.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ferstream import Recognizer, Result
from ferstream.stream.emotions import Emotions
from ferstream.stream.frame import Frame
from ferstream.stream.outputs import Outputs
from ferstream.stream.result import FaceResult
from ferstream.stream.sinks.base import SinkInfo

KINDS = ("jsonl", "csv", "parquet")
_NOISE = 0.05
"""Share by which numbers move."""


def moved(emotions: Emotions, random: np.random.Generator) -> Emotions:
    """The same reading, its numbers moved."""

    def near(values: Sequence[float]) -> list[float]:
        factors = 1 + _NOISE * random.standard_normal(len(values))
        return [float(value) for value in np.clip(np.array(values) * factors, -1, 1)]

    basic8 = dict(zip(emotions.basic8, near(list(emotions.basic8.values())), strict=True))
    families = dict(zip(emotions.families, near(list(emotions.families.values())), strict=True))
    words = [word for word, _ in emotions.ranked]
    ranked = zip(words, near([p for _, p in emotions.ranked]), strict=True)
    affect = near([emotions.valence or 0.0, emotions.arousal or 0.0, emotions.intensity])
    return replace(
        emotions,
        basic8=basic8,
        families=families,
        ranked=tuple(sorted(ranked, key=lambda pair: -pair[1])),
        valence=affect[0],
        arousal=affect[1],
        intensity=affect[2],
    )


def moved_face(found: FaceResult, random: np.random.Generator) -> FaceResult:
    """The same face a little elsewhere, its readings moved."""
    box = tuple((np.array(found.box) + random.standard_normal(4)).tolist())
    quality = replace(found.quality, score=found.quality.score * random.uniform(0.95, 1))
    return replace(
        found,
        face=replace(found.face, box=box, quality=quality),
        emotions=moved(found.emotions, random),
        frame_emotions=moved(found.frame_emotions, random),
        attention=found.attention * random.uniform(0.95, 1),
    )


def repeated(results: Sequence[Result], length_s: float, exact: bool) -> Iterator[Result]:
    """The clip again and again."""
    random = np.random.default_rng(0)
    step_s = results[1].time_s - results[0].time_s
    clip_s = results[-1].time_s - results[0].time_s + step_s
    for at in range(int(length_s / clip_s)):
        for result in results:
            faces = result.faces if exact else [moved_face(f, random) for f in result.faces]
            index = at * len(results) + result.frame
            yield replace(result, frame=index, time_s=result.time_s + at * clip_s, faces=faces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", default="sample")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--exact", action="store_true")
    asked = parser.parse_args()
    with Recognizer() as recognizer:
        results = recognizer(asked.clip)
        labels = recognizer.labels
    sizes = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"x.{kind}"
            outputs = Outputs(to=(str(path),))
            ((place,),) = outputs.for_sources([asked.clip])
            (sink,) = outputs.sinks([place], print, live=False)
            sink.open(SinkInfo(asked.clip, labels=labels))
            pixel = np.zeros((1, 1, 3), np.uint8)
            frames, writing_s = 0, 0.0
            for result in repeated(results, asked.minutes * 60, asked.exact):
                frames += 1
                begun_s = time.process_time()
                sink.write(Frame(pixel, result.time_s, result.frame, result.source), result)
                writing_s += time.process_time() - begun_s
            sink.close()
            sizes[kind] = path.stat().st_size
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        share = sizes[kind] / sizes["jsonl"]
        print(
            f"{kind:8} {frames} frames, {sizes[kind] / 1e6:7.2f} MB, {share:6.1%} of JSON lines, "
            f"{1e3 * writing_s / frames:.3f} ms of CPU a frame, peak of all {peak_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
