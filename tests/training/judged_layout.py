"""Judgements of the drawn faces, and sets of pictures of a real face, in the real sets' layout."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage.data import astronaut

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.fer import SPLITS

WORDS = load_taxonomy("emo135").labels
BOX = (176.0, 66.0, 100.0, 128.0)
"""Of the face in the picture: x, y, width, height."""
NAMED = 4


def judgements(count: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Columns of ``count`` judgements: the eight in turn, four words of each face's own."""
    rng = np.random.default_rng(seed)
    words = np.full((count, 5), -1, np.int16)
    for row in range(count):
        words[row, :NAMED] = rng.choice(len(WORDS), NAMED, replace=False)
    return {
        "basic": (np.arange(count) % 8).astype(np.uint8),
        "intensity": rng.integers(0, 4, count).astype(np.uint8),
        "valence": rng.integers(-4, 5, count).astype(np.int8),
        "arousal": rng.integers(-4, 5, count).astype(np.int8),
        "words": words,
    }


def write_words(folder: Path) -> Path:
    """fer2013plus/words.npz beside the tiny labels: each face once, those of test twice."""
    split = np.load(folder / "fer2013plus" / "labels.npz")["split"]
    image = np.arange(len(split))
    test = image[split == SPLITS["test"]]
    image = np.concatenate([image, test])
    path = folder / "fer2013plus" / "words.npz"
    np.savez(
        path,
        image=image.astype(np.int32),
        rater=np.repeat([0, 1], [len(split), len(test)]).astype(np.uint8),
        split=split[image],
        word_names=np.array(WORDS),
        **judgements(len(image)),
    )
    return path


def write_wild(folder: Path, count: int = 6) -> Path:
    """wild/: pictures of one real face, the first of validation, the last without a face."""
    place = folder / "wild"
    split = np.full(count, SPLITS["test"], np.uint8)
    split[0] = SPLITS["validation"]
    names = _write_pictures(place, count, blank=(count - 1,))
    faces = np.tile(np.array([*BOX, *range(10), 0.9], np.float32), (count, 1))
    np.savez(
        place / "labels.npz",
        name=np.array(names),
        split=split,
        faces=faces,
        offset=np.arange(count + 1, dtype=np.int32),
        main=np.zeros(count, np.int16),
        word_names=np.array(WORDS),
        **judgements(count, 1),
    )
    return place / "labels.npz"


def write_fairface(folder: Path, count: int = 5) -> Path:
    """fairface/: the same face judged twice, the second time otherwise in the first picture; two
    faces were found in each picture, the second of which is judged."""
    place = folder / "fairface"
    names = _write_pictures(place, count)
    faces = np.zeros((2 * count, 15), np.float32)
    faces[0::2, :4] = (0, 0, 20, 20)
    faces[1::2, :4] = BOX
    one = judgements(count, 2)
    both = {name: np.stack([column, column], axis=1) for name, column in one.items()}
    both["basic"][0, 1] = 5
    np.savez(
        place / "labels.npz",
        name=np.array(names),
        age=np.array(["3-9", "20-29"])[np.arange(count) % 2],
        gender=np.array(["Female", "Male"])[np.arange(count) // 2 % 2],
        faces=faces,
        offset=np.arange(0, 2 * count + 1, 2, dtype=np.int32),
        main=np.ones(count, np.int16),
        word_names=np.array(WORDS),
        **both,
    )
    return place / "labels.npz"


def write_judged_clips(folder: Path, clips: list[str], times_s: list[float]) -> Path:
    """judged.npz: pictures of clips, judged twice."""
    one, other = (judgements(len(clips), seed) for seed in (3, 4))
    path = folder / "judged.npz"
    np.savez(
        path,
        clip=np.array(clips),
        time_s=np.array(times_s, np.float32),
        box=np.tile(np.array(BOX, np.float32), (len(clips), 1)),
        word_names=np.array(WORDS),
        **{name: np.stack([one[name], other[name]], axis=1) for name in one},
    )
    return path


def rewritten(path: Path, **changes: npt.NDArray[Any]) -> None:
    """The same file with some columns changed."""
    columns = dict(np.load(path))
    np.savez(path, **{**columns, **changes})


def _write_pictures(place: Path, count: int, blank: tuple[int, ...] = ()) -> list[str]:
    place.mkdir()
    face = cv2.cvtColor(astronaut()[:400], cv2.COLOR_RGB2BGR)  # type: ignore[no-untyped-call]
    names = [f"{number:05}.jpg" for number in range(count)]
    with zipfile.ZipFile(place / "images.zip", "w") as archive:
        for number, name in enumerate(names):
            picture = np.full_like(face, 90) if number in blank else face
            archive.writestr(name, cv2.imencode(".jpg", picture)[1].tobytes())
    return names
