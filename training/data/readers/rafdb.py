"""RAF-DB, its basic and its compound half (Li, Deng & Du 2017, whdeng.cn/RAF/model1.html).

As handed out: EmoLabel/list_patition_label.txt (so spelt) with lines `train_00001.jpg 5`, the
official split being the name's beginning; Image/aligned/train_00001_aligned.jpg, of the labelled
person alone; Image/original/train_00001.jpg. Confirmed in a dozen public readers.
Basic: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral; 12,271 and 3,068
pictures. Compound: 1 happily surprised to 11 disgustedly surprised; 3,162 and 792 pictures.
Two forms in which basic is passed on are read too: everything in one folder, and
DATASET/train|test/1..7.
"""

from __future__ import annotations

import os
from pathlib import Path

from .folders import class_folders, read_classes
from .layout import Found, Layout

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
_LISTS = ("EmoLabel/list_patition_label.txt", "list_patition_label.txt")
_IMAGES = (
    *("Image/aligned/aligned", "Image/aligned", "aligned", "Image/original/original"),
    *("Image/original", "original", "."),
)


def _list_of(root: Path, half: str) -> Path | None:
    """The label list of one half: in a folder of its name, or here if its numbers fit."""
    for place in (root / half, root):
        for name in _LISTS:
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


def _read(found: Found) -> None:
    half = found.layout.name.removeprefix("raf-")
    listed = _list_of(found.root, half)
    if listed is None:
        folders = _numbered_folders(found.root) if half == "basic" else None
        if folders is None:
            raise found.missing(_LISTS[0])
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
    for name in _IMAGES:
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
    _read,
)
RAF_COMPOUND = Layout(
    "raf-compound",
    "RAF-DB, compound",
    f"[compound/]{_EXPECTED}",
    lambda root: _list_of(root, "compound") is not None,
    _read,
)
