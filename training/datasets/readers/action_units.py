"""Sets of action units, frame by frame: DISFA and BP4D. 1 on, -1 off, 0 unknown (paper 003, eq. 2).

DISFA (Mavadati et al. 2013): ActionUnit_Labels/SN001/SN001_au1.txt with lines `frame,intensity`,
frames from 1, intensity 0 to 5; a unit is on from 2, as is usual. Pictures:
Videos_LeftCamera/LeftVideoSN001_comp.avi, or frames taken from it in a folder LeftVideoSN001_comp/,
LeftVideoSN001/ or SN001/ whose names end in the frame's number. BP4D (Zhang et al. 2014):
AUCoding/AU_OCC/F001_T1.csv, the first row numbers of action units, the first column numbers of
frames, 0 off, 1 on, 9 unknown; pictures in 2D+3D/F001/T1/0001.jpg or "Sequences(2D+3D)". All
confirmed in public readers. DISFA has no official split (three folds by people are
usual); BP4D's is that of FERA 2015: odd people train, even ones validation.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from .folders import first_folder, media, subfolders
from .layout import Found, Layout
from .pixels import PICTURES, VIDEOS

DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
ON_FROM = 2
"""Intensity from which a unit of DISFA counts as on."""
_DISFA_LABELS = ("ActionUnit_Labels", "Labels")
_BP4D_LABELS = ("AUCoding/AU_OCC", "AU_OCC")
_UNKNOWN = 9


def _read_disfa(found: Found) -> None:
    labels = first_folder(found.root, _DISFA_LABELS)
    if labels is None:
        raise found.missing(_DISFA_LABELS[0])
    found.units = tuple(f"AU{unit}" for unit in DISFA_UNITS)
    for subject in subfolders(labels):
        rows = _intensities(found, subject)
        if not rows:
            continue
        pictures = _disfa_pictures(found.root, subject.name)
        if pictures is None:
            found.wrong("missing", subject, f"no video LeftVideo{subject.name}_comp.avi, no frames")
            continue
        by_number = _numbered(pictures) if pictures.is_dir() else None
        for frame, units in rows.items():
            more = {"units": units, "subject": subject.name}
            if by_number is None:
                name = f"{found.below(pictures)}#{frame}"
                found.add(pictures, "all", None, name=name, frames=(frame - 1, frame), **more)
            elif frame in by_number:
                found.add(by_number[frame], "all", None, **more)
        if by_number is not None and (lacking := len(set(rows) - set(by_number))):
            found.wrong(
                "length", pictures, f"{lacking} of {len(rows)} labelled frames have no picture"
            )


def _intensities(found: Found, subject: Path) -> dict[int, tuple[int, ...]]:
    """The units of each frame by its number; {} where the files do not fit each other."""
    columns: list[dict[int, int]] = []
    for unit in DISFA_UNITS:
        path = subject / f"{subject.name}_au{unit}.txt"
        if not path.is_file():
            found.wrong("missing", path, "the file of this action unit is missing")
            return {}
        column = {}
        for number, line in enumerate(path.read_text("ascii", "replace").splitlines(), start=1):
            match = re.fullmatch(r"\s*(\d+)\s*,\s*([0-5])\s*", line)
            if match:
                column[int(match[1])] = int(match[2])
            elif line.strip():
                where = f"{found.below(path)}:{number}"
                found.wrong("label", where, f"{line.strip()[:30]!r} is no line of frame,intensity")
        if columns and len(column) != len(columns[0]):
            first = f"{subject.name}_au{DISFA_UNITS[0]}.txt"
            found.wrong("length", path, f"{len(column)} frames, but {len(columns[0])} in {first}")
            return {}
        columns.append(column)
    frames = [frame for frame in columns[0] if all(frame in column for column in columns)]
    return {
        frame: tuple(1 if column[frame] >= ON_FROM else -1 for column in columns)
        for frame in frames
    }


def _disfa_pictures(root: Path, subject: str) -> Path | None:
    """The left camera's video of a person, or a folder of its frames."""
    names = (f"LeftVideo{subject}_comp", f"LeftVideo{subject}", subject)
    for depth in ("", "*/", "*/*/"):
        for name in names:
            for path in sorted(root.glob(f"{depth}{name}*")):
                if path.is_dir() and path.name == name and media(path, PICTURES):
                    return path
                if path.suffix.lower() in VIDEOS:
                    return path
    return None


def _numbered(folder: Path) -> dict[int, Path]:
    """Pictures by the number that their name ends in."""
    found = {}
    for path in media(folder, PICTURES):
        match = re.search(r"(\d+)$", path.stem)
        if match:
            found[int(match[1])] = path
    return found


def _read_bp4d(found: Found) -> None:
    coding = first_folder(found.root, _BP4D_LABELS)
    if coding is None:
        raise found.missing(_BP4D_LABELS[0])
    found.units = tuple(f"AU{unit}" for unit in BP4D_UNITS)
    places: dict[str, Path | None] = {}
    for path in sorted(coding.glob("*_T*.csv")):
        person, _, task = path.stem.partition("_")
        if person not in places:
            places[person] = next(iter(_bp4d_people(found.root, person)), None)
        place = places[person]
        if place is None or not (place / task).is_dir():
            found.wrong("missing", path, f"there is no folder {person}/{task} of its pictures")
            continue
        _read_task(found, path, place / task, person)


def _bp4d_people(root: Path, person: str) -> list[Path]:
    places = [
        path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(f"{depth}{person}"))
    ]
    return [path for path in places if path.is_dir()]


def _read_task(found: Found, path: Path, folder: Path, person: str) -> None:
    pictures = _numbered(folder)
    split = "train" if int(person[1:]) % 2 else "validation"
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = [row for row in csv.reader(file) if row] or [[]]
    try:
        places = [[cell.strip() for cell in head].index(str(unit)) for unit in BP4D_UNITS]
    except ValueError:
        found.wrong("label", path, f"its first row does not name the units {BP4D_UNITS}")
        return
    lacking = 0
    for number, row in enumerate(rows, start=2):
        units = _occurrences(row, places)
        if units is None:
            found.wrong("label", f"{found.below(path)}:{number}", "no row of a frame and 0, 1 or 9")
            continue
        picture = pictures.get(int(row[0]))
        if picture is None:
            lacking += 1
            continue
        found.add(picture, split, None, units=units, subject=person)
    if lacking:
        what = f"{lacking} of {len(rows)} labelled frames have no picture"
        found.wrong("length", path, f"{what} in {found.below(folder)}")


def _occurrences(row: list[str], places: list[int]) -> tuple[int, ...] | None:
    codes = {"0": -1, "1": 1, str(_UNKNOWN): 0}
    try:
        int(row[0])
        return tuple(codes[row[at].strip()] for at in places)
    except (ValueError, KeyError, IndexError):
        return None


DISFA = Layout(
    "disfa",
    "DISFA",
    "ActionUnit_Labels/SN001/SN001_au1.txt ('frame,intensity') and "
    "Videos_LeftCamera/LeftVideoSN001_comp.avi or folders of its frames",
    lambda root: any(_is_disfa(root / name) for name in _DISFA_LABELS),
    _read_disfa,
)


def _is_disfa(labels: Path) -> bool:
    return labels.is_dir() and any(labels.glob("SN*/SN*_au1.txt"))


BP4D = Layout(
    "bp4d",
    "BP4D",
    "AUCoding/AU_OCC/F001_T1.csv (units in the first row, 0, 1 or 9) and 2D+3D/F001/T1/*.jpg",
    lambda root: any(any((root / name).glob("*_T*.csv")) for name in _BP4D_LABELS),
    _read_bp4d,
)
