"""The first commands: README's example as typed, and systems on any folder of classes."""

from __future__ import annotations

import re
import shlex
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import ferstream
from ferstream.engines.bundle import load_bundle
from ferstream.stream.sources import open_source
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.learning.run_folder import open_run
from ferstream.training.learning.system import open_system
from tests.training.conftest import lightning_warns
from tests.training.learning.test_draws import write_prepared

from ..media import video

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
TYPED = [
    line.split("  #")[0].removeprefix(".venv/bin/ferstream ").strip()
    for line in re.findall(r"^ {4}(\.venv/bin/ferstream .*)$", README, re.MULTILINE)
    if "raf" in line.lower() or ("msau" in line and "slfer" not in line)
]
NUMBERED = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's classes, 1 to 7."""


def write_raf(root: Path) -> None:
    """RAF-DB's basic half in folders 1 to 7: one real face, each time in another light."""
    (frame,) = islice(open_source("sample").frames(), 1)
    rng = np.random.default_rng(0)
    for split, each in (("train", 30), ("test", 1)):
        for number in range(1, 8):
            for at in range(each):
                light = np.clip(frame.pixels * rng.uniform(0.6, 1.2), 0, 255).astype(np.uint8)
                path = root / f"DATASET/{split}/{number}/{split}_{number}{at}_aligned.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), light[::2, ::2, ::-1])


def ran(*words: str) -> int:
    with lightning_warns(), pytest.raises(SystemExit) as left:
        ferstream.main(list(words))
    return int(left.value.code or 0)


def test_the_readmes_example_works_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [line.split()[0] for line in TYPED] == ["data", "train", "export", "score"]
    monkeypatch.chdir(tmp_path)
    write_raf(tmp_path / "RAF-DB")
    video(tmp_path / "clip.mp4", frames=5)
    for line in TYPED:
        assert ran(*shlex.split(line)) == 0, (line, capsys.readouterr().err)
    assert tuple(open_run("runs/msau-fast").metrics()["labels"]) == NUMBERED
    units = load_bundle("bundles/msau").manifest.head("au")
    assert units.supervision == "weakly supervised" and "the default bundle" in units.note


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        ("neighborhood", {"batch": 9}),
        ("f2ed", {"synthesis": "no"}),
        ("msau", {"basic_classes": 9}),
    ],
)
def test_options_that_nobody_chose_fit_the_classes(
    system: str, wanted: dict[str, Any], tmp_path: Path
) -> None:
    """Nine classes that no list knows, twelve faces to learn from."""
    labels = [f"mood{number}" for number in range(9)]
    faces = write_prepared(
        tmp_path / "faces", ["train"] * 12 + ["validation"] * 9 + ["test"] * 9, labels
    )
    opened = open_system(system)
    options = opened.options.fast()
    assert opened.fitted is not None
    data = opened.data(type(options)(faces=str(faces)), None)
    assert opened.fitted(options, data) == wanted
    assert len(load_splits(str(faces), None).labels) == 9


def test_what_was_chosen_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = write_prepared(tmp_path / "faces", ["train"] * 20 + ["test"] * 6)
    for words, said in (
        (["f2ed", "--synthesis", "yes"], "does not say"),
        (["neighborhood", "--batch", "3"], "multiple of the 2 classes"),
        (["slfer", "--batch", "64"], "do not fill one batch of 64"),
    ):
        run = tmp_path / words[0]
        given = ["--faces", str(faces), "--fast", "--run", str(run)]
        assert ran("train", *words, *given) == 1
        assert said in capsys.readouterr().err and not run.exists()
