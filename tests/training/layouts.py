"""Tiny copies of the layouts in which labelled sets are handed out, drawn, not downloaded.

Each writer fills a folder as the set's makers do and says what a reader has to find in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ferstream.engines.taxonomy import load_taxonomy
from tests.training.clip_layouts import afew as afew
from tests.training.clip_layouts import bp4d as bp4d
from tests.training.clip_layouts import ck_plus as ck_plus
from tests.training.clip_layouts import dfew as dfew
from tests.training.clip_layouts import disfa as disfa
from tests.training.clip_layouts import ferv39k as ferv39k
from tests.training.clip_layouts import mafw as mafw
from tests.training.clip_layouts import mmi as mmi
from tests.training.clip_layouts import oulu_casia as oulu_casia
from tests.training.layout_files import EMOTIW, Written, clip, frames
from tests.training.layout_files import picture as picture
from tests.training.layout_files import text as text


def fer2013(root: Path, votes: bool = True) -> Written:
    """Eight rows of three splits; two have votes that are no use."""
    rng = np.random.default_rng(1)
    usages = ("Training",) * 4 + ("PublicTest",) * 2 + ("PrivateTest",) * 2
    rows = [" ".join(map(str, rng.integers(0, 256, 48 * 48))) for _ in usages]
    emotions = (0, 3, 6, 5, 4, 3, 2, 1)
    lines = [f"{e},{p},{u}" for e, p, u in zip(emotions, rows, usages, strict=True)]
    text(root / "fer2013.csv", "emotion,pixels,Usage", *lines)
    if not votes:
        return Written(
            {
                "train": {"anger": 1, "happiness": 1, "neutral": 1, "surprise": 1},
                "validation": {"sadness": 1, "happiness": 1},
                "test": {"fear": 1, "disgust": 1},
            },
            labels=("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
        )
    head = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"
    given = (
        *("0,0,0,1,9,0,0,0,0,0", "1,9,0,0,0,0,0,0,0,0", "6,0,0,3,0,0,0,1,0,0"),
        *("0,0,2,0,0,0,0,0,8,0", "0,0,0,10,0,0,0,0,0,0", "0,10,0,0,0,0,0,0,0,0"),
        *("0,0,4,0,0,0,6,0,0,0", "0,0,0,0,0,0,0,0,0,10"),
    )
    named = [f"{u},fer{n:07d}.png,{v}" for n, (u, v) in enumerate(zip(usages, given, strict=True))]
    text(root / "fer2013new.csv", f"{head},unknown,NF", *named)
    return Written(
        {
            "train": {"anger": 1, "happiness": 1, "neutral": 1},
            "validation": {"sadness": 1, "happiness": 1},
            "test": {"fear": 1},
        },
        labels=load_taxonomy("basic8").labels,
        said=("2 photographs with fewer than 5 votes",),
    )


def raf(root: Path, half: str = "basic") -> Written:
    """One half of RAF-DB."""
    rows = [("train_00001", 1), ("train_00002", 4), ("train_00003", 4), ("test_0001", 7)]
    text(root / half / "EmoLabel/list_patition_label.txt", *(f"{n}.jpg {k}" for n, k in rows))
    for name, _ in rows:
        picture(root / half / f"Image/aligned/{name}_aligned.jpg")
    if half == "basic":
        return Written(
            {"train": {"surprise": 1, "happiness": 2}, "test": {"neutral": 1}},
            labels=("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
        )
    return Written(
        {
            "train": {"happily surprised": 1, "sadly angry": 2},
            "test": {"fearfully angry": 1},
        }
    )


def raf_folders(root: Path) -> Written:
    """RAF-DB's basic half as it is passed on in folders 1 to 7."""
    for split, each in (("train", 2), ("test", 1)):
        for number in range(1, 8):
            for at in range(each):
                picture(root / f"DATASET/{split}/{number}/{split}_{number}{at}_aligned.jpg")
    names = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    return Written({"train": dict.fromkeys(names, 2), "test": dict.fromkeys(names, 1)})


def affectnet(root: Path) -> Written:
    """AffectNet's lists; the validation list without its header."""
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression"
    rows = {"training": [0, 1, 6, 8, 10], "validation": [7, 3]}
    for name, labels in rows.items():
        lines = [f"{k}/{name}{k}.jpg,4,5,30,31,1.0;2.0,{k},0.1,-0.2" for k in labels]
        first = [f"{head},valence,arousal"] if name == "training" else []
        text(root / f"Manually_Annotated_file_lists/{name}.csv", *first, *lines)
        for k in labels:
            picture(root / f"Manually_Annotated_Images/{k}/{name}{k}.jpg")
    return Written(
        {
            "train": {"neutral": 1, "happiness": 1, "anger": 1},
            "validation": {"contempt": 1, "surprise": 1},
        },
        said=("2 pictures of none, uncertain or no face",),
    )


def affectnet_arrays(root: Path) -> Written:
    """AffectNet with a file a label."""
    for folder, labels in (("train_set", ("2", "2", "5")), ("val_set", ("4",))):
        for number, label in enumerate(labels):
            picture(root / folder / f"images/{number}.jpg")
            (root / folder / "annotations").mkdir(exist_ok=True)
            np.save(root / folder / f"annotations/{number}_exp.npy", np.array(label))
    return Written({"train": {"sadness": 2, "disgust": 1}, "validation": {"fear": 1}})


def sfew(root: Path) -> Written:
    """SFEW 2.0, once in each other; the test folder has no classes."""
    for split, each in (("Train", 2), ("Val", 1)):
        for name in EMOTIW:
            for at in range(each):
                picture(root / split / split / name / f"Film_0012{at}5160_0000000{at}.png")
    picture(root / "Test/Film_000000000_00000001.png")
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    return Written({"train": dict.fromkeys(names, 2), "validation": dict.fromkeys(names, 1)})


def jaffe(root: Path) -> Written:
    """JAFFE: two people."""
    for name in ("KA.AN1.39.tiff", "KA.HA2.30.tiff", "KL.NE1.155.tiff", "KL.SU3.166.tiff"):
        picture(root / name)
    text(root / "README_FIRST.txt", "please cite")
    return Written({"all": {"anger": 1, "happiness": 1, "neutral": 1, "surprise": 1}}, people=2)


POSES = ("front", "half_left", "half_right", "bird_view")


def f2ed(root: Path) -> Written:
    """F2ED: two people, four poses, two expressions."""
    for person in ("001", "002"):
        for pose in POSES:
            for name in ("acceptance", "calm"):
                picture(root / person / pose / name / "0.jpg")
    return Written(
        {"all": {"acceptance": 8, "calm": 8}}, people=2, said=("2 of F2ED's 54 expressions",)
    )


def f2ed_list(root: Path) -> Written:
    """F2ED as a list."""
    lines = []
    for person in ("7", "8"):
        path = picture(root / f"faces/{person}.png").relative_to(root)
        lines.append(f"{path},{person},Bird View,angry")
    text(root / "labels.csv", "path,subject,pose,expression", *lines)
    return Written({"all": {"anger": 2}}, people=2)


def words(root: Path, taxonomy: str, folder: str, splits: Sequence[str] = ("",)) -> Written:
    """A folder a word, pictures or folders of frames."""
    labels = load_taxonomy(taxonomy).labels
    for split in splits:
        for word in labels:
            place = root / folder / split / word
            if folder == "clips":
                frames(place / "0001", 2)
            else:
                picture(place / "0.jpg")
    known = {"train": "train", "val": "validation", "test": "test", "": "all"}
    counts = {known[split]: dict.fromkeys(labels, 1) for split in splits}
    return Written(counts, kind="clips" if folder == "clips" else "images", labels=labels)


def classes(root: Path) -> Written:
    """Any folder of classes, with splits."""
    for split, each in (("train", 2), ("val", 1)):
        for name in ("bored", "amused", "confused"):
            for at in range(each):
                picture(root / split / name / f"{at}.png")
    names = ("amused", "bored", "confused")
    return Written(
        {"train": dict.fromkeys(names, 2), "validation": dict.fromkeys(names, 1)}, labels=names
    )


def clip_classes(root: Path) -> Written:
    """Any folder of classes of clips, without splits; the classes are basic emotions."""
    clip(root / "happy/0.mp4", 3)
    clip(root / "sad/0.mp4", 3)
    for name in ("Neutral", "angry"):
        frames(root / name / "0001", 2)
    names = ("neutral", "happiness", "sadness", "anger")
    return Written({"all": dict.fromkeys(names, 1)}, kind="clips", labels=names)


SPLITS = ("train", "val", "test")

WRITERS: dict[str, tuple[str, Callable[[Path], Written]]] = {
    "fer2013": ("fer2013", lambda root: fer2013(root, votes=False)),
    "fer+": ("fer+", fer2013),
    "raf-basic": ("raf-basic", raf),
    "raf-folders": ("raf-basic", raf_folders),
    "raf-compound": ("raf-compound", lambda root: raf(root, "compound")),
    "affectnet": ("affectnet", affectnet),
    "affectnet-arrays": ("affectnet-arrays", affectnet_arrays),
    "sfew": ("sfew", sfew),
    "afew": ("afew", afew),
    "ck+": ("ck+", ck_plus),
    "oulu-casia": ("oulu-casia", oulu_casia),
    "mmi": ("mmi", mmi),
    "jaffe": ("jaffe", jaffe),
    "disfa": ("disfa", disfa),
    "bp4d": ("bp4d", bp4d),
    "dfew": ("dfew", dfew),
    "ferv39k": ("ferv39k", ferv39k),
    "mafw": ("mafw", mafw),
    "f2ed": ("f2ed", f2ed),
    "f2ed-list": ("f2ed", f2ed_list),
    "fg-emotions": ("fg-emotions", lambda root: words(root, "fg33", "images", SPLITS)),
    "fg-emotions-clips": ("fg-emotions-clips", lambda root: words(root, "fg33", "clips", SPLITS)),
    "emo135": ("emo135", lambda root: words(root, "emo135", "")),
    "folders": ("folders", classes),
    "clip-folders": ("clip-folders", clip_classes),
}
"""What each is called, the layout it has, and what writes it."""
