"""A machine with an NVIDIA GPU and TensorRT, both doubles that keep the documented rules."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferstream.engines import cuda
from ferstream.engines import engine as fallback
from ferstream.engines.build import BuildOptions, build_bundle
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.plan import PLANS_VARIABLE

from . import tiny
from .cuda_double import DeviceDouble
from .trt_double import make_module
from .trt_world import World

GPU = cuda.Gpu("NVIDIA Double 1", (8, 9), 8 << 30, (13, 0))


VERSION = "10.16.1.11"
MOST = 8
"""The greatest batch of the plans that `built` has."""


@contextmanager
def a_machine(patch: pytest.MonkeyPatch) -> Iterator[World]:
    """The machine, for as long as the block lasts."""
    world = World(DeviceDouble(), VERSION, GPU.name)
    patch.setattr(cuda, "_probe", lambda library: GPU)
    patch.setattr(cuda, "_load_found", lambda library: object())
    patch.setattr("ferstream.engines.trt_log.cuda_of_tensorrt", lambda: 13)
    for module in ("ferstream.engines.trt", "ferstream.engines.build"):
        patch.setattr(f"{module}.open_device", lambda: world.device)
    patch.setitem(sys.modules, "tensorrt", make_module(world))
    patch.setattr(fallback, "_told", set())
    yield world
    assert world.device.is_clean, "GPU memory, streams or graphs were not given back"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """The machine; everything taken from its GPU must be given back when the test ends."""
    monkeypatch.setenv(PLANS_VARIABLE, str(tmp_path / "plans"))
    with a_machine(monkeypatch) as world:
        yield world


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The tiny bundle, in a folder of its own."""
    return tiny.bundle(tmp_path / "tiny")


@pytest.fixture(scope="session")
def _built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("built")
    bundle = tiny.bundle(place / "tiny")
    with pytest.MonkeyPatch.context() as patch, a_machine(patch):
        patch.setenv(PLANS_VARIABLE, str(place / "plans"))
        options = BuildOptions(max_batch=MOST, opt_batch=4)
        assert {r.state for r in build_bundle(bundle, "fp32", options)} == {"built"}
    return place


@pytest.fixture
def built(machine: World, _built_once: Path, tmp_path: Path) -> Bundle:
    """The tiny bundle with its plans in fp32 for batches up to MOST, on the machine."""
    shutil.copytree(_built_once / "plans", tmp_path / "plans")
    return load_bundle(shutil.copytree(_built_once / "tiny", tmp_path / "built"))
