"""The papers' own sets: FG-Emotions (003), F2ED (004), Emo135 (000).

None of the three layouts could be confirmed: no public reader of them was found. What is read here
follows the papers' description, in the plainest folders that hold it; where yours differ, rename
them, or write the list.

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
from collections.abc import Iterator
from pathlib import Path

from ferstream.engines.taxonomy import load_taxonomy

from .folders import canonical, class_folders, class_names, holds, media, read_classes, subfolders
from .layout import Found, Layout
from .pixels import PICTURES

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
