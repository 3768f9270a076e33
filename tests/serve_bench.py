"""How the service fares with many live visitors; JSON on standard output.

    python -m tests.serve_bench --visitors 1 8 32 100 --seconds 20

Each visitor sends the sample's pictures (640x480 JPEG) at 30 a second from one process, the
service runs in another. Told for each number of visitors: answers a second of the visitor who gets
fewest, the middle one and who gets most; milliseconds in the service and there and back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from tests.stream.serving import jpegs

_RATE_HZ = 30.0
_WARM_UP_S = 2.0
_ROOT = Path(__file__).resolve().parents[1]


async def visit(url: str, pictures: list[bytes], seconds: float) -> list[tuple[float, float]]:
    """(ms in the service, ms there and back) of every answer after the warm-up."""
    sent_s: dict[int, float] = {}
    answers: list[tuple[float, float]] = []
    begun_s = time.monotonic()
    async with connect(url, open_timeout=60) as socket:

        async def send() -> None:
            for index in range(int(seconds * _RATE_HZ)):
                await asyncio.sleep(max(begun_s + index / _RATE_HZ - time.monotonic(), 0))
                sent_s[index] = time.monotonic()
                await socket.send(pictures[index % len(pictures)])

        sending = asyncio.create_task(send())
        while not sending.done():
            try:
                row = json.loads(await asyncio.wait_for(socket.recv(), 1))
            except asyncio.TimeoutError:
                continue
            now_s = time.monotonic()
            if now_s - begun_s > _WARM_UP_S:
                answers.append((row["server_ms"], (now_s - sent_s[row["frame"]]) * 1e3))
        await sending
    return answers


async def measure(url: str, visitors: int, seconds: float) -> dict[str, Any]:
    """One number of visitors."""
    pictures = jpegs()
    each = await asyncio.gather(
        *(visit(url, pictures[n:] + pictures[:n], seconds) for n in range(visitors))
    )
    rates = np.array([len(answers) for answers in each]) / (seconds - _WARM_UP_S)
    times = np.array([pair for answers in each for pair in answers])
    return {
        "visitors": visitors,
        "answers_per_s": dict(zip(("min", "median", "max"), _three(rates), strict=True)),
        "all_answers_per_s": round(float(rates.sum()), 1),
        "server_ms": _percentiles(times[:, 0]),
        "there_and_back_ms": _percentiles(times[:, 1]),
    }


def _three(values: Any) -> list[float]:
    return [round(float(v), 2) for v in (values.min(), np.median(values), values.max())]


def _percentiles(values: Any) -> dict[str, float]:
    median, p95 = np.percentile(values, [50, 95])
    return {"median": round(float(median), 1), "p95": round(float(p95), 1)}


def main() -> None:
    """Start the service, measure, print, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 8, 32, 100])
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    most = str(max(asked.visitors))
    command = [sys.executable, "-m", "ferstream", "serve", "--port", "0", "--max-visitors", most]
    service = subprocess.Popen(
        [*command, "--max-per-address", most],
        cwd=_ROOT,
        env={k: v for k, v in os.environ.items() if k != "FERSTREAM_TOKEN"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout is not None
        found = re.search(r"http://([\d.:]+)", service.stdout.readline())
        assert found, "the service does not start"
        url = f"ws://{found[1]}/v1/live"
        results = [asyncio.run(measure(url, n, asked.seconds)) for n in asked.visitors]
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(20)
    print(json.dumps({"cores": os.cpu_count(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
