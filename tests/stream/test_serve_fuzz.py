"""The HTTP service fuzzed: from its own OpenAPI description, and with damaged files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferstream.stream.pipeline import Pipeline
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import Limits
from ferstream.stream.serve.watch import Watch
from ferstream.stream.sources import open_live
from tests.needs import needs

from .serving import Served, clip, encoded, frames, served

TOKEN = "0123456789abcdef0123"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    limits = Limits(upload_bytes=2**20, upload_s=5)
    with Recognizer() as watching, Pipeline(watching) as pipeline, Recognizer() as recognizer:
        watch = Watch([open_live("sample")], pipeline)
        watch.start()
        with served(recognizer, limits, watch=watch, token=TOKEN) as one:
            yield one
        watch.close()


def test_every_answer_is_as_described(service: Served, tmp_path: Path) -> None:
    """Whatever is sent: no failure but those described, and every answer fits its model."""
    needs("schemathesis")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"]
    options = {
        "--header": f"Authorization: Bearer {TOKEN}",
        # A random string is no picture, and files are what is said to be sent.
        "--exclude-checks": "positive_data_acceptance",
        "--phases": "coverage,fuzzing",
        "--max-examples": "8",
        "--seed": "1",
        "--request-timeout": "20",
    }
    words = [word for pair in options.items() for word in pair]
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "7 selected / 7 total" in done.stdout
    service.until_empty()


def test_damaged_files_are_answered_like_any_other(service: Served, tmp_path: Path) -> None:
    """Valid files with some bytes changed, left out or doubled."""
    chance = random.Random(1)
    film = clip(tmp_path / "film.mp4", frames(9)).read_bytes()
    picture = encoded(frames()[45], ".jpg")
    seen = set()
    with service.client(headers=KNOWN) as client:
        for path, data, times in (
            ("image", picture, 20),
            ("image", encoded(frames()[45], ".webp"), 10),
            ("image", encoded(frames()[45], ".png"), 10),
            ("clip?rows=false", film, 6),
            ("clip?rows=false", picture, 2),
        ):
            for _ in range(times):
                answer = client.post(f"/v1/{path}", content=_damaged(data, chance))
                assert answer.status_code in (200, 413, 415, 422), answer.text
                seen.add(answer.status_code)
        assert {200, 422} <= seen
        assert client.post("/v1/image", content=picture).status_code == 200
        assert client.get("/readyz").status_code == 200
    service.until_empty()


def _damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        at = chance.randrange(len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 200)]
        elif kind == 2:
            changed[at:at] = changed[at : at + chance.randrange(1, 200)]
        else:
            changed[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(changed)
