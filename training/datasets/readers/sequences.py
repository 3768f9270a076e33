"""Sequences of posed expressions from the laboratory: CK+, Oulu-CASIA, MMI. Read as clips.

None has official splits: people are dealt out in ten, as paper 003 (V.A) and most others do, by
whoever prepares a set; `peak_frames` makes of the clips the pictures that it trains on.

CK+ (Lucey et al. 2010): cohn-kanade-images/S005/001/*.png, neutral to apex;
Emotion/S005/001/*_emotion.txt with one number (1 anger, 2 contempt, 3 disgust, 4 fear, 5 happiness,
6 sadness, 7 surprise) for the 327 labelled ones of 593; FACS/S005/001/*_facs.txt with lines of
action unit and intensity at the apex. Oulu-CASIA (Zhao et al. 2011): OriginalImg/VL/Strong/P001/
Anger/000.jpeg, neutral to apex, 480 sequences in visible light, strong; under PreProcess_Img the
folder is VL_Acropped. MMI (Valstar & Pantic 2010): Sessions/NUMBER/ with one .avi, its .xml with
<Metatag Name="Emotion" Value="1"/> (1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise)
and session.xml with <track view=...>, where 1 is a profile. The files of all three are confirmed in
public readers; what MMI's numbers beyond 6 mean is not, so those sessions are left out.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .errors import LabelError
from .faceset import FaceSet, Item
from .folders import canonical, first_folder, media, subfolders
from .layout import Found, Layout
from .pixels import PICTURES

_CK_IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
_CK_EMOTIONS = ("Emotion", "Emotion_labels", "Emotion_labels/Emotion")
_CK_FACS = ("FACS", "FACS_labels", "FACS_labels/FACS")
_CK = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_CK_UNITS = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25, 26, 27, 28, 29),
    *(31, 34, 38, 39, 43),
)
_SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_PROFILE_VIEW = "1"


def _read_ck(found: Found) -> None:
    images, emotions = first_folder(found.root, _CK_IMAGES), first_folder(found.root, _CK_EMOTIONS)
    if images is None:
        raise found.missing(_CK_IMAGES[0])
    if emotions is None:
        raise found.missing(_CK_EMOTIONS[0])
    facs = first_folder(found.root, _CK_FACS)
    found.labels = _CK
    found.units = tuple(f"AU{unit}" for unit in _CK_UNITS)
    unlabelled = 0
    for subject in subfolders(images):
        for sequence in subfolders(subject):
            below = f"{subject.name}/{sequence.name}"
            files = sorted((emotions / below).glob("*_emotion.txt"))
            label = _number_in(found, files[0]) if files else None
            unlabelled += not files
            if not media(sequence, PICTURES):
                found.wrong("empty", sequence, "this sequence holds no frame")
            elif label is not None:
                units = _units_in(found, facs / below) if facs else None
                found.add(sequence, "all", label, subject=subject.name, units=units)
    found.notes.append(f"{unlabelled} sequences without an emotion label left out")


def _number_in(found: Found, path: Path) -> int | None:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        number = int(float(text))
    except ValueError:
        number = -1
    if 0 <= number < len(found.labels):
        return number
    found.wrong("label", path, f"emotion {text[:20]!r} is not one of 0 to {len(found.labels) - 1}")
    return None


def _units_in(found: Found, folder: Path) -> tuple[int, ...] | None:
    """Action units at the apex: those listed are on, the others off; None without a file."""
    files = sorted(folder.glob("*_facs.txt"))
    if not files:
        return None
    lines = files[0].read_text(encoding="ascii", errors="replace").split("\n")
    try:
        on = {int(float(line.split()[0])) for line in lines if line.strip()}
    except ValueError:
        found.wrong("label", files[0], "these are no lines of action unit and intensity")
        return None
    return tuple(1 if unit in on else -1 for unit in _CK_UNITS)


def _oulu_root(root: Path) -> Path | None:
    """The folder whose subfolders are P001, P002, ...: strong visible light."""
    for depth in ("", "*/", "*/*/"):
        for light in ("VL", "VL_Acropped"):
            for place in sorted(root.glob(f"{depth}{light}/Strong")):
                if any(re.fullmatch(r"P\d{3}", folder.name) for folder in subfolders(place)):
                    return place
    return None


def _read_oulu(found: Found) -> None:
    place = _oulu_root(found.root)
    if place is None:
        raise found.missing("OriginalImg/VL/Strong/P001")
    found.labels = _SIX
    for subject in subfolders(place):
        for sequence in subfolders(subject):
            name = canonical(sequence.name)
            if name not in _SIX:
                found.wrong("label", sequence, f"no expression of {found.layout.about}")
            elif not media(sequence, PICTURES):
                found.wrong("empty", sequence, "this sequence holds no frame")
            else:
                found.add(sequence, "all", _SIX.index(name), subject=subject.name)


def _read_mmi(found: Found) -> None:
    sessions = found.root / "Sessions"
    if not sessions.is_dir():
        raise found.missing("Sessions")
    found.labels = _SIX
    others = profiles = 0
    for session in subfolders(sessions):
        clip = next(iter(media(session, (".avi",))), None)
        if clip is None:
            found.wrong("empty", session, "this session holds no .avi")
            continue
        described = clip.with_suffix(".xml")
        number = _tag(found, described, "Metatag", {"Name": "Emotion"}, "Value")
        if _tag(found, session / "session.xml", "track", {}, "view") == _PROFILE_VIEW:
            profiles += 1
        elif number is None or not number.isdigit() or not 1 <= int(number) <= len(_SIX):
            others += 1
        else:
            subject = clip.stem.partition("-")[0]
            found.add(clip, "all", int(number) - 1, subject=subject)
    found.notes.append(f"{others} sessions without one of the six emotions left out")
    found.notes.append(f"{profiles} sessions in profile left out")


def _tag(found: Found, path: Path, tag: str, where: dict[str, str], name: str) -> str | None:
    """An attribute of the first such element of an XML file; None where it is not there."""
    if not path.is_file():
        return None
    try:
        elements = ElementTree.parse(path).getroot().iter(tag)
    except ElementTree.ParseError:
        found.wrong("label", path, "this is no XML")
        return None
    fitting = (e for e in elements if all(e.get(key) == value for key, value in where.items()))
    return next((element.get(name) for element in fitting), None)


def peak_frames(clips: FaceSet, peaks: int = 3) -> FaceSet:
    """The pictures that paper 003 (V.A) trains on: of each sequence the first frame as neutral,
    and `peaks` at the expression's height: the last ones of CK+ and Oulu-CASIA, which end there,
    the middle ones of MMI, which returns to neutral.

    Raises LabelError for a set that is no such set of sequences; PictureError for a video file
    that cannot be played.
    """
    if clips.layout not in ("ck+", "oulu-casia", "mmi"):
        raise LabelError(f"{clips.root} ({clips.layout}) is no set of posed sequences with a peak")
    names = clips.labels if "neutral" in clips.labels else ("neutral", *clips.labels)
    items: list[Item] = []
    for index, item in enumerate(clips.items):
        length = clips.clip_length(index)
        items += _peaks_of(item, length, peaks, clips, names)
    return replace(
        clips, layout=f"{clips.layout}-peaks", kind="images", labels=names, items=tuple(items)
    )


def _peaks_of(
    item: Item, length: int, peaks: int, clips: FaceSet, names: tuple[str, ...]
) -> Iterator[Item]:
    start = length - peaks if clips.layout != "mmi" else (length - peaks) // 2
    label = names.index(clips.labels[item.label]) if item.label is not None else None
    off = tuple(-1 for _ in item.units) if item.units else None
    chosen: list[tuple[int, int | None, tuple[int, ...] | None]]
    chosen = [(0, names.index("neutral"), off)]
    chosen += [(at, label, item.units) for at in range(max(start, 1), min(start + peaks, length))]
    files = media(item.path, PICTURES) if item.path.is_dir() else None
    for at, what, units in chosen:
        picture = files[at] if files else item.path
        frames = None if files else (at, at + 1)
        name = f"{item.name}#{at}"
        yield replace(item, name=name, path=picture, label=what, units=units, frames=frames)


CK_PLUS = Layout(
    "ck+",
    "CK+",
    "cohn-kanade-images/S005/001/*.png, Emotion/S005/001/*_emotion.txt, perhaps FACS/",
    lambda root: first_folder(root, _CK_IMAGES) is not None,
    _read_ck,
    kind="clips",
)
OULU_CASIA = Layout(
    "oulu-casia",
    "Oulu-CASIA",
    "OriginalImg/VL/Strong/P001/Anger/000.jpeg (or PreProcess_Img/VL_Acropped/Strong/...)",
    lambda root: _oulu_root(root) is not None,
    _read_oulu,
    kind="clips",
)
MMI = Layout(
    "mmi",
    "MMI",
    "Sessions/NUMBER/ with NAME.avi, NAME.xml and session.xml",
    lambda root: (
        (root / "Sessions").is_dir()
        and any(media(folder, (".avi",)) for folder in subfolders(root / "Sessions")[:20])
    ),
    _read_mmi,
    kind="clips",
)
