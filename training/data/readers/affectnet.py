"""AffectNet (Mollahosseini, Hasani & Mahoor 2017), in the two forms in which it is handed out.

    Manually_Annotated_file_lists/training.csv, validation.csv; Manually_Annotated_Images/DIR/x.jpg
    train_set/images/0.jpg, train_set/annotations/0_exp.npy; val_set the same

The lists' columns are subDirectory_filePath, face_x, face_y, face_width, face_height,
facial_landmarks, expression, valence, arousal; validation.csv has been seen without its header.
0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt; 8 none,
9 uncertain and 10 no face are no expressions and are left out. Both confirmed in public readers.
The test set was never handed out: what is usually measured on is the validation set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ..arrays import stored_array
from .folders import first_folder
from .layout import Found, Layout
from .pixels import natural

LABELS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_NOT_EXPRESSIONS = 3
_LISTS = "Manually_Annotated_file_lists"
_IMAGES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
_COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
_FOLDERS = {"train_set": "train", "val_set": "validation"}


def _read_lists(found: Found) -> None:
    found.labels = LABELS
    images = first_folder(found.root, _IMAGES)
    if images is None:
        raise found.missing(_IMAGES[0])
    left_out = 0
    for name, split in (("training.csv", "train"), ("validation.csv", "validation")):
        path = _list(found.root, name)
        if path is None:
            raise found.missing(f"{_LISTS}/{name}")
        for line, row in _rows(path):
            label = _label(found, f"{found.below(path)}:{line}", row.get("expression") or "")
            if label is None:
                continue
            if label >= len(LABELS):
                left_out += 1
                continue
            picture = images / (row["subDirectory_filePath"] or "")
            found.add(picture, split, label, box=_box(row))
    _note(found, left_out)


def _list(root: Path, name: str) -> Path | None:
    return next((p for p in (root / _LISTS / name, root / name) if p.is_file()), None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line, values in enumerate(csv.reader(file), start=1):
            if values and values[0] != _COLUMNS[0]:
                yield line, dict(zip(_COLUMNS, values, strict=False))


def _box(row: dict[str, str]) -> tuple[float, float, float, float] | None:
    try:
        x, y, width, height = (float(row[name]) for name in _COLUMNS[1:5])
    except (KeyError, ValueError):
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _read_arrays(found: Found) -> None:
    found.labels = LABELS
    left_out = 0
    for folder, split in _FOLDERS.items():
        annotations = found.root / folder / "annotations"
        if not annotations.is_dir():
            raise found.missing(annotations)
        for path in sorted(annotations.glob("*_exp.npy"), key=lambda p: natural(p.name)):
            try:
                text = str(stored_array(path).item())
            except (ValueError, OSError):
                found.wrong("label", path, "this is no array with one number in it")
                continue
            label = _label(found, found.below(path), text)
            if label is not None and label >= len(LABELS):
                left_out += 1
            elif label is not None:
                name = path.name.removesuffix("_exp.npy")
                found.add(found.root / folder / "images" / f"{name}.jpg", split, label)
    _note(found, left_out)


def _label(found: Found, where: str, text: str) -> int | None:
    text = text.strip()
    if text.isdigit() and int(text) < len(LABELS) + _NOT_EXPRESSIONS:
        return int(text)
    found.wrong("label", where, f"expression {text!r} is not one of 0 to 10")
    return None


def _note(found: Found, left_out: int) -> None:
    if left_out:
        found.notes.append(f"{left_out} pictures of none, uncertain or no face left out")


AFFECTNET = Layout(
    "affectnet",
    "AffectNet (lists)",
    f"{_LISTS}/training.csv, validation.csv and {_IMAGES[0]}/",
    lambda root: (
        _list(root, "training.csv") is not None and any((root / name).is_dir() for name in _IMAGES)
    ),
    _read_lists,
)
AFFECTNET_ARRAYS = Layout(
    "affectnet-arrays",
    "AffectNet (one file a label)",
    "train_set/images/*.jpg with train_set/annotations/*_exp.npy, and val_set the same",
    lambda root: all((root / folder / "annotations").is_dir() for folder in _FOLDERS),
    _read_arrays,
)
