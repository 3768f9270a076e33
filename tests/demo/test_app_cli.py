"""`ferstream demo` as a user starts and ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("gradio")


def run(
    repository: Path, arguments: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command line that is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "ferstream", "demo", "--no-open", *arguments],
        cwd=repository,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_starts_answers_and_ends_clean(
    repository: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "ferstream", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=repository,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line + process.stderr.read()
            with httpx.Client(base_url=found[0], timeout=60) as client:
                assert "ferstream" in client.get("").text
                for path in ("healthz", "readyz"):
                    answer = client.get(path)
                    assert answer.status_code == 200 and answer.json()["status"]
                    assert answer.headers["x-content-type-options"] == "nosniff"
                visit = client.post("page/visits").json()["visit"]
                assert any(tmp_path.glob(f"ferstream-page-*/{visit}"))
                assert "Traceback" not in line
            process.send_signal(number)
            assert process.wait(30) == 128 + number
            assert process.stderr.read() == ""
        finally:
            # A failure before the signal would else wait for ever.
            process.kill()
    assert not list(tmp_path.glob("ferstream-page-*"))


def test_a_killed_page_leaves_nothing_to_the_next(repository: Path, tmp_path: Path) -> None:
    """Its visitors' videos are gone as soon as any page starts; who runs beside it keeps theirs."""
    left: list[Path] = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-m", "ferstream", "demo", "--no-open", "--port", "0"],
            cwd=repository,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
                assert found
                with httpx.Client(base_url=found[0], timeout=60) as client:
                    visit = client.post("page/visits").json()["visit"]
                    client.post(f"page/visits/{visit}/clip", content=b"a video")
                (folder,) = tmp_path.glob(f"ferstream-page-*/{visit}")
                assert not any(path.exists() for path in left)
                left.append(folder)
            finally:
                process.send_signal(number)
                process.wait(30)
        assert folder.exists() == (number == signal.SIGKILL)
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
def test_what_cannot_be_is_said_in_one_line(
    repository: Path, arguments: list[str], said: str
) -> None:
    done = run(repository, arguments)
    assert done.returncode == 1 and said in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_short_password_is_refused_and_not_repeated(repository: Path) -> None:
    done = run(repository, ["--login", "me"], FERSTREAM_PASSWORD="hunter2")
    assert done.returncode == 1 and "8 characters" in done.stderr
    assert "hunter2" not in done.stderr


def test_taken_port_is_said_in_one_line(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(repository, ["--port", str(taken.getsockname()[1])])
    assert done.returncode == 1 and "already in use" in done.stderr


def test_a_password_in_clear_is_told_of(repository: Path) -> None:
    """And a page without one; on this machine alone neither matters."""
    for words, said in ((["--login", "me"], "travel in clear"), ([], "--login asks")):
        command = [sys.executable, "-m", "ferstream", "demo", "--no-open", "--port", "0", *words]
        with subprocess.Popen(
            [*command, "--host", "0.0.0.0"],
            cwd=repository,
            env={**os.environ, "FERSTREAM_PASSWORD": "long enough"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                assert said in process.stderr.readline()
            finally:
                process.kill()
