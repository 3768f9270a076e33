"""Measure a bundle, as deployed, on faces that a vision-language model judged (data/judged.py).

FER+ photographs are aligned by their teacher's landmarks, as everywhere in training. In pictures
of the other sets the faces are found as at run time; a judged face that is not found is counted,
and left out of the other figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer

from .data.fer import FerPlus, data_folder
from .data.judged import JudgedFaces, load_fairface, load_judged_photographs, load_wild
from .evaluate import crops_of, score_crops
from .judged_figures import (
    TOP_WORDS,
    affect_section,
    basic_section,
    by_confidence,
    by_group,
    by_quality,
    expressive,
    ranking_section,
    steady_section,
    words_section,
)

Box = tuple[float, float, float, float]
Crops = npt.NDArray[np.uint8]

SHIFTS_PX = ((1, 1), (1, -1), (-1, 1), (-1, -1))
CONTRAST = 0.9
"""What a face's first word should survive: a shift by one pixel across and down, in each of
the four ways, and less contrast."""
SAME_FACE = 0.3
"""Intersection over union from which a found face is the judged one."""


def judged_sections(
    bundle: Bundle,
    split: str,
    folder: str | Path | None = None,
    *,
    engine: str = "auto",
    precision: str = "auto",
    told: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The sections words, affect, steady, wild and, for the test split, fairface.

    A set that the data folder lacks is left out, and ``told`` so.

    Raises:
        LabelsWrong, DataMissing: a set is there but damaged.
    """
    root = data_folder(folder)
    found: dict[str, Any] = {}
    if _there(root / "fer2013plus" / "words.npz", "words, affect, steady", told):
        found |= photograph_sections(bundle, split, root, engine=engine, precision=precision)
    if _there(root / "wild", "wild", told):
        faces = load_wild(split, root)
        found["wild"] = picture_section(bundle, faces, engine=engine, precision=precision)
    # A test set: nothing is chosen by it, so it has no part in the validation split's figures.
    if split == "test" and _there(root / "fairface", "fairface", told):
        faces = load_fairface(root)
        found["fairface"] = picture_section(bundle, faces, engine=engine, precision=precision)
    return found


def photograph_sections(
    bundle: Bundle, split: str, folder: str | Path | None, *, engine: str, precision: str
) -> dict[str, Any]:
    """words, affect and steady on the judged FER+ photographs of a split."""
    faces, crop = load_judged_photographs(split, folder), bundle.manifest.crop
    if not len(faces):
        return {"words": {"n": 0}, "affect": {"n": 0}, "steady": {"n": 0}}
    crops = crops_of(faces.photographs, crop.px)
    said = score_crops(bundle, crops, engine=engine, precision=precision)
    judged, second = faces.judged, faces.second
    return {
        "words": words_section(said.emo135, said.basic8, said.intensity, judged, second),
        "affect": affect_section(said.affect, said.intensity, judged, second),
        "steady": steady_section(
            said,
            [
                score_crops(bundle, moved, engine=engine, precision=precision)
                for moved in (disturbed(faces.photographs, crop.px, *by) for by in SHIFTS_PX)
            ],
            np.flatnonzero(expressive(judged)),
        ),
    }


def disturbed(data: FerPlus, crop_px: int, right_px: int, down_px: int) -> Crops:
    """Crops (N, 1, S, S) as `crops_of`, shifted and at CONTRAST about their own mean."""
    crops = crops_of(data, crop_px, (right_px, down_px))
    mean = crops.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray((crops - mean) * CONTRAST + mean + 0.5, np.uint8)


def picture_section(
    bundle: Bundle, faces: JudgedFaces, *, engine: str, precision: str
) -> dict[str, Any]:
    """One set of pictures: n, found, the figures of the basic expression, words and affect.

    The basic expression is measured on readable faces, of two judges on those whose judges agree,
    and by the set's groups.
    """
    crops, seen, quality = found_crops(bundle, faces, engine=engine, precision=precision)
    found: dict[str, Any] = {"n": len(faces), "found": int(seen.sum())}
    if not seen.any():
        return found
    said = score_crops(bundle, crops, engine=engine, precision=precision)
    rows = np.flatnonzero(seen)
    judged = faces.judged.take(rows)
    second = None if faces.second is None else faces.second.take(rows)
    counted = judged.readable
    if second is not None:
        counted = counted & (second.basic == judged.basic)
    basic = basic_section(said.basic8[counted], judged.basic[counted])
    found |= {("basic_n" if name == "n" else name): value for name, value in basic.items()}
    right = (said.basic8.argmax(axis=1) == judged.basic)[counted]
    found["quality"] = by_quality(right, quality[counted])
    found["confidence"] = by_confidence(right, said.basic8[counted], quality[counted])
    for name, column in faces.groups.items():
        found[name] = by_group(right, column[rows][counted])
    ranked = np.argsort(-said.emo135, axis=1, kind="stable")[:, :TOP_WORDS]
    shows = np.flatnonzero(expressive(judged))
    found["words"] = ranking_section(ranked[shows], judged.take(shows))
    found["affect"] = affect_section(said.affect, said.intensity, judged, second)
    return found


def found_crops(
    bundle: Bundle, faces: JudgedFaces, *, engine: str = "auto", precision: str = "auto"
) -> tuple[Crops, npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Crops (M, 1, S, S) of the judged faces that the run time finds, which they are (N,), and the
    quality of each view (M,), 0..1."""
    px = bundle.manifest.crop.px
    crops, quality, seen = [], [], np.zeros(len(faces), bool)
    with Recognizer(bundle, engine=engine, precision=precision) as recognizer:
        for row, picture in enumerate(faces.pictures()):
            sighting = recognizer.find(Frame(picture, 0.0, 0, faces.names[row]))
            recognizer.forget(faces.names[row])
            shared = [intersection(face.box, faces.boxes[row].tolist()) for face in sighting.faces]
            if shared and max(shared) >= SAME_FACE:
                best = int(np.argmax(shared))
                crops.append(sighting.crops[best])
                quality.append(sighting.faces[best].quality.score)
                seen[row] = True
    stacked = np.stack(crops) if crops else np.zeros((0, 1, px, px), np.uint8)
    return stacked, seen, np.array(quality, np.float64)


def intersection(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height), 0..1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    whole = one[2] * one[3] + other[2] * other[3] - both
    return both / whole if whole > 0 else 0.0


def _there(place: Path, sections: str, told: Callable[[str], None]) -> bool:
    if not place.exists():
        told(f"{place} is not there: left out {sections}")
    return place.exists()
