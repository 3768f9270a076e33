"""Readers of labelled faces, in the layouts in which the sets are handed out.

    faces = read_set("/data/RAF-DB")            the layout is recognised
    train = faces.split("train")
    train.items[0].path, train.labels[train.items[0].label], train.picture(0)

Everything is plain numpy and OpenCV; nothing here needs PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from .action_units import BP4D, DISFA
from .errors import DataError, LabelError, LayoutError, PictureError, PreparedError
from .faceset import SPLITS, FaceSet, Item, Problem
from .fer2013 import FER2013, FER_PLUS, PACKED
from .folders import CLIP_FOLDERS, EMO135, F2ED, FG_CLIPS, FG_IMAGES, IMAGE_FOLDERS
from .layout import Found, Layout
from .pictures import AFFECTNET, AFFECTNET_ARRAYS, JAFFE, RAF_BASIC, RAF_COMPOUND
from .prepared import PREPARED, Prepared, load_prepared
from .sequences import CK_PLUS, MMI, OULU_CASIA, peak_frames
from .wild_clips import AFEW, DFEW, FERV39K, MAFW, SFEW

__all__ = [
    "LAYOUTS",
    "SPLITS",
    "DataError",
    "FaceSet",
    "Item",
    "LabelError",
    "Layout",
    "LayoutError",
    "PictureError",
    "Prepared",
    "PreparedError",
    "Problem",
    "load_prepared",
    "peak_frames",
    "read_set",
    "recognise",
]

LAYOUTS = {
    layout.name: layout
    for layout in (
        *(PREPARED, FER_PLUS, FER2013, PACKED, RAF_BASIC, RAF_COMPOUND, AFFECTNET),
        *(AFFECTNET_ARRAYS, SFEW, AFEW, CK_PLUS, OULU_CASIA, MMI, JAFFE, DISFA, BP4D),
        *(DFEW, FERV39K, MAFW, F2ED, FG_IMAGES, FG_CLIPS, EMO135, IMAGE_FOLDERS, CLIP_FOLDERS),
    )
}
"""By name; the folders of classes, which many a set looks like, come last."""

_ANY = (IMAGE_FOLDERS.name, CLIP_FOLDERS.name)


def recognise(root: str | Path) -> Layout:
    """The layout of a folder.

    Raises LayoutError where it has none, or several (both halves of RAF-DB): then name one.
    """
    folder = _folder(root)
    found = [layout for layout in LAYOUTS.values() if layout.recognise(folder)]
    special = [layout for layout in found if layout.name not in _ANY]
    if not found:
        raise LayoutError(
            f"{folder} has none of the layouts that are known ({', '.join(LAYOUTS)}): name one "
            "with --layout to see what it expects"
        )
    if len(special) > 1:
        names = ", ".join(layout.name for layout in special)
        raise LayoutError(f"{folder} has several layouts: name one of {names} with --layout")
    return (special or found)[0]


def read_set(
    root: str | Path, layout: str | None = None, *, fold: int = 1, strict: bool = True
) -> FaceSet:
    """Read the labels of a set; pixels are read when asked for.

    Args:
        root: its folder.
        layout: a name of LAYOUTS; None: recognised.
        fold: which of the official train-test splits, for sets with several (DFEW, MAFW: 1 to 5).
        strict: raise at the first thing that is wrong with the labels; else they are the set's
            `problems`, and what they concern is left out.

    Raises:
        LayoutError: the folder is not laid out so, or as nothing that is known.
        LabelError: with `strict`, a label outside the map, an AU file of another length, a class
            folder without a picture, a listed clip that is not there.
    """
    folder = _folder(root)
    if layout is not None and layout not in LAYOUTS:
        raise LayoutError(f"there is no layout {layout!r}: there are {', '.join(LAYOUTS)}")
    chosen = LAYOUTS[layout] if layout is not None else recognise(folder)
    if not 1 <= fold <= chosen.folds:
        raise LabelError(f"{chosen.about} has folds 1 to {chosen.folds}, so none numbered {fold}")
    found = Found(folder, chosen, fold)
    chosen.read(found)
    faces = found.faceset()
    if strict and faces.problems:
        more = len(faces.problems) - 1
        rest = f" (and {more} more: ferstream data check {folder} shows all)" if more else ""
        raise LabelError(f"{folder}: {faces.problems[0]}{rest}")
    return faces


def _folder(root: str | Path) -> Path:
    folder = Path(root).expanduser().resolve()
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise LayoutError(f"{folder} {what}: name the folder that holds the set")
    return folder
