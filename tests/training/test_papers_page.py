"""docs/papers.md points at code that is there, and has a row for every equation of the papers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/papers.md").read_text("utf-8")
POINTERS = sorted(set(re.findall(r"`([\w/]+\.py): ([\w.]+)`", PAGE)))
EQUATIONS = {"000": (1, 6), "001": (1, 14), "002": (2, 5), "003": (1, 5), "004": (1, 3)}
"""First and last that each paper numbers."""


def names_in(path: Path) -> set[str]:
    """Classes, functions and constants of a module, and methods as Class.method."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found |= {node.name, *(f"{node.name}.{method.name}" for method in methods)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("path", "name"), POINTERS)
def test_what_it_points_at_is_there(path: str, name: str) -> None:
    assert name in names_in(ROOT / "training" / path)


@pytest.mark.parametrize("paper", EQUATIONS)
def test_every_equation_has_a_row(paper: str) -> None:
    (section,) = re.findall(rf"^## {paper}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    told: set[int] = set()
    for first, link, last in re.findall(r"eq\. (\d+)(?: (to|and) (\d+))?", section):
        told |= {int(first), int(last or first)}
        told |= set(range(int(first), int(last))) if link == "to" else set()
    first_number, last_number = EQUATIONS[paper]
    assert sorted(told) == list(range(first_number, last_number + 1))


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
