"""The README keeps its word: its links lead somewhere, its commands are commands, its code runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .commands import parsed

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text("utf-8")


def commands() -> list[str]:
    """Lines of indented blocks that call ferstream, without their comments."""
    lines = [
        line.split("  #")[0].strip()
        for page in PAGES
        if page.name not in ("BENCHMARKS.md", "CHANGELOG.md")  # they tell of commands as they were
        for line in re.findall(
            r"^ {4}(?:\.venv/bin/)?(ferstream .*)$", page.read_text("utf-8"), re.MULTILINE
        )
    ]
    return list(dict.fromkeys(lines))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("line", commands())
def test_commands_are_command_lines(line: str) -> None:
    """With options that are there and values that they take."""
    assert parsed(shlex.split(line)[1:])


def test_each_line_names_the_extra_that_it_needs() -> None:
    """What a bare installation says of the lines that have one in brackets, and of no other."""
    named = re.findall(r"^ {4}\.venv/bin/ferstream (\w+).*# \[([\w,]+)\]", README, re.MULTILINE)
    assert ("demo", "demo") in named and ("serve", "serve") in named
    script = """
        import sys
        from importlib.abc import MetaPathFinder
        from ferstream import _EXTRAS, main

        # What a backend is asked for is another matter.
        LEFT_OUT = {"mqtt", "metrics", "demo", "serve", "train"}

        class Lacking(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if _EXTRAS.get(name.partition(".")[0]) in LEFT_OUT:
                    raise ModuleNotFoundError(f"no {name}", name=name)

        sys.meta_path.insert(0, Lacking())
        for line in sys.argv[1:]:
            try:
                main(line.split())
            except SystemExit as left:
                print(line, left.code, file=sys.stderr)
    """
    lines = {
        "score sample": None,
        "live sample --to mqtt://127.0.0.1/faces": "mqtt",
        "live sample --metrics 0": "metrics",
        "demo": "demo",
        "serve": "serve",
        "compare runs/one": "train",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *lines],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = done.stderr.splitlines()
    for line, extra in lines.items():
        at = next(n for n, text in enumerate(told) if text.startswith(f"{line} "))
        if extra is None:
            assert told[at] == f"{line} 0", done.stderr
        else:
            assert told[at - 1].endswith(f"pip install 'ferstream[{extra}]'"), done.stderr


@pytest.mark.parametrize("target", ["run", "demo", "test", "docs"])
def test_make_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name in ("README.md", "docs/python.md")
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL), 1
    )
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_python_examples_run_as_written(
    code: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "a page", "exec"), {})
    assert "face 1" in capsys.readouterr().out


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
