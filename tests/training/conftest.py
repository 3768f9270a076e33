"""Fixtures of the training side: a small data folder, and what is read from it once."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.calibration.gate import Budget
from ferstream.calibration.quantize import Options
from ferstream.engines.bundle import Bundle
from ferstream.training.datasets.fer import FerPlus, load_fer_plus
from ferstream.training.datasets.motion import FaceShape, fit_face_shape
from ferstream.training.exporting import image
from ferstream.training.exporting.export import export
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import train_system
from ferstream.training.systems.default import SYSTEM, DefaultOptions
from tests.training.judged_layout import rewritten, write_wild, write_words
from tests.training.layout import write_layout
from tests.training.toy_runs import train_toy

Exported = tuple[Bundle, dict[str, Any]]

SMALL = DefaultOptions(
    blendshape_epochs=1,
    epochs=1,
    batch=32,
    segmentation_weight=0.5,
    segmentation_width=8,
    heads_epochs=2,
    heads_batch=32,
    stacks=64,
    motion_epochs=2,
    motion_batch=32,
    clips=16,
    attention_epochs=1,
    attention_batch=8,
)
"""Each stage of the default bundle's training for a few steps."""


LENIENT = Options(rounds=0, sweep=False, budget=Budget(1.0, 1.0, 0.0, 9.0, 1.0))
"""A gate that networks which learned for a moment pass, whatever the machine is busy with."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are small and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Rendered faces are kept for the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def whole_int8() -> Iterator[None]:
    """Image systems are quantized without trying each layer alone, which takes longer than all else
    of an export. test_image_bundle.py tries them for one bundle, tests/calibration in all ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "Options", partial(Options, sweep=False))
        yield


@pytest.fixture(scope="session", autouse=True)
def tables_read_once() -> Iterator[None]:
    """PyTorch's exporter reads its tables of operators anew for each network, a second or two of
    the three that a small one takes; here they stay as they are."""
    export, patch = torch.onnx.export, pytest.MonkeyPatch()

    @cache
    def keep_tables() -> None:
        from torch._export import utils
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        read = staticmethod(cache(ONNXRegistry.from_torchlib))
        patch.setattr(ONNXRegistry, "from_torchlib", read)
        found = utils._materialize_cpp_cia_ops
        patch.setattr(utils, "_materialize_cpp_cia_ops", cache(found))

    def exported(*given: Any, **how: Any) -> Any:
        keep_tables()
        return export(*given, **how)

    patch.setattr(torch.onnx, "export", exported)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the real data, with 98 drawn faces a split."""
    return write_layout(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def judged_dir(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with judgements, and with wild faces of all splits."""
    folder = shutil.copytree(tiny_dir, tmp_path_factory.mktemp("judged") / "data")
    write_words(folder)
    rewritten(write_wild(folder), split=np.array([1, 0, 0, 0, 2, 2], np.uint8))
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_dir: Path) -> FerPlus:
    """Its training split."""
    return load_fer_plus("train", tiny_dir)


@pytest.fixture(scope="session")
def shape(tiny: FerPlus) -> FaceShape:
    """The map from blendshapes to landmarks fitted on it."""
    return fit_face_shape(tiny)


@pytest.fixture(scope="session")
def real(data_dir: Path) -> FerPlus:
    """The real test split; skips where the data is absent."""
    return load_fer_plus("test", data_dir)


@contextmanager
def lightning_warns() -> Iterator[None]:
    """Lightning warns of few workers, short epochs and folders that are there already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        yield


@pytest.fixture(scope="session")
def trained(judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with all stages, each trained for a few steps; tests leave it as it is."""
    run = tmp_path_factory.mktemp("run")
    with lightning_warns():
        return train_system(SYSTEM, SMALL, run, str(judged_dir)).path


@pytest.fixture(scope="session")
def exported(trained: Path, judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """That run as a bundle, and how it was put together; tests leave it as it is."""
    return export(
        trained, tmp_path_factory.mktemp("exported") / "bundle", str(judged_dir), options=LENIENT
    )


@pytest.fixture(scope="session")
def paper_run(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of slfer at toy size, never stopped; tests leave it as it is."""
    with lightning_warns():
        return train_toy(tmp_path_factory.mktemp("paper") / "run", str(tiny_dir))
