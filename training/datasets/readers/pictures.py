"""Layouts of labelled pictures: AffectNet, RAF-DB, JAFFE.

AffectNet (Mollahosseini, Hasani & Mahoor 2017), in the two forms in which it is handed out.

    Manually_Annotated_file_lists/training.csv, validation.csv; Manually_Annotated_Images/DIR/x.jpg
    train_set/images/0.jpg, train_set/annotations/0_exp.npy; val_set the same

The lists' columns are subDirectory_filePath, face_x, face_y, face_width, face_height,
facial_landmarks, expression, valence, arousal; validation.csv has been seen without its header.
0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt; 8 none,
9 uncertain and 10 no face are no expressions and are left out. Both confirmed in public readers.
The test set was never handed out: what is usually measured on is the validation set.

RAF-DB, its basic and its compound half (Li, Deng & Du 2017, whdeng.cn/RAF/model1.html).

As handed out: EmoLabel/list_patition_label.txt (so spelt) with lines `train_00001.jpg 5`, the
official split being the name's beginning; Image/aligned/train_00001_aligned.jpg, of the labelled
person alone; Image/original/train_00001.jpg. Confirmed in a dozen public readers.
Basic: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral; 12,271 and 3,068
pictures. Compound: 1 happily surprised to 11 disgustedly surprised; 3,162 and 792 pictures.
Two forms in which basic is passed on are read too: everything in one folder, and
DATASET/train|test/1..7.

JAFFE (Lyons et al. 1998, kasrl.org/jaffe.html): 213 pictures of ten women, seven expressions.

One folder of files such as KA.AN1.39.tiff: person, expression (AN anger, DI disgust, FE fear,
HA happiness, NE neutral, SA sadness, SU surprise) and number of the take, number of the picture.
Confirmed in public readers. There is no official split; names tell whose faces these are.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..arrays import stored_array
from .folders import BASIC7, class_folders, first_folder, media, read_classes
from .layout import Found, Layout
from .pixels import PICTURES, natural

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


BASIC = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
COMPOUND = (
    "happily surprised",
    "happily disgusted",
    "sadly fearful",
    "sadly angry",
    "sadly surprised",
    "sadly disgusted",
    "fearfully angry",
    "fearfully surprised",
    "angrily surprised",
    "angrily disgusted",
    "disgustedly surprised",
)
_RAF_LISTS = ("EmoLabel/list_patition_label.txt", "list_patition_label.txt")
_RAF_IMAGES = (
    *("Image/aligned/aligned", "Image/aligned", "aligned", "Image/original/original"),
    *("Image/original", "original", "."),
)


def _list_of(root: Path, half: str) -> Path | None:
    """The label list of one half: in a folder of its name, or here if its numbers fit."""
    for place in (root / half, root):
        for name in _RAF_LISTS:
            if (place / name).is_file():
                fits = place != root or root.name.lower() == half or _half_of(place / name) == half
                return place / name if fits else None
    return None


def _half_of(path: Path) -> str:
    """A list is of the compound half where its numbers go beyond 7."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        numbers = [line.split()[-1] for line in lines if line.strip()]
    return "compound" if any(n.isdigit() and int(n) > len(BASIC) for n in numbers) else "basic"


def _numbered_folders(root: Path) -> Path | None:
    for place in (root, root / "DATASET"):
        if place.is_dir():
            groups = class_folders(place)
            names = [{folder.name for folder in group} for group in groups.values()]
            if "all" not in groups and any({str(n) for n in range(1, 8)} == n for n in names):
                return place
    return None


def _read_rafdb(found: Found) -> None:
    half = found.layout.name.removeprefix("raf-")
    listed = _list_of(found.root, half)
    if listed is None:
        folders = _numbered_folders(found.root) if half == "basic" else None
        if folders is None:
            raise found.missing(_RAF_LISTS[0])
        numbers = {str(n): name for n, name in enumerate(BASIC, start=1)}
        read_classes(found, folders, BASIC, lambda name: numbers.get(name, name))
        return
    found.labels = BASIC if half == "basic" else COMPOUND
    place = listed.parent.parent if listed.parent.name == "EmoLabel" else listed.parent
    folder, suffix = _pictures(found, place)
    text = listed.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            _one(found, f"{found.below(listed)}:{number}", line, folder, suffix)


def _pictures(found: Found, place: Path) -> tuple[Path, str]:
    """The folder of pictures, and what their names have before the dot beyond the list's."""
    for name in _RAF_IMAGES:
        folder = place / name
        if folder.is_dir():
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if e.name.startswith(("train_", "test_"))]
            if names:
                return folder, "_aligned" if any("_aligned." in n for n in names) else ""
    raise found.missing(place / "Image/aligned")


def _one(found: Found, where: str, line: str, folder: Path, suffix: str) -> None:
    name, _, number = line.strip().rpartition(" ")
    split = name.partition("_")[0]
    if split not in ("train", "test") or not number.isdigit():
        found.wrong("label", where, f"{line.strip()!r} is no line such as 'train_00001.jpg 5'")
    elif not 1 <= int(number) <= len(found.labels):
        found.wrong("label", where, f"label {number} is not one of 1 to {len(found.labels)}")
    else:
        stem, _, ending = name.strip().rpartition(".")
        path = folder / f"{stem}{suffix}.{ending}"
        found.add(path, split, int(number) - 1)


_EXPECTED = "EmoLabel/list_patition_label.txt ('train_00001.jpg 5') and Image/aligned/*_aligned.jpg"

RAF_BASIC = Layout(
    "raf-basic",
    "RAF-DB, basic",
    f"[basic/]{_EXPECTED}, or train|test/1..7/",
    lambda root: _list_of(root, "basic") is not None or _numbered_folders(root) is not None,
    _read_rafdb,
)
RAF_COMPOUND = Layout(
    "raf-compound",
    "RAF-DB, compound",
    f"[compound/]{_EXPECTED}",
    lambda root: _list_of(root, "compound") is not None,
    _read_rafdb,
)


_NAME = re.compile(r"(?P<who>[A-Z]{2})\.(?P<what>[A-Z]{2})\d?\.\d*\.?\w+$")
_CODES = {
    "NE": "neutral",
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
}


def _folder(root: Path) -> Path | None:
    for place in (root, root / "jaffe", root / "jaffedbase"):
        if place.is_dir():
            names = [_NAME.match(path.name) for path in media(place, PICTURES)[:20]]
            if sum(bool(n and n["what"] in _CODES) for n in names) > len(names) / 2:
                return place
    return None


def _read_jaffe(found: Found) -> None:
    place = _folder(found.root)
    if place is None:
        raise found.missing("KA.AN1.39.tiff and the like")
    found.labels = BASIC7
    for path in media(place, PICTURES):
        match = _NAME.match(path.name)
        if match is None or match["what"] not in _CODES:
            found.wrong("label", path, "no name such as KA.AN1.39.tiff")
        else:
            label = BASIC7.index(_CODES[match["what"]])
            found.add(path, "all", label, subject=match["who"])


JAFFE = Layout(
    "jaffe",
    "JAFFE",
    "files such as KA.AN1.39.tiff (person, expression, number)",
    lambda root: _folder(root) is not None,
    _read_jaffe,
)
