"""Tiny copies of the layouts of sequences, clips and action units."""

from __future__ import annotations

from pathlib import Path

from tests.training.layout_files import EMOTIW, Written, clip, frames, picture, text

SIX = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)


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
