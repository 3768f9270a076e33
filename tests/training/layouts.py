"""Tiny copies of the layouts in which labelled sets are handed out, drawn, not downloaded.

Each writer fills a folder as the set's makers do and says what a reader has to find in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from engines.taxonomy import load_taxonomy

from ..media import video

SIX = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
EMOTIW = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")


@dataclass(frozen=True)
class Written:
    """What lies in a folder: items per split and label; where a set has people, how many."""

    counts: dict[str, dict[str, int]]
    people: int = 0
    kind: str = "images"
    labels: tuple[str, ...] = ()
    """The whole label map in order, where it is the set's own."""
    said: tuple[str, ...] = field(default=())
    """Parts of its notes."""


def picture(path: Path, seed: int | None = None) -> Path:
    """A small picture, another one for each path or seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.as_posix().encode()) if seed is None else seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(path), pixels)
    return path


def text(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def frames(folder: Path, count: int, name: str = "{:03d}.jpg", start: int = 0) -> Path:
    """A folder of frames."""
    for number in range(start, start + count):
        picture(folder / name.format(number))
    return folder


def clip(path: Path, count: int = 4) -> Path:
    """A video file; its frames tell their numbers (tests.media.level)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".avi":
        return video(path, count, codec="mjpeg", pixel_format="yuvj420p")
    return video(path, count)


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


def afew(root: Path) -> Written:
    """AFEW: video files in training, frames of them in validation."""
    for name in EMOTIW:
        clip(root / "Train_AFEW" / name / "000046280.avi", 3)
        frames(root / "Val_AFEW" / name / "001242800", 3)
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    once = dict.fromkeys(names, 1)
    return Written({"train": once, "validation": once}, kind="clips")


def ck_plus(root: Path) -> Written:
    """CK+: three labelled sequences of two people, one without a label."""
    for who, number, label in (("S005", "001", 3), ("S005", "002", 7), ("S010", "001", 5)):
        folder = f"{who}/{number}"
        frames(root / "cohn-kanade-images" / folder, 5, f"{who}_{number}_" + "{:08d}.png", start=1)
        name = f"{who}_{number}_00000005"
        text(root / "Emotion" / folder / f"{name}_emotion.txt", f"   {label:.7e}")
        text(root / "FACS" / folder / f"{name}_facs.txt", "   1.2e+01   4.0e+00", "  2.5e+01  0")
    frames(root / "cohn-kanade-images/S010/003", 3)
    return Written(
        {"all": {"disgust": 1, "surprise": 1, "happiness": 1}},
        people=2,
        kind="clips",
        said=("1 sequences without an emotion label",),
    )


def oulu_casia(root: Path) -> Written:
    """Oulu-CASIA: two people in visible light, and what is not to be read."""
    for person in ("P001", "P002"):
        for name in SIX:
            frames(root / "OriginalImg/VL/Strong" / person / name, 5, "{:03d}.jpeg")
    frames(root / "OriginalImg/NI/Strong/P001/Anger", 2, "{:03d}.jpeg")
    frames(root / "OriginalImg/VL/Dark/P001/Anger", 2, "{:03d}.jpeg")
    return Written({"all": dict.fromkeys(map(str.lower, SIX), 2)}, people=2, kind="clips")


def mmi(root: Path) -> Written:
    """MMI: two sessions that count, one of another emotion, one in profile."""
    sessions = (("1", "S001-001", 1, 0), ("2", "S002-014", 4, 0), ("3", "S002-015", 9, 0))
    for number, name, emotion, view in (*sessions, ("4", "S003-001", 2, 1)):
        folder = root / "Sessions" / number
        clip(folder / f"{name}.avi", 9)
        tag = f'<Metatag Name="Emotion" Value="{emotion}"/>'
        text(
            folder / f"{name}.xml", f'<annotation><Metatag Name="AU" Value="1"/>{tag}</annotation>'
        )
        text(folder / f"{name}-oao_aucs.xml", "<annotation/>")
        text(folder / "session.xml", f'<session><track view="{view}"/></session>')
    return Written(
        {"all": {"anger": 1, "happiness": 1}},
        people=2,
        kind="clips",
        said=("1 sessions without one of the six", "1 sessions in profile"),
    )


def jaffe(root: Path) -> Written:
    """JAFFE: two people."""
    for name in ("KA.AN1.39.tiff", "KA.HA2.30.tiff", "KL.NE1.155.tiff", "KL.SU3.166.tiff"):
        picture(root / name)
    text(root / "README_FIRST.txt", "please cite")
    return Written({"all": {"anger": 1, "happiness": 1, "neutral": 1, "surprise": 1}}, people=2)


DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


def disfa(root: Path) -> Written:
    """DISFA: one person as a video, one as frames; AU12 rises over four frames."""
    for person in ("SN001", "SN002"):
        for unit in DISFA_UNITS:
            rows = [f"{frame},{frame if unit == 12 else 0}" for frame in range(1, 5)]
            text(root / f"ActionUnit_Labels/{person}/{person}_au{unit}.txt", *rows)
    clip(root / "Videos_LeftCamera/LeftVideoSN001_comp.avi", 4)
    frames(root / "Videos_LeftCamera/LeftVideoSN002_comp", 4, "SN002_{:05d}.jpg", start=1)
    on = {f"AU{unit}": 6 if unit == 12 else 0 for unit in DISFA_UNITS}
    return Written({"all": on}, people=2)


def bp4d(root: Path) -> Written:
    """BP4D: two people; AU6 on, AU24 unknown in the second frame."""
    for person in ("F001", "M002"):
        units = ["0", *map(str, range(1, 28))]
        rows = []
        for frame in (2440, 2441):
            codes = {6: 1, 24: 9 if frame == 2441 else 0}
            rows.append(",".join([str(frame), *(str(codes.get(u, 0)) for u in range(1, 28))]))
            picture(root / f"2D+3D/{person}/T1/{frame}.jpg")
        text(root / f"AUCoding/AU_OCC/{person}_T1.csv", ",".join(units), *rows)
    on = {f"AU{unit}": 2 if unit == 6 else 0 for unit in BP4D_UNITS}
    return Written({"train": on, "validation": on}, people=2)


def dfew(root: Path) -> Written:
    """DFEW: its first two folds, frames of the clips."""
    rows = {1: (1, 2), 2: (3, 7), 3: (4, 1)}
    for fold in (1, 2):
        tested = fold
        for split, keep in (("train", False), ("test", True)):
            lines = [
                f"{clip},{label}" for clip, (label, _) in rows.items() if (clip == tested) == keep
            ]
            folder = root / f"EmoLabel_DataSplit/{split}(single-labeled)"
            text(folder / f"set_{fold}.csv", "video_name,label", *lines)
    for number in rows:
        frames(root / f"Clip/clip_224x224_16f/{number:05d}", 4, "{}.jpg", start=1)
    return Written(
        {"train": {"neutral": 1, "anger": 1}, "test": {"happiness": 1}},
        kind="clips",
        labels=("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"),
    )


def ferv39k(root: Path) -> Written:
    """FERV39k: three clips of two scenes."""
    rows = {
        "train": ["Action/Sad/0010 Sad", "Crime/Happy/0011 Happy"],
        "test": ["Crime/Fear/0001 Fear"],
    }
    for split, lines in rows.items():
        text(root / f"4_setups/All_scenes/{split}_All.csv", *lines)
        for line in lines:
            frames(root / "2_ClipsforFaceCrop" / line.split()[0], 3)
    return Written({"train": {"sadness": 1, "happiness": 1}, "test": {"fear": 1}}, kind="clips")


def mafw(root: Path) -> Written:
    """MAFW: three clips as video files."""
    rows = {"train": ["00019.mp4 anger", "00020.mp4 helplessness"], "test": ["00100.mp4 neutral"]}
    for split, lines in rows.items():
        text(root / f"Train & Test Set/single/no_caption/set_1/{split}.txt", *lines)
        for line in lines:
            clip(root / "data/clips" / line.split()[0], 3)
    return Written({"train": {"anger": 1, "helplessness": 1}, "test": {"neutral": 1}}, kind="clips")


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
