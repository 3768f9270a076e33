"""Rendered faces as a data set: who is in which split, what is known, and that they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.training.datasets import synthetic_splits
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.synthetic import ACTION_UNITS, load_synthetic_head, write_packed
from ferstream.training.datasets.synthetic_splits import cache_folder, rendered
from ferstream.training.errors import OptionsWrong
from tests.training.tiny_head import tiny_kit


@pytest.fixture(scope="module")
def head_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    (folder / "ict_facekit").mkdir()
    write_packed(tiny_kit(), folder / "ict_facekit" / "ict_facekit.npz")
    return folder


def test_words_and_poses_and_people(head_dir: Path) -> None:
    splits = load_splits("synthetic:f2ed54:poses", head_dir, limit=216)
    assert len(splits.labels) == 54 and len(splits.train) == 216
    everyone = []
    for part in (splits.train, splits.validation, splits.test):
        assert part.people is not None
        everyone.append(set(part.people.tolist()))
    assert not everyone[0] & everyone[1] and not (everyone[0] | everyone[1]) & everyone[2]
    assert everyone[1] <= set(range(80, 100)) and everyone[2] <= set(range(100, 120))
    train = splits.train
    assert train.poses is not None and set(train.poses) == {
        "half_left",
        "front",
        "half_right",
        "bird",
    }
    assert train.units is not None and train.units.shape == (216, len(ACTION_UNITS))
    assert set(np.unique(train.units)) == {-1, 0, 1} and train.unit_names == ACTION_UNITS
    assert train.contours_xy is not None and train.contours_xy.shape == (216, 68, 2)
    assert train.people is not None
    one = train.people.reshape(4, 54)
    assert (one == one[0]).all() and len(set(one[0])) > 9, "one moment, seen from four sides"
    few = train.take(np.array([3, 5]))
    assert few.poses is not None and few.poses.tolist() == train.poses[[3, 5]].tolist()
    assert few.units is not None and np.array_equal(few.units, train.units[[3, 5]])


def test_a_set_is_rendered_once(head_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_splits("synthetic", head_dir, limit=8)
    kept = sorted(cache_folder().glob("faces-*.npz"))

    def never(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(synthetic_splits, "_columns", never)
    again = load_splits("synthetic", head_dir, limit=8)
    assert again.about() == first.about()
    assert all(map(np.array_equal, first.test.pixels, again.test.pixels))
    with pytest.raises(AssertionError, match="rendered again"):
        load_splits("synthetic", head_dir, limit=9)
    assert sorted(cache_folder().glob("faces-*.npz")) == kept


def test_a_cut_file_is_rendered_again(head_dir: Path) -> None:
    head = load_synthetic_head(head_dir)
    made = []

    def make() -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        made.append(1)
        return {"a": np.arange(1000)}

    rendered("cut", head, {"n": 1}, make)
    (file,) = cache_folder().glob("cut-*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert rendered("cut", head, {"n": 1}, make)["a"].sum() == 499500 and len(made) == 2
    assert len(rendered("cut", head, {"n": 1}, make)) == 1 and len(made) == 2


@pytest.mark.parametrize("name", ["synthetic:words", "synthetic:fg33:front"])
def test_names_that_are_none(name: str, head_dir: Path) -> None:
    with pytest.raises(OptionsWrong, match=f"no set of faces '{name}'"):
        load_splits(name, head_dir)
