"""The 3D face's pictures and clips: rendered once, in splits that share nobody.

Synthetic pictures kept between runs, so that each set is rendered once.

They lie in the folder that FERSTREAM_CACHE names, else in .cache/ferstream of the user's home; it
may be removed at any time. Nobody real is in it.

Rendered faces in three splits that share nobody: what `faces` "synthetic..." stands for.

"synthetic" shows the eight basic expressions from the front, "synthetic:fg33" the 33 words of
FG-Emotions, "synthetic:f2ed54" the 54 of F2ED; with ":poses" behind the words, F2ED's four poses.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole

from ..errors import OptionsWrong
from . import synthetic
from .learning_faces import LearningFaces
from .synthetic import (
    ACTION_UNITS,
    POSES,
    TAXONOMIES,
    SyntheticFaces,
    SyntheticHead,
    SyntheticOptions,
    labels_of,
    load_synthetic_head,
)
from .synthetic.kit import MESH_NUMBERS

Arrays = dict[str, npt.NDArray[Any]]


def rendered(
    kind: str, head: SyntheticHead, about: dict[str, Any], make: Callable[[], Arrays]
) -> Arrays:
    """What ``make`` renders, or what it rendered before.

    Args:
        kind: first part of the file's name, such as "faces".
        head: whose face is rendered.
        about: plain values that, with the head and the code that renders, decide every pixel.
        make: renders; its arrays hold no objects.
    """
    key = json.dumps([about, _head_mark(head), _code_mark()], sort_keys=True, default=str)
    path = cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there, or cut short: it is rendered (again)
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, shared=True) as fresh, fresh.open("wb") as written:
        np.savez(written, **made)
    return made


def cache_folder() -> Path:
    """Where rendered sets are kept."""
    named = os.environ.get("FERSTREAM_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ferstream"


def _head_mark(head: SyntheticHead) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(head.rest).tobytes())
    digest.update("".join([*head.expression_names, str(head.people)]).encode())
    return digest.hexdigest()[:12]


@cache
def _code_mark() -> str:
    """Changes with the code that renders, so that what another version made is not taken."""
    folder = Path(synthetic.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")) + sorted(folder.glob("*.json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


SYNTHETIC = {"train": (4_000, (0, 80)), "validation": (500, (80, 20)), "test": (1_000, (100, 20))}
"""Pictures, and the first person's number and how many there are; nobody is in two splits."""
SIDE_PX = 96
UNIT_ON, UNIT_OFF = 0.3, 0.1
"""A rendered unit from here on counts as shown; below the second it does not; between, unknown."""


def synthetic_options(name: str) -> SyntheticOptions:
    """What a name such as "synthetic:fg33:poses" renders.

    Raises:
        OptionsWrong: words that have no synthetic faces, or something else behind them.
    """
    words, _, poses = name.removeprefix("synthetic").removeprefix(":").partition(":")
    if (words and words not in TAXONOMIES) or poses not in ("", "poses"):
        raise OptionsWrong(
            f"no set of faces {name!r}: synthetic faces are synthetic or synthetic:WORDS with "
            f"WORDS one of {', '.join(TAXONOMIES)}, and :poses behind that for four poses"
        )
    return SyntheticOptions(
        taxonomy=words or "basic8",
        colour="grey",
        size_px=SIDE_PX,
        poses=tuple(POSES) if poses else ("front",),
    )


def synthetic_split(name: str, split: str, folder: str | Path | None, limit: int) -> LearningFaces:
    """One split; ``limit`` training faces at most (0: all), the same share of the other splits,
    but each word once at least.

    Raises:
        OptionsWrong: see `synthetic_options`.
        DataMissing: the 3D face is not there.
    """
    about = synthetic_options(name)
    usual, people = SYNTHETIC[split]
    number = list(SYNTHETIC).index(split)
    options = SyntheticOptions(**{**about.__dict__, "people": people, "seed": number})
    head = load_synthetic_head(folder)
    labels = SyntheticFaces(head, options).labels
    share = min(1.0, limit / SYNTHETIC["train"][0]) if limit else 1.0
    count = max(len(labels), round(share * usual))
    about_them = {**options.__dict__, "count": count, "moments": "one in all poses"}
    columns = rendered("faces", head, about_them, lambda: _columns(head, options, count))
    units = columns["action_units"]
    shown = (units >= UNIT_ON).astype(np.int8) - (units < UNIT_OFF).astype(np.int8)
    mesh = columns["mesh_xy"]
    return LearningFaces(
        name=name,
        labels=tuple(labels),
        names=tuple(f"{split}/{index:06d}" for index in range(count)),
        pixels=columns["pixels"],
        target=np.eye(len(labels), dtype=np.float32)[columns["label"]],
        anchors_xy=columns["anchors_xy"],
        seen=np.ones(count, np.bool_),
        landmarks_xy=mesh,
        landmark_index=np.array(MESH_NUMBERS if mesh.shape[1] else (), dtype=np.int16),
        parsing=columns["parsing"],
        people=columns["person"],
        poses=columns["pose"],
        units=shown,
        unit_names=ACTION_UNITS,
        blendshapes=columns["blendshapes"],
        contours_xy=columns["landmarks_xy"],
    )


def _columns(head: SyntheticHead, options: SyntheticOptions, count: int) -> Arrays:
    """Words take turns, then poses: as before F2ED's cameras, one moment is seen in all of them."""
    maker, words = SyntheticFaces(head, options), len(labels_of(options.taxonomy))
    made = []
    for index in range(count):
        turn, word = divmod(index, words)
        moment, pose = divmod(turn, len(options.poses))
        made.append(maker.image(moment * words + word, pose=options.poses[pose]))
    names = ("pixels", "parsing", "landmarks_xy", "anchors_xy", "mesh_xy", "action_units")
    columns = {
        name: np.stack([getattr(image, name) for image in made]) for name in (*names, "blendshapes")
    }
    return columns | {
        "label": np.array([image.label for image in made], np.int64),
        "person": np.array([image.person for image in made], np.int64),
        "pose": np.array([image.pose for image in made]),
    }
