"""Folders of classes, with or without splits above them: what most sets come down to.

    ROOT/[SPLIT/]CLASS/picture.jpg           images
    ROOT/[SPLIT/]CLASS/clip.mp4              clips, as video files
    ROOT/[SPLIT/]CLASS/CLIP/frame.jpg        clips, as folders of frames

SPLIT is one of the usual names for training, validation and test. A folder that holds nothing
but one folder of its own name (what unpacking often makes) is passed through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ferstream.engines.taxonomy import load_taxonomy

from .layout import Found, Layout
from .pixels import PICTURES, VIDEOS, natural

_SPLITS = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "dev", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "test_set", "privatetest"), "test"),
}


BASIC7 = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")

_SAME = {
    "angry": "anger",
    "afraid": "fear",
    "fearful": "fear",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}


def canonical(name: str) -> str:
    """The project's word: lower case, one word for angry and anger."""
    plain = name.strip().lower().replace("_", " ")
    return _SAME.get(plain, plain)


def order(names: Iterable[str]) -> tuple[str, ...]:
    """Labels for these class names, in the order of the project's label set that has them all.

    Of the eight basic emotions those that are there; all the 33 or 135 words where at least half
    of them are (most basic emotions are words of those sets too); else the names as they are,
    sorted.
    """
    found = tuple(dict.fromkeys(names))
    words = {canonical(name) for name in found}
    basic = load_taxonomy("basic8").labels
    if words <= set(basic):
        return tuple(label for label in basic if label in words)
    for taxonomy in ("fg33", "emo135"):
        labels = load_taxonomy(taxonomy).labels
        if words <= set(labels) and 2 * len(words) >= len(labels):
            return labels
    return tuple(sorted(found))


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, by name; hidden ones left out."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() and e.name[0] not in "._"]
    return [folder / name for name in sorted(names, key=natural)]


def first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of these folders that is there."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def media(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files with one of these endings in a folder, by name."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(endings) and e.name[0] != "."]
    return [folder / name for name in sorted(names, key=natural)]


def unwrapped(folder: Path) -> Path:
    """The folder, or the only folder in it where there is nothing else and it has its name."""
    inside = folder / folder.name
    return inside if inside.is_dir() and subfolders(folder) == [inside] else folder


def split_folders(root: Path, names: dict[str, str] | None = None) -> dict[str, Path]:
    """The splits' folders by the split's name; {} where the root has none."""
    known = names or _SPLITS
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        split = known.get(folder.name.lower())
        if split:
            found.setdefault(split, unwrapped(folder))
    return found


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Class folders per split; one split, "all", where there are no split folders."""
    splits = split_folders(root)
    if splits:
        return {split: subfolders(folder) for split, folder in splits.items()}
    return {"all": subfolders(root)}


def holds(folder: Path) -> str | None:
    """What a class folder holds: "images", "clips", or None."""
    for entry in sorted(os.listdir(folder)):
        path = folder / entry
        if entry[0] == ".":
            continue
        if entry.lower().endswith(PICTURES):
            return "images"
        if entry.lower().endswith(VIDEOS):
            return "clips"
        if path.is_dir() and media(path, PICTURES):
            return "clips"
    return None


def clips_of(folder: Path) -> list[Path]:
    """The clips of a class folder: its video files and its folders of frames."""
    return sorted(media(folder, VIDEOS) + subfolders(folder), key=lambda path: natural(path.name))


def looks_like_classes(root: Path, kind: str) -> bool:
    """Whether a root has two class folders or more, and at least half of them hold this kind."""
    folders = [folder for group in class_folders(root).values() for folder in group]
    if len({folder.name for folder in folders}) < 2:
        return False
    return 2 * sum(holds(folder) == kind for folder in folders) >= len(folders)


def class_names(root: Path) -> tuple[str, ...]:
    """The class folders' names over all splits, in the project's words."""
    groups = class_folders(root).values()
    return tuple(dict.fromkeys(canonical(folder.name) for group in groups for folder in group))


def read_classes(
    found: Found,
    root: Path,
    labels: tuple[str, ...],
    name_of: Callable[[str], str] = canonical,
    subject_of: Callable[[Path], str] = lambda path: "",
) -> None:
    """Every picture or clip of every class folder below `root`."""
    read_classes_of(found, class_folders(root), labels, name_of, subject_of)


def read_classes_of(
    found: Found,
    groups: dict[str, list[Path]],
    labels: tuple[str, ...],
    name_of: Callable[[str], str] = canonical,
    subject_of: Callable[[Path], str] = lambda path: "",
) -> None:
    """Every picture or clip of these class folders per split.

    A folder that is no label and a class folder that holds nothing are problems.
    """
    found.labels = labels
    for split, folders in groups.items():
        for folder in folders:
            name = name_of(folder.name)
            if name not in labels:
                found.wrong("label", folder, f"no class of {found.layout.about} is called so")
                continue
            members = list(_members(found, folder))
            if not members:
                what = "picture" if found.layout.kind == "images" else "clip"
                found.wrong("empty", folder, f"this class folder holds no {what}")
            label = labels.index(name)
            for path in members:
                found.add(path, split, label, subject=subject_of(path))


def _members(found: Found, folder: Path) -> Iterator[Path]:
    if found.layout.kind == "images":
        yield from media(folder, PICTURES)
        return
    for clip in clips_of(folder):
        if clip.is_dir() and not media(clip, PICTURES):
            found.wrong("empty", clip, "this clip's folder holds no frame")
        else:
            yield clip


def _read(found: Found) -> None:
    groups = class_folders(found.root).values()
    names = [folder.name for group in groups for folder in group]
    labels = order(names)
    known = canonical if {canonical(name) for name in names} <= set(labels) else str
    read_classes(found, found.root, labels, known)


_EXPECTED = "[train|val|test/]CLASS/"

IMAGE_FOLDERS = Layout(
    "folders",
    "folder of classes",
    f"{_EXPECTED}*.jpg, a folder for each class",
    lambda root: looks_like_classes(root, "images"),
    _read,
)
CLIP_FOLDERS = Layout(
    "clip-folders",
    "folder of classes of clips",
    f"{_EXPECTED}*.mp4 or {_EXPECTED}CLIP/*.jpg, a folder for each class",
    lambda root: looks_like_classes(root, "clips"),
    _read,
    kind="clips",
)
