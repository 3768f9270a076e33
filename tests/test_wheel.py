"""What a user gets: the wheel's files, sizes and requirements."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

PACKAGES = ("stream", "engines", "training", "calibration", "demo")
DATA = {
    "stream": {".npy", ".json"},
    "stream/sources": {".png"},
    "engines/taxonomies": {".json"},
    "engines/bundles": {".json", ".onnx"},
    "training/datasets": {".json", ".csv", ".npz"},
    "training/datasets/synthetic": {".json"},
    "demo/assets": {".js", ".css", ".html"},
    "demo/live": {".js", ".css"},
}
"""Where files that are no code may lie, and of which kinds."""


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("ferstream", *PACKAGES):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    build = "wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir"
    command = [sys.executable, "-m", "pip", *build.split(), str(source / "out"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next((source / "out").glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def contents(wheel: zipfile.ZipFile) -> list[PurePosixPath]:
    """The package's files, as they lie in the repository."""
    names = [PurePosixPath(n) for n in wheel.namelist() if ".dist-info/" not in n]
    outside = [str(name) for name in names if name.parts[0] != "ferstream"]
    assert not outside, "nothing but one package may land beside other projects'"
    return [PurePosixPath(*n.parts[1:]) if n.parts[1] in PACKAGES else n for n in names]


def test_every_module_is_in(wheel: zipfile.ZipFile, repository: Path) -> None:
    """A package that pyproject.toml forgets to list shows here."""
    modules = {
        file.relative_to(repository).as_posix()
        for package in ("ferstream", *PACKAGES)
        for file in (repository / package).rglob("*.py")
    }
    held = {str(file) for file in contents(wheel) if file.suffix == ".py"}
    assert held == modules


def test_nothing_but_code_and_its_data_is_in(wheel: zipfile.ZipFile) -> None:
    stray = [
        str(file)
        for file in contents(wheel)
        if file.suffix != ".py"
        and file != PurePosixPath("ferstream/py.typed")
        and not any(file.is_relative_to(at) and file.suffix in DATA[at] for at in DATA)
    ]
    assert not stray


def test_label_lists_and_bundles_are_in(wheel: zipfile.ZipFile, repository: Path) -> None:
    wanted = {
        file.relative_to(repository).as_posix()
        for pattern in ("taxonomies/*.json", "bundles/**/*.json", "bundles/**/*.onnx")
        for file in (repository / "engines").glob(pattern)
    }
    assert len(wanted) >= 5
    assert wanted <= {str(file) for file in contents(wheel)}


def test_what_the_page_loads_is_in(wheel: zipfile.ZipFile, repository: Path) -> None:
    wanted = {
        file.relative_to(repository).as_posix()
        for folder in ("demo/assets", "demo/live")
        for file in (repository / folder).iterdir()
        if file.suffix in DATA[folder]
    }
    assert len(wanted) >= 15
    assert wanted <= {str(file) for file in contents(wheel)}


def test_no_data_of_people_is_in(wheel: zipfile.ZipFile) -> None:
    """Arrays shipped for training are statistics: small, and none is a stack of pictures."""
    for file in contents(wheel):
        name = f"ferstream/{file}"
        if file.is_relative_to("training/datasets"):
            assert wheel.getinfo(name).file_size <= 1e6, file
        if file.suffix == ".npz":
            with np.load(io.BytesIO(wheel.read(name)), allow_pickle=False) as arrays:
                shapes = {name: arrays[name].shape for name in arrays}
            assert all(len(shape) < 3 for shape in shapes.values()), (file, shapes)


def test_bundles_and_wheel_are_small(wheel: zipfile.ZipFile) -> None:
    sizes = {info.filename: info.file_size for info in wheel.infolist()}
    assert (
        sum(size for n, size in sizes.items() if n.startswith("ferstream/engines/bundles/")) <= 12e6
    )
    assert sum(sizes.values()) <= 16e6


def test_base_installation_needs_no_training_library(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist") or []
    base = " ".join(line for line in required if "extra ==" not in line)
    assert "onnxruntime" in base
    for heavy in (
        "torch",
        "lightning",
        "onnx==",
        "openvino",
        "gradio",
        "tensorrt",
        "pyarrow",
        "pandas",
        "polars",
        "ray",
        "mediapipe",
        "dlib",
        "scikit",
        "scipy",
        "matplotlib",
        "contrib",
    ):
        assert heavy not in base


def test_metadata(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["Name"] == "ferstream"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    extras = {"train", "openvino", "demo", "serve", "mqtt", "metrics", "tables", "gpu"}
    extras |= {"mediapipe", "dlib", "plots", "ray", "remote", "docs", "checks", "test", "all"}
    assert set(metadata.get_all("Provides-Extra") or []) == extras
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "ferstream = ferstream:main" in wheel.read(entry).decode()
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_versions_agree(metadata: Message) -> None:
    import ferstream

    assert metadata["Version"] == ferstream.__version__


def test_a_script_above_the_checkout_finds_the_package(repository: Path, tmp_path: Path) -> None:
    """A folder of the package's name beside the script is no package, and does not hide it: an
    editable installation (mode compat in pyproject.toml) puts the checkout on Python's path."""
    (tmp_path / "ferstream" / "stream").mkdir(parents=True)
    script = tmp_path / "script.py"
    script.write_text("from ferstream import FaceOptions; print(FaceOptions.__module__)")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "ferstream.stream.faces.options\n", done.stderr
    settings = (repository / "pyproject.toml").read_text("utf-8")
    assert '[tool.distutils.editable_wheel]\nmode = "compat"' in settings
