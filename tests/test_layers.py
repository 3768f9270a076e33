"""Who may import whom, and which package alone owns which library; the code is read, not run."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from .conftest import SLOW, TESTS, TOGETHER

PACKAGES = ("stream", "engines", "training", "calibration", "demo")

MAY_IMPORT = {
    "engines": set[str](),
    "stream": {"engines"},
    # For labelled faces, which are plain NumPy and stand alone.
    "calibration": {"engines", "training.datasets", "stream.faces.quality"},
    "training": {
        "engines",
        "calibration",
        "stream.clip",
        "stream.emotions",
        "stream.errors",
        "stream.eyes",
        "stream.faces",
        "stream.frame",
        "stream.recognize",
        "stream.result",
        "stream.sinks.base",
        "stream.sinks.tally",
        "stream.sources",
    },
    "demo": {"stream", "engines"},
}
"""Packages, or modules of packages, beside a package's own."""

OWNERS = {
    "onnxruntime": {"engines"},
    "openvino": {"engines"},
    "tensorrt": {"engines"},
    "cuda": {"engines"},
    "av": {"stream"},
    "gi": {"stream"},
    "mediapipe": {"stream"},
    "dlib": {"stream"},
    "fsspec": {"stream"},
    "paho": {"stream"},
    "prometheus_client": {"stream"},
    "pyarrow": {"stream"},
    "pycuda": {"engines"},
    "ray": {"stream"},
    "onnxruntime.quantization": {"calibration"},
    "nncf": {"calibration"},
    "modelopt": {"calibration"},
    "torch": {"training"},
    "lightning": {"training"},
    "gradio": {"demo"},
}
"""A library below another's name (onnxruntime.quantization) is owned for itself."""


def imported(source: str, package: str) -> Iterator[str]:
    """Full names of everything a module of `package` imports, within functions too.

    A module imported by a string (importlib.import_module) counts.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = ["ferstream", *package.split(".")]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def faults(source: str, package: str) -> list[str]:
    """What a module of this package (such as stream.sources) imports against the table."""
    own = package.split(".")[0]
    found = []
    everything = set(imported(source, package))
    # Outside the one package a checkout's folders would be modules of another name.
    found += [f"{own} imports {n}, not ferstream.{n}" for n in everything if _top(n) in PACKAGES]
    names = {name.removeprefix("ferstream.") for name in everything}
    for name in names:
        top = _top(name)
        if top in PACKAGES and top != own and not _allowed(name, MAY_IMPORT[own], names):
            found.append(f"{own} imports {name}")
        library = max((lib for lib in OWNERS if _within(name, lib)), key=len, default=None)
        if library and own not in OWNERS[library]:
            found.append(f"{own} imports {name}, which belongs to {', '.join(OWNERS[library])}")
        if top in ("tests", "ferstream"):
            found.append(f"{own} imports {name}")
    return sorted(found)


def _top(name: str) -> str:
    return name.split(".")[0]


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _allowed(name: str, allowed: set[str], names: set[str]) -> bool:
    """`from stream import align` names `stream` too; that alone is no import of the rest."""
    if any(_within(name, module) for module in allowed):
        return True
    below = {other for other in names if other.startswith(f"{name}.")}
    return bool(below) and all(any(_within(b, m) for m in allowed) for b in below)


@pytest.mark.parametrize("package", PACKAGES)
def test_table_is_kept(package: str, repository: Path) -> None:
    found = []
    files = sorted((repository / package).rglob("*.py"))
    assert files
    for file in files:
        name = ".".join(file.parent.relative_to(repository).parts)
        found += [f"{file.name}: {fault}" for fault in faults(file.read_text("utf-8"), name)]
    assert not found, "\n".join(found)


def test_labelled_faces_stand_alone(repository: Path) -> None:
    """training.datasets knows nothing of PyTorch, of calibration or of the rest of training."""
    found = []
    for file in sorted((repository / "training" / "datasets").rglob("*.py")):
        package = ".".join(file.parent.relative_to(repository).parts)
        for name in set(imported(file.read_text("utf-8"), package)):
            inner = name.removeprefix("ferstream.")
            own = _within(inner, "training.datasets") or _within(inner, "training.errors")
            stray = _within(inner, "training") and not own and inner != "training"
            if stray or _top(inner) in ("calibration", "torch", "lightning"):
                found.append(f"{file.name} imports {name}")
    assert not found, "\n".join(found)


SIGNALS = {
    *("_Disconnect", "Cancelled", "QueueFull", "PipelineEnd", "PipelineError", "Refusal"),
    *("SlotClosed", "SlotEmpty", "ProtocolBroken"),
}
"""Exceptions that one part of the program raises for another, which catches them."""


@pytest.mark.parametrize("package", PACKAGES)
def test_errors_are_of_one_tree(package: str, repository: Path) -> None:
    """Else the command line calls them unexpected."""
    built_in = {name for name in dir(builtins) if name.endswith(("Error", "Exception"))}
    strays = [
        f"{file.name}: {node.name}"
        for file in sorted((repository / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.name not in SIGNALS and node.bases
        if {ast.unparse(base) for base in node.bases} <= built_in
    ]
    assert not strays


def test_command_line_imports_no_library_when_imported(repository: Path) -> None:
    tree = ast.parse((repository / "ferstream" / "__init__.py").read_text("utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    source = "\n".join(ast.unparse(node) for node in top)
    known = {"__future__", "collections", "importlib", "os", "pathlib", "sys", "typing"}
    assert {_top(name) for name in imported(source, "")} <= {*known, "ferstream"}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("engines", "from ferstream.stream.frame import Frame"),
        ("engines", "def f():\n    import torch"),
        ("engines", "import importlib\nimportlib.import_module('ferstream.calibration.int8')"),
        ("engines", "from onnxruntime.quantization import quantize_static"),
        ("stream", "from ferstream.training import networks"),
        ("stream.sinks", "import onnxruntime as ort"),
        ("training", "from ferstream.stream.run import run"),
        ("training", "from ferstream.stream import align, track"),
        ("training", "import ferstream.stream"),
        ("training.datasets", "import mediapipe as mp"),
        ("calibration", "import torch.nn"),
        ("demo", "from ferstream import Recognizer"),
        ("demo", "from stream.frame import Frame"),
        ("stream.sinks", "from ...training import fit"),
    ],
)
def test_breach_is_seen(package: str, source: str) -> None:
    assert faults(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        (
            "training.datasets",
            "from ferstream.stream.faces.align import crop\nimport ferstream.engines.ort",
        ),
        ("training", "from ferstream.stream import clip, faces"),
        (
            "stream.sources",
            "from ..frame import Frame\nimport av\nimport ferstream.engines.ort",
        ),
        ("calibration", "from onnxruntime.quantization import quantize_static"),
        ("engines", "from . import contract\nfrom .bundle import load_bundle\nimport openvino"),
        ("engines", "from ferstream.errors import FerstreamError"),
    ],
)
def test_what_the_table_allows(package: str, source: str) -> None:
    assert not faults(source, package)


@pytest.mark.parametrize("pattern", [*SLOW, *chain.from_iterable(TOGETHER.values())])
def test_files_that_are_named_are_there(pattern: str) -> None:
    assert list(TESTS.glob(pattern)), f"{pattern} in tests/conftest.py names no file"
