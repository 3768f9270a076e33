"""Frames about an expression's peak, of prepared clips and of the synthetic face."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.synthetic import SyntheticFaces, SyntheticHead, write_packed
from ferstream.training.papers.neighborhood import figures
from ferstream.training.papers.neighborhood.figures import (
    NEIGHBOURS,
    sequences_for,
    synthetic_sequences,
)
from tests.training.learning.test_draws import write_prepared
from tests.training.tiny_head import tiny_kit


def test_real_sequences_are_asked_about_their_peaks(tmp_path: Path) -> None:
    """Twelve clips of six frames each, of which training shows the last."""
    folder = write_prepared(tmp_path / "clips", ["all"] * 72)
    facts = json.loads((folder / "set.json").read_text())
    (folder / "set.json").write_text(json.dumps({**facts, "kind": "clips", "layout": "ck+"}))
    with np.load(folder / "shard-00000.npz") as stored:
        columns = dict(stored)
    first = {name: columns[name][:12] for name in columns if name not in ("crops", "landmarks")}
    first["offset"] = np.arange(0, 73, 6)
    np.savez(folder / "shard-00000.npz", **{**columns, **first, "times_s": columns["times_s"]})
    made = load_splits(str(folder), None)
    sequences = sequences_for(made, str(folder), None)
    assert sequences is not None and len(sequences) == len(made.train) < 12
    row = int(made.train.names[0].removeprefix("face")) * 6
    np.testing.assert_array_equal(made.train.pixels[0], columns["crops"][row + 5])
    asked = np.stack(list(sequences.frames.pixels))[:NEIGHBOURS]
    np.testing.assert_array_equal(asked, columns["crops"][row + 1 : row + 5])
    assert sequences.label.tolist() == made.train.label.tolist()


def test_synthetic_onsets_end_at_their_peak() -> None:
    """Neutral is left out; the frames are those before the last, and the same every time."""
    head, labels = SyntheticHead(tiny_kit()), ("anger", "neutral", "happiness")
    made = synthetic_sequences(head, labels, a_word=2)
    assert len(made) == 4 and made.name == "synthetic onsets of 2 expressions"
    assert made.label.tolist() == [2, 2, 0, 0] and len(made.frames) == 4 * NEIGHBOURS
    again = synthetic_sequences(head, labels, a_word=2)
    np.testing.assert_array_equal(made.frames.pixels, again.frames.pixels)
    clip = SyntheticFaces(head, figures.ONSETS).clip(0, "happiness")
    np.testing.assert_array_equal(made.frames.pixels[:NEIGHBOURS], clip.pixels[-5:-1])
    assert clip.levels[-1] == pytest.approx(1, abs=1e-3) and (np.diff(clip.levels) >= 0).all()
    assert made.frames.crop(0, 48).shape == (48, 48)


def test_there_are_none_without_a_face_or_for_other_words(tiny_dir: Path, tmp_path: Path) -> None:
    data = load_splits("fer2013plus", str(tiny_dir))
    assert sequences_for(data, "fer2013plus", str(tiny_dir)) is None, "no 3D face there"
    strange = replace(data.train, labels=tuple("abcdefgh"))
    kit = tmp_path / "ict_facekit"
    kit.mkdir()
    write_packed(tiny_kit(), kit / "ict_facekit.npz")
    assert sequences_for(replace(data, train=strange), "fer2013plus", str(tmp_path)) is None
