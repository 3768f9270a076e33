"""Folders of classes, with or without splits above them: what most sets come down to.

    ROOT/[SPLIT/]CLASS/picture.jpg           images
    ROOT/[SPLIT/]CLASS/clip.mp4              clips, as video files
    ROOT/[SPLIT/]CLASS/CLIP/frame.jpg        clips, as folders of frames

SPLIT is one of the usual names for training, validation and test. A folder that holds nothing
but one folder of its own name (what unpacking often makes) is passed through.

The papers' own sets are read so too: FG-Emotions (003), F2ED (004), Emo135 (000). None of their
layouts could be confirmed, as no public reader of them was found. What is read here follows the
papers' description, in the plainest folders that hold it; where yours differ, rename them, or
write the list.

FG-Emotions: 33 words in [images/ or clips/] train, val, test (825, 275 and 391 clips), a folder a
word; clips are video files or folders of frames. Emo135: a folder for each of the 135 words, with
or without train, val, test above (the paper splits 70, 15 and 15 per cent at random, and no list of
it is public). F2ED: SUBJECT/POSE/EXPRESSION/*.jpg, the poses front, half left, half right and bird
view; or a file labels.csv with columns path, subject, pose, expression. The paper does not list its
54 words, so the labels are the words found, sorted. F2ED has no split of its own: the protocols
ER-SS, ER-UE, ER-UP and ER-ZID make theirs from subject, pose and label.
"""

from __future__ import annotations

import csv
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


POSES = ("front", "half left", "half right", "bird view")
F2ED_CLASSES = 54
_POSES = {
    **{pose: pose for pose in POSES},
    **{"left": "half left", "halfleft": "half left", "right": "half right"},
    **{"halfright": "half right", "bird": "bird view", "birdview": "bird view"},
}
_LIST = "labels.csv"
_COLUMNS = ("path", "subject", "pose", "expression")


def _words_root(root: Path, taxonomy: str, kind: str) -> Path | None:
    """The folder whose class folders are words of a taxonomy: two fifths of its words at least,
    and no other but a few. (FG-Emotions' 33 words are among the 135.)"""
    labels = set(load_taxonomy(taxonomy).labels)
    for place in (root / kind, root):
        if place.is_dir():
            names = class_names(place)
            known = labels & set(names)
            if 5 * len(known) >= 2 * len(labels) and len(known) > 0.8 * len(names):
                folders = [f for group in class_folders(place).values() for f in group]
                if next(filter(None, map(holds, folders)), None) == kind:
                    return place
    return None


def _read_words(taxonomy: str, kind: str, found: Found) -> None:
    place = _words_root(found.root, taxonomy, kind)
    if place is None:
        raise found.missing(f"folders named after the words of {taxonomy}")
    read_classes(found, place, load_taxonomy(taxonomy).labels)


def _words_layout(name: str, about: str, taxonomy: str, kind: str) -> Layout:
    what = "*.jpg" if kind == "images" else "*.mp4 or CLIP/*.jpg"
    return Layout(
        name,
        about,
        f"[{kind}/][train|val|test/]WORD/{what}, a folder for each of the words of {taxonomy}",
        lambda root: _words_root(root, taxonomy, kind) is not None,
        lambda found: _read_words(taxonomy, kind, found),
        kind="images" if kind == "images" else "clips",
    )


def _pose(name: str) -> str | None:
    return _POSES.get(name.strip().lower().replace("_", " ").replace("-", " "))


def _f2ed_root(root: Path) -> Path | None:
    for place in (root / "images", root):
        if place.is_dir():
            people = subfolders(place)[:3]
            poses = [folder for person in people for folder in subfolders(person)]
            if poses and all(_pose(folder.name) for folder in poses):
                return place
    return None


def _is_f2ed(root: Path) -> bool:
    path = root / _LIST
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = file.readline()
        return all(column in head.lower() for column in _COLUMNS)
    return _f2ed_root(root) is not None


def _f2ed_rows(found: Found) -> Iterator[tuple[str, Path, str, str, str]]:
    """Place, picture, subject, pose and expression of everything that there is."""
    listed = found.root / _LIST
    if listed.is_file():
        with listed.open(encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                path, *rest = ((row.get(column) or "").strip() for column in _COLUMNS)
                yield f"{_LIST}:{line}", found.root / path, *rest  # type: ignore[misc]
        return
    place = _f2ed_root(found.root)
    if place is None:
        raise found.missing("SUBJECT/front/EXPRESSION/ or labels.csv")
    for person in subfolders(place):
        for pose in subfolders(person):
            for expression in subfolders(pose):
                pictures = media(expression, PICTURES)
                if not pictures:
                    found.wrong("empty", expression, "this folder holds no picture")
                for path in pictures:
                    yield found.below(path), path, person.name, pose.name, expression.name


def _read_f2ed(found: Found) -> None:
    rows = list(_f2ed_rows(found))
    found.labels = tuple(sorted({canonical(row[4]) for row in rows} - {""}))
    if len(found.labels) > F2ED_CLASSES:
        found.wrong("label", found.root, f"{len(found.labels)} expressions, but F2ED has 54")
    elif len(found.labels) < F2ED_CLASSES:
        found.notes.append(f"{len(found.labels)} of F2ED's {F2ED_CLASSES} expressions are here")
    for where, path, subject, pose, expression in rows:
        known = _pose(pose)
        if known is None:
            found.wrong("label", where, f"pose {pose!r} is not one of {', '.join(POSES)}")
        elif not expression or not subject:
            found.wrong("label", where, "subject or expression is not told")
        else:
            label = found.labels.index(canonical(expression))
            found.add(path, "all", label, subject=subject, pose=known)


FG_IMAGES = _words_layout("fg-emotions", "FG-Emotions (pictures)", "fg33", "images")
FG_CLIPS = _words_layout("fg-emotions-clips", "FG-Emotions (clips)", "fg33", "clips")
EMO135 = _words_layout("emo135", "Emo135", "emo135", "images")
F2ED = Layout(
    "f2ed",
    "F2ED",
    "SUBJECT/POSE/EXPRESSION/*.jpg (poses front, half_left, half_right, bird_view), "
    "or labels.csv with columns path, subject, pose, expression",
    _is_f2ed,
    _read_f2ed,
)
