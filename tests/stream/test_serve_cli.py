"""`ferstream serve` as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ..commands import Done, within
from .serving import encoded, frames

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    plain = {k: v for k, v in os.environ.items() if k != "FERSTREAM_TOKEN"}
    return subprocess.Popen(
        [sys.executable, "-m", "ferstream", "serve", *map(str, arguments)],
        cwd=ROOT,
        env={**plain, "FERSTREAM_TRACE": "", "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def started(
    *arguments: str | Path, said: str = "", **environment: str
) -> Iterator[tuple[httpx.Client, int]]:
    """The running command, ended by Ctrl-C as it should be; `said` is what it tells (a pattern)."""
    process = start("--port", "0", *arguments, **environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line + process.communicate(timeout=120)[1]
        with httpx.Client(base_url=found[0], timeout=60) as client:
            yield client, process.pid
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out) == (130, "") and re.fullmatch(said, error), error
    finally:
        process.kill()
        process.communicate()


def fails(done: Done, status: int, words: str) -> None:
    """It says why and ends."""
    assert (done.status, done.out) == (status, "")
    assert words in " ".join(done.error.replace("│", " ").split())
    assert "Traceback" not in done.error


def test_watches_answers_and_ends() -> None:
    picture = encoded(frames()[45], ".jpg")
    camera = "rtsp://user:secret@127.0.0.1:9/door?key=secret"
    options = ("--purpose", "a test", "--max-upload-mb", "1")
    with started("sample", camera, *options) as (client, _):
        assert client.get("/readyz").status_code == 200
        about = client.get("/v1/about").json()
        assert (about["purpose"], about["limits"]["upload_bytes"]) == ("a test", 2**20)
        assert client.post("/v1/image", content=picture).json()["purpose"] == "a test"
        end_s = time.monotonic() + 20
        while (latest := client.get("/v1/sources/sample/latest?top=2")).status_code != 200:
            assert time.monotonic() < end_s, latest.text
            assert latest.json()["error"]["code"] == "no_result"
            time.sleep(0.05)
        row = latest.json()
        assert (row["source"], row["size"]) == ("sample", [640, 480])
        assert len(row["faces"][0]["top"]) == 2
        one, down = client.get("/v1/sources").json()["sources"]
        assert one["state"] in ("live", "ended")
        assert one["frames"] > 0
        while not down["code"]:
            assert time.monotonic() < end_s, "a camera that is off is said to be"
            time.sleep(0.05)
            _, down = client.get("/v1/sources").json()["sources"]
        assert (down["id"], down["code"], down["age_s"]) == ("127.0.0.1-9-door", "REFUSED", None)
        assert "secret" not in client.get("/v1/sources").text
        pytest.importorskip("prometheus_client")
        assert "secret" not in client.get("/metrics").text
        from prometheus_client.parser import text_string_to_metric_families

        families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}
        assert {"ferstream_service_visitors", "ferstream_frames"} <= set(families)
        (scored,) = families["ferstream_service_frames"].samples
        assert scored.value >= 1


def test_a_token_from_a_file_or_the_environment(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    file = tmp_path / "token"
    file.write_text(token + "\n")
    file.chmod(0o600)
    known = {"authorization": f"Bearer {token}"}
    for arguments, environment in (
        (("--token-file", file), {}),
        ((), {"FERSTREAM_TOKEN": token}),
    ):
        refused = "refused for want of the token: 1, the last from 127.0.0.1\n"
        with started(*arguments, said=refused, **environment) as (client, pid):
            assert client.get("/v1/about").status_code == 401
            assert client.get("/v1/about", headers=known).status_code == 200
            if arguments:
                assert token not in Path(f"/proc/{pid}/cmdline").read_text()


def test_what_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    fails(within("serve", "--host", "0.0.0.0"), 2, "others can reach 0.0.0.0")
    short = tmp_path / "token"
    short.write_text("0123456789abcdef")
    short.chmod(0o644)
    fails(within("serve", "--token-file", short), 1, "others can read the token")
    short.chmod(0o600)
    short.write_text("short")
    fails(within("serve", "--certificate", short), 1, "give --certificate and --key")
    fails(
        within("serve", "--certificate", short, "--key", short), 1, "are no certificate and its key"
    )
    fails(
        within("serve", "--certificate", short, "--key", tmp_path / "none"),
        1,
        f"{tmp_path / 'none'}",
    )
    fails(within("serve", "--token-file", short), 1, "is too short")
    fails(within("serve", "--token-file", tmp_path / "none"), 1, "cannot read the token")
    fails(within("serve", "nothing.mp4"), 1, "nothing.mp4")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(within("serve", "--port", str(port)), 1, f"port {port}")
    fails(
        within("serve", "--host", "no.such.host.invalid", "--without-token"), 1, "cannot serve on"
    )


def test_a_second_signal_waits_for_nobody_and_says_nothing() -> None:
    process = start("--port", "0")
    try:
        assert process.stdout is not None
        assert "serves on" in process.stdout.readline()
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out, error) == (143, "", "")
    finally:
        process.kill()
        process.communicate()
