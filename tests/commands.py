"""The command line in the tests' own process: for what ends before a process of its own matters."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import ferstream


class Done(NamedTuple):
    """What a command did."""

    status: int
    out: str
    error: str


def within(*arguments: str | Path, **environment: str) -> Done:
    """Runs `ferstream` with these words, as on a terminal 200 columns wide without a display.

    What libraries write by themselves, past Python, is not seen: who cares starts a process.
    """
    out, error = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(error),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(SystemExit) as left,
    ):
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "FERSTREAM_TRACE", "FERSTREAM_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in {"COLUMNS": "200", **environment}.items():
            patch.setenv(name, value)
        ferstream.main([str(word) for word in arguments])
    assert isinstance(left.value.code, int)
    return Done(left.value.code, out.getvalue(), error.getvalue())


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """What a command would be called with; nothing is run. A misused one ends the test."""
    from typer.core import TyperGroup

    command: Any = ferstream.command_line()
    rest: list[str] = list(arguments)
    name: str | None = "ferstream"
    context = command.context_class(command, info_name=name)
    while isinstance(command, TyperGroup):
        name, command, rest = command.resolve_command(context, rest)
        context = command.context_class(command, info_name=name, parent=context)
    found: dict[str, Any] = command.make_context(name, rest, parent=context.parent).params
    return found
