"""The bench of the whole way: rounds in turn, shares that sum to one, words to fit the figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.report import THREADS, Bench, Pass, bench_text, measure, peak_rss_mb
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import Source
from ferstream.stream.summary import StageTimes, Summary
from tests import media

from .fakes import FakeRecognizer


def times(total_ms: float) -> StageTimes:
    return StageTimes(10, total_ms / 10, total_ms / 5, total_ms)


def bench(**stages_ms: float) -> Bench:
    summary = Summary(
        source="clip.mp4",
        frames=10,
        faces=1,
        faces_per_frame=1.0,
        duration_s=0.3,
        wall_s=0.1,
        drops={},
        stages={name: times(total_ms) for name, total_ms in stages_ms.items()},
        latency=times(100.0),
        notes=(),
        interrupted=False,
    )
    passes = (Pass(100.0, 8.0), Pass(90.0, 9.0), Pass(110.0, 7.0))
    return Bench(summary, passes, (Pass(700.0, 1.5),), summary, 0.7, 300.0)


def test_shares_sum_to_one_and_threads_gather_their_stages() -> None:
    found = bench(decode=10.0, detect=40.0, align=20.0, spatial=30.0)
    assert found.shares() == pytest.approx(
        {"decode": 0.1, "detect": 0.4, "align": 0.2, "spatial": 0.3}
    )
    # 100 ms of wall clock in all.
    assert found.busy() == pytest.approx({"reading": 0.1, "finding": 0.6, "scoring": 0.3})


def test_medians_of_the_rounds_are_told() -> None:
    document = bench(decode=10.0).to_json()
    assert document["cpu_ms_per_frame"] == 8.0
    assert document["decoding"]["fps"] == 700.0
    assert [one["fps"] for one in document["rounds"]] == [100.0, 90.0, 110.0]


def test_the_text_names_the_spread_and_the_threads() -> None:
    text = bench_text(bench(decode=10.0, detect=40.0))
    assert "100.0 frames/s (90 to 110), 8.00 ms of CPU per frame" in text
    assert "700.0 frames/s, 1.50 ms of CPU" in text
    assert "threads at work: reading 10 %, finding 40 %" in text


def test_a_clip_is_decoded_alone_and_run_once_a_round(tmp_path: Path) -> None:
    clip = media.video(tmp_path / "clip.mp4", 12)
    recognizer = FakeRecognizer()
    opened: list[Source] = []

    def open_clip() -> Source:
        opened.append(open_source(str(clip)))
        return opened[-1]

    found = measure(open_clip, recognizer, lambda: 1.5, rounds=2)
    # One to warm up, twice alone and whole, once at its own pace.
    assert len(opened) == 1 + 2 * 2 + 1
    assert len(recognizer.seen) == 1 + 2 * 12 + 12
    assert found.startup_s == 1.5
    assert len(found.passes) == len(found.decoding) == 2
    assert all(one.fps > 0 for one in (*found.passes, *found.decoding))
    assert set(found.offline.stages) <= set(THREADS)
    assert sum(found.shares().values()) == pytest.approx(1)


@pytest.mark.skipif(sys.platform != "linux", reason="asked of Linux")
def test_peak_memory_is_the_processes_own() -> None:
    """A process started by a large one begins small."""
    held = np.ones(400_000_000 // 8)
    code = "from ferstream.stream.report import peak_rss_mb; print(peak_rss_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_rss_mb() > held.nbytes / 1e6
    assert float(done.stdout) < 300
