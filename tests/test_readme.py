"""The README keeps its word: its links lead somewhere, its commands are commands, its code runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ferstream import main

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.name for path in ROOT.glob("*.md"))
GROUPS = ("train", "bundle", "data", "calibrate")
"""Commands with commands of their own."""
README = (ROOT / "README.md").read_text("utf-8")


def commands() -> list[str]:
    """Lines of indented blocks that call ferstream, without their comments."""
    lines = re.findall(r"^ {4}(?:\.venv/bin/)?(ferstream .*)$", README, re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("line", commands())
def test_commands_know_their_options(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *arguments = shlex.split(line)
    within = arguments[:1] if name in GROUPS and arguments else []
    with pytest.raises(SystemExit) as left:
        main([name, *within, "--help"])
    assert left.value.code == 0
    known = capsys.readouterr().out
    for option in (argument for argument in arguments if argument.startswith("--")):
        assert option in known, option


@pytest.mark.parametrize("target", ["run", "demo", "test"])
def test_make_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "README.md", "exec"), {})
    assert "face 1" in capsys.readouterr().out
