"""The command line as a whole: what is listed, what is loaded, how failures end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ferstream
from ferstream.engines.bundle import Bundle

from .commands import Done, parsed, within
from .engines import tiny

HEAVY = ("torch", "mediapipe", "cv2", "lightning", "gradio", "openvino", "jax")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def run(*arguments: str, code: str = "import ferstream; ferstream.main()") -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "120", "FERSTREAM_TRACE": ""},
    )
    return done.returncode, done.stdout, done.stderr


def here() -> list[str]:
    return [n for n, c in ferstream.COMMANDS.items() if ferstream._is_here(c.target)]


def test_help_lists_every_command_of_this_installation() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "bundle" in here()
    for name in here():
        assert f" {name} " in out
        assert ferstream.COMMANDS[name].help in out


@pytest.mark.parametrize("name", here())
def test_every_command_loads_and_explains_itself(name: str) -> None:
    status, out, error = run(name, "--help")
    assert (status, error) == (0, "")
    assert f"ferstream {name}" in out


def test_version() -> None:
    assert run("--version") == (0, f"ferstream {ferstream.__version__}\n", "")


def test_import_is_light() -> None:
    code = "import ferstream, sys; print([m for m in sys.argv[1:] if m in sys.modules])"
    assert run(*HEAVY, "typer", "numpy", "ferstream.stream", code=code) == (0, "[]\n", "")


def test_commands_load_only_what_they_need(bundle: Bundle) -> None:
    code = (
        "import ferstream, sys\n"
        "try: ferstream.main(['bundle', 'info', sys.argv[1]])\n"
        "finally: print([m for m in sys.argv[2:] if m in sys.modules], file=sys.stderr)"
    )
    status, out, error = run(str(bundle.path), *HEAVY, code=code)
    assert (status, error) == (0, "[]\n")
    assert "tiny 1" in out


def test_json_is_one_document_and_nothing_else(bundle: Bundle) -> None:
    status, out, error = within("bundle", "info", bundle.path, "--json")
    assert (status, error) == (0, "")
    assert json.loads(out)["name"] == "tiny"


@pytest.mark.parametrize(
    "arguments", [("bundel",), ("bundle", "look"), ("bundle", "bench", "--runs", "no"), ("--no",)]
)
def test_misuse_ends_with_2(arguments: tuple[str, ...]) -> None:
    status, out, error = within(*arguments)
    assert (status, out) == (2, "")
    assert "Usage: ferstream" in error


@pytest.mark.parametrize(
    ("old", "now"),
    [
        (("live", "sample", "--engine", "openvino"), "--backend"),
        (("live", "sample", "--engine=openvino"), "--backend"),
        (("live", "sample", "--no-window"), "--no-show"),
        (("score", "sample", "--window-s", "3"), "--window-length"),
        (("bundle", "bench", "--engines", "openvino"), "--backends"),
    ],
)
def test_old_names_of_options_work_with_a_notice(
    old: tuple[str, ...], now: str, capfd: pytest.CaptureFixture[str]
) -> None:
    name = old[-1 if old[-1].startswith("--") else 2].partition("=")[0]
    found = parsed(old)
    assert capfd.readouterr().err == f"ferstream: {name} is now called {now}\n"
    assert found == parsed([word.replace(name, now) for word in old])
    assert name not in within(*old[:1], "--help").out


def test_project_error_is_one_line_and_1(tmp_path: Path) -> None:
    status, out, error = within("bundle", "info", tmp_path / "no-such-bundle")
    assert (status, out) == (1, "")
    assert error.startswith("ferstream: no bundle: ")
    assert error.count("\n") == 1


def failing(raised: BaseException, **environment: str) -> Done:
    """What the command line makes of an exception in the middle of `bundle info`."""

    def fail(*_: object) -> None:
        raise raised

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ferstream.engines.cli.load_bundle", fail)
        return within("bundle", "info", **environment)


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "out.csv"), 1, "Permission denied: 'out.csv'"),
        (ModuleNotFoundError("x", name="torch.nn"), 1, "pip install 'ferstream[train]'"),
        (ModuleNotFoundError("x", name="gradio"), 1, "pip install 'ferstream[demo]'"),
        (ValueError("two\n lines"), 1, "unexpected ValueError: two lines (FERSTREAM_TRACE=1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_are_one_line(raised: BaseException, status: int, said: str) -> None:
    got, out, error = failing(raised)
    assert (got, out) == (status, "")
    assert said in error
    assert "Traceback" not in error
    assert error.count("\n") <= 1


def test_trace_on_request() -> None:
    with pytest.raises(ValueError, match="deep"):
        failing(ValueError("deep"), FERSTREAM_TRACE="1")


def test_public_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        ferstream.__getattr__("Nothing")
    assert ferstream.open_source.__module__.startswith("ferstream.stream.sources")
    assert ferstream.Recognizer.__module__ == "ferstream.stream.recognize"
