"""SFEW 2.0 (pictures) and AFEW (clips), the EmotiW challenges' sets (Dhall et al.).

Class folders Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise in a folder for each split:
SFEW in Train/ and Val/, sometimes twice in each other, aligned faces in Train_Aligned_Faces/ and
Val_Aligned_Faces/; AFEW in Train_AFEW/ and Val_AFEW/ with .avi files, or folders of frames made of
them. Confirmed in public readers. The test labels were never handed out: a test folder without
class folders is passed over, and results are given on the validation set (paper 003, V.A).
"""

from __future__ import annotations

import re
from pathlib import Path

from .folders import media, read_classes_of, split_folders, subfolders
from .layout import Found, Layout
from .names import BASIC7, canonical
from .pixels import PICTURES

_SFEW = {
    **dict.fromkeys(("train", "train_aligned_faces", "train_sfew_2_0"), "train"),
    **dict.fromkeys(("val", "val_aligned_faces", "val_sfew_2_0"), "validation"),
    **dict.fromkeys(("test", "test_aligned_faces"), "test"),
}
_AFEW = {"train_afew": "train", "val_afew": "validation", "test_afew": "test"}
_SFEW_NAME = re.compile(r".+_\d{6,}_\d{4,}\.\w+$")
"""Film, time and frame: Airheads_000519240_00000005.png."""
_FACES = ("VIDEO", "AlignedFaces_LBPTOP_Points/Faces")


def _with_classes(root: Path, names: dict[str, str]) -> dict[str, list[Path]]:
    """Class folders per split; splits without any are left out."""
    found = {}
    for split, folder in split_folders(root, names).items():
        places = [folder, *(folder / name for name in _FACES if (folder / name).is_dir())]
        for place in places:
            classes = [f for f in subfolders(place) if canonical(f.name) in BASIC7]
            if classes:
                found[split] = classes
                break
    return found


def _is(root: Path, names: dict[str, str]) -> bool:
    groups = _with_classes(root, names)
    words = {folder.name for group in groups.values() for folder in group}
    return {"train", "validation"} <= set(groups) and {"Angry", "Happy", "Sad"} <= words


def _is_sfew(root: Path) -> bool:
    if not _is(root, _SFEW):
        return False
    train = _with_classes(root, _SFEW)["train"]
    names = [file.name for folder in train for file in media(folder, PICTURES)[:1]]
    return any(_SFEW_NAME.match(name) for name in names)


def _read(found: Found) -> None:
    groups = _with_classes(found.root, _SFEW if found.layout.name == "sfew" else _AFEW)
    for split in ("train", "validation"):
        if split not in groups:
            raise found.missing(f"the {split} split's class folders")
    read_classes_of(found, groups, BASIC7)


_CLASSES = "Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise"

SFEW = Layout(
    "sfew",
    "SFEW 2.0",
    f"Train/ and Val/ (or Train_Aligned_Faces/ and Val_Aligned_Faces/), in each {_CLASSES}",
    _is_sfew,
    _read,
)
AFEW = Layout(
    "afew",
    "AFEW",
    f"Train_AFEW/ and Val_AFEW/, in each {_CLASSES} with .avi files or folders of frames",
    lambda root: _is(root, _AFEW),
    _read,
    kind="clips",
)
