"""Layouts of clips from films and the web: EmotiW, DFEW, FERV39k, MAFW.

SFEW 2.0 (pictures) and AFEW (clips), the EmotiW challenges' sets (Dhall et al.).

Class folders Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise in a folder for each split:
SFEW in Train/ and Val/, sometimes twice in each other, aligned faces in Train_Aligned_Faces/ and
Val_Aligned_Faces/; AFEW in Train_AFEW/ and Val_AFEW/ with .avi files, or folders of frames made of
them. Confirmed in public readers. The test labels were never handed out: a test folder without
class folders is passed over, and results are given on the validation set (paper 003, V.A).

Clips from films and the web: DFEW, FERV39k, MAFW, with their official splits.

DFEW (Jiang et al. 2020): EmoLabel_DataSplit/train(single-labeled)/set_1.csv to set_5.csv and
test(single-labeled)/, rows video_name,label; 1 happiness, 2 sadness, 3 neutral, 4 anger,
5 surprise, 6 disgust, 7 fear. Clips in Clip/: clip_224x224/00001/*.jpg,
clip_224x224_16f/00001/*.jpg or original/part_1/1.mp4. FERV39k (Wang et al. 2022):
4_setups/All_scenes/train_All.csv and test_All.csv, lines `Action/Sad/0010 Sad`; frames in
2_ClipsforFaceCrop/Action/Sad/0010/. MAFW (Liu et al. 2022): Train & Test Set/single/no_caption/
set_1 to set_5/train.txt and test.txt, lines `00019.mp4 anger`; clips in data/clips/ or frames in
data/frames/00019/. All confirmed in public readers. Five folds mean five official train-test
splits; which one is asked for is `fold`. MAFW's compound labels are not read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from .folders import (
    BASIC7,
    canonical,
    first_folder,
    media,
    read_classes_of,
    split_folders,
    subfolders,
)
from .layout import Found, Layout
from .pixels import PICTURES, VIDEOS

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


_DFEW = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
_DFEW_LISTS = "EmoLabel_DataSplit"
_DFEW_CLIPS = ("clip_224x224", "clip_224x224_16f", "clip_224x16f", "jpg_256", "original")
_FERV39K = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
_FERV39K_LISTS = "4_setups/All_scenes"
_FERV39K_CLIPS = ("2_ClipsforFaceCrop", "2_ClipsforFaceCrop/2_ClipsforFaceCrop")
_MAFW = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt"),
    *("anxiety", "helplessness", "disappointment"),
)
_MAFW_LISTS = ("Train & Test Set/single/no_caption", "single/no_caption")
_MAFW_CLIPS = ("data/frames", "data/clips", "frames", "clips")


def _index(folders: Iterable[Path], depth: int) -> dict[str, Path]:
    """Clips by their name without leading zeros and ending; frames before video files."""
    found: dict[str, Path] = {}
    for folder in folders:
        for clip in media(folder, VIDEOS):
            found.setdefault(_key(clip.stem), clip)
        for below in subfolders(folder):
            if re.fullmatch(r"0*\d+", below.name):
                found[_key(below.name)] = below
            elif depth:
                found |= _index([below], depth - 1)
    return found


def _key(name: str) -> str:
    return name.strip().removesuffix(".mp4").lstrip("0") or "0"


def _add(found: Found, clip: Path | None, where: str, split: str, label: int | None) -> None:
    """One listed clip, or what is wrong with it."""
    if label is None:
        return
    if clip is None:
        found.wrong("missing", where, "the clip that this line names is not there")
    elif clip.is_dir() and not media(clip, PICTURES):
        found.wrong("empty", clip, "this clip's folder holds no frame")
    else:
        found.add(clip, split, label)


def _read_dfew(found: Found) -> None:
    found.labels = _DFEW
    base = found.root / "Clip" if (found.root / "Clip").is_dir() else found.root
    # Unpacked parts are called clip_224x224_part_1 and so on.
    kinds = [[f for f in subfolders(base) if f.name.startswith(name)] for name in _DFEW_CLIPS]
    clips = next(filter(None, (_index(kind, 2) for kind in kinds)), None)
    if clips is None:
        raise found.missing("Clip/clip_224x224")
    for split in ("train", "test"):
        path = _dfew_list(found.root, split, found.fold)
        if path is None:
            raise found.missing(f"{_DFEW_LISTS}/{split}(single-labeled)/set_{found.fold}.csv")
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.reader(file), start=1):
                if len(row) < 2 or not row[0].strip().split(".")[0].isdigit():
                    if line > 1 and row:
                        where = f"{found.below(path)}:{line}"
                        found.wrong("label", where, "no line of video_name,label")
                    continue
                where = f"{found.below(path)}:{line}"
                label = _numbered(found, where, row[1].strip())
                _add(found, clips.get(_key(row[0].split(".")[0])), where, split, label)


def _dfew_list(root: Path, split: str, fold: int) -> Path | None:
    folders = (f"{split}(single-labeled)", split)
    names = [f"{_DFEW_LISTS}/{folder}/set_{fold}.csv" for folder in folders]
    return next((root / name for name in names if (root / name).is_file()), None)


def _numbered(found: Found, where: str, text: str) -> int | None:
    if text.isdigit() and 1 <= int(text) <= len(found.labels):
        return int(text) - 1
    found.wrong("label", where, f"label {text!r} is not one of 1 to {len(found.labels)}")
    return None


def _named(found: Found, where: str, text: str) -> int | None:
    name = canonical(text)
    if name in found.labels:
        return found.labels.index(name)
    found.wrong("label", where, f"label {text!r} is not one of {', '.join(found.labels)}")
    return None


def _read_ferv39k(found: Found) -> None:
    found.labels = _FERV39K
    folders = [found.root / n for n in reversed(_FERV39K_CLIPS) if (found.root / n).is_dir()]
    if not folders:
        raise found.missing(_FERV39K_CLIPS[0])
    for split in ("train", "test"):
        path = found.root / _FERV39K_LISTS / f"{split}_All.csv"
        if not path.is_file():
            raise found.missing(path)
        for where, name, text in _lines(found, path):
            places = (folder / name for folder in folders)
            clip = next((place for place in places if place.is_dir()), None)
            _add(found, clip, where, split, _named(found, where, text))


def _read_mafw(found: Found) -> None:
    found.labels = _MAFW
    lists = first_folder(found.root, _MAFW_LISTS)
    if lists is None:
        raise found.missing(_MAFW_LISTS[0])
    folders = [found.root / name for name in _MAFW_CLIPS if (found.root / name).is_dir()]
    if not folders:
        raise found.missing(_MAFW_CLIPS[0])
    clips = _index(folders, 0)
    for split in ("train", "test"):
        path = lists / f"set_{found.fold}" / f"{split}.txt"
        if not path.is_file():
            raise found.missing(path)
        for where, name, text in _lines(found, path):
            _add(found, clips.get(_key(name)), where, split, _named(found, where, text))


def _lines(found: Found, path: Path) -> Iterable[tuple[str, str, str]]:
    """Place, clip and label of each line."""
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), start=1):
        name, _, text = line.strip().rpartition(" ")
        if name and text:
            yield f"{found.below(path)}:{number}", name.strip(), text
        elif line.strip():
            found.wrong("label", f"{found.below(path)}:{number}", "no line of clip and label")


DFEW = Layout(
    "dfew",
    "DFEW",
    f"{_DFEW_LISTS}/train(single-labeled)/set_1.csv, test(single-labeled)/set_1.csv and "
    "Clip/clip_224x224/00001/*.jpg",
    lambda root: _dfew_list(root, "train", 1) is not None,
    _read_dfew,
    kind="clips",
    folds=5,
)
FERV39K = Layout(
    "ferv39k",
    "FERV39k",
    f"{_FERV39K_LISTS}/train_All.csv, test_All.csv ('Action/Sad/0010 Sad') and "
    f"{_FERV39K_CLIPS[0]}/Action/Sad/0010/*.jpg",
    lambda root: (root / _FERV39K_LISTS / "train_All.csv").is_file(),
    _read_ferv39k,
    kind="clips",
)
MAFW = Layout(
    "mafw",
    "MAFW",
    f"{_MAFW_LISTS[0]}/set_1/train.txt, test.txt ('00019.mp4 anger') and data/clips/00019.mp4 "
    "or data/frames/00019/",
    lambda root: any((root / name / "set_1").is_dir() for name in _MAFW_LISTS),
    _read_mafw,
    kind="clips",
    folds=5,
)
