"""`ferstream demo` as a user starts and ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import needs

from ..commands import Done, within

httpx = pytest.importorskip("httpx")
needs("gradio")


def run(arguments: Sequence[str], **environment: str) -> Done:
    """A command line that is to end by itself."""
    return within("demo", "--no-open", *arguments, **environment)


@contextmanager
def started(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A page at any free port, its temporary files in a folder; the process and its port."""
    command = [sys.executable, "-m", "ferstream", "demo", "--no-open", "--port", "0", *words]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder), "FERSTREAM_PASSWORD": "long enough"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            found = re.match(r"ferstream: http://[0-9.]+:(\d+)/ ", line)
            assert found, line + process.stderr.read()
            yield process, found[1]
        finally:
            # A failure before the signal would else wait for ever.
            process.kill()


def test_it_answers_and_ends_clean_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    """Signal after signal. Of a killed page its visitors' videos are gone as soon as any page
    starts. A password in clear is told of, and a page without one, but not on this machine alone.
    """
    killed: Path | None = None
    everywhere = ("--host", "0.0.0.0")
    for number, words, said in (
        (signal.SIGKILL, (), ""),
        (signal.SIGINT, (), ""),
        (signal.SIGTERM, everywhere, "--login asks"),
        (signal.SIGHUP, (*everywhere, "--login", "me"), "travel in clear"),
    ):
        with started(tmp_path, *words) as (process, port):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                for path in ("healthz", "readyz"):
                    answer = client.get(path)
                    assert answer.status_code == 200 and answer.json()["status"]
                    assert answer.headers["x-content-type-options"] == "nosniff"
                assert killed is None or not killed.exists()
                if "--login" in words:
                    assert client.post("page/visits").status_code == 401
                else:
                    assert "ferstream" in client.get("").text
                    visit = client.post("page/visits").json()["visit"]
                    client.post(f"page/visits/{visit}/clip", content=b"a video")
                    (folder,) = tmp_path.glob(f"ferstream-page-*/{visit}")
            process.send_signal(number)
            assert process.wait(60) == (128 + number if number != signal.SIGKILL else -number)
            assert process.stderr is not None
            told = process.stderr.read()
            assert said in told and told.count("\n") == bool(said)
        if number == signal.SIGKILL:
            assert folder.exists()
            killed = folder
        else:
            assert not list(tmp_path.glob("*ferstream*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--login", "me"], "--login needs a password"),
        (
            ["--login", "me", "--password-file", "/nowhere/x"],
            "cannot read the password in",
        ),
        (["--login", "me", "--password-file", "/etc/passwd"], "others can read the password"),
        (["--allow-sources", "http://camera/x"], "is no host"),
        (["--certificate", "cert.pem"], "give --certificate and --key"),
        (["--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: list[str], said: str) -> None:
    done = run(arguments)
    assert done.status == 1 and said in done.error
    assert done.error.count("\n") == 1 and done.out == ""


def test_short_password_is_refused_and_not_repeated() -> None:
    done = run(["--login", "me"], FERSTREAM_PASSWORD="hunter2")
    assert done.status == 1 and "8 characters" in done.error
    assert "hunter2" not in done.error


def test_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(["--port", str(taken.getsockname()[1])])
    assert done.status == 1 and "already in use" in done.error
