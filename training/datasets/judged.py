"""Judged faces: basic expression, intensity, valence, arousal and emotion words, face by face.

The judge is a vision-language model that looked at each face, not a person: what is learned from
these labels or measured against them is called machine-judged wherever it is shown. Three sets
have them: FER+ photographs, faces of another kind ("wild"), and photographs balanced by age and
gender ("fairface"), which are for measuring only. Everything is plain numpy.

N faces, W words.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.errors import FerstreamError

from .arrays import ArraysUnreadable, stored_arrays
from .fer import BASIC8, SPLITS, DataMissing, FerPlus, data_folder, load_fer_plus

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

UNREADABLE = 255
NAMED = 5
"""The most words that a judge names of a face, best first."""
GRADES = (1.0, 0.8, 0.6, 0.5, 0.4)
"""What each of them counts in training: the first says most."""
LAYOUT = """expected beside fer2013plus/
  fer2013plus/words.npz       image rater split (N,), and judgements
  wild/labels.npz, images.zip name split (N,), judgements, faces (M, 15), offset (N + 1,), main (N,)
  fairface/ the same          without split; age gender (N,), two judgements each: (N, 2)
judgements are basic intensity valence arousal (N,), words (N, 5) and word_names"""


class LabelsWrong(FerstreamError, ValueError):
    """A file of judgements does not say what it should."""


@dataclass(frozen=True)
class Judgements:
    """What a judge said of N faces.

    basic (N,) int64, a number of BASIC8 or -1 where the face was unreadable; intensity (N,) 0..1;
    valence and arousal (N,) -1..1; words (N, 5) int64, numbers of the emo135 words, best first,
    -1 for none.
    """

    basic: npt.NDArray[np.int64]
    intensity: Floats
    valence: Floats
    arousal: Floats
    words: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.basic)

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """(N,) where the judge saw a face to judge."""
        return self.basic >= 0

    @property
    def affect(self) -> Floats:
        """valence, arousal, intensity: (N, 3)."""
        return np.stack([self.valence, self.arousal, self.intensity], axis=1)

    def named(self, grades: tuple[float, ...] = (1.0,) * NAMED) -> Floats:
        """(N, W): what each word counts by its place among those named, 0 where it was not."""
        target = np.zeros((len(self), len(load_taxonomy("emo135").labels)), np.float32)
        for place, grade in enumerate(grades):
            rows = np.flatnonzero(self.words[:, place] >= 0)
            target[rows, self.words[rows, place]] = grade
        return target

    def take(self, rows: npt.NDArray[Any]) -> Judgements:
        """The chosen rows only."""
        return Judgements(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class JudgedFaces:
    """N pictures of one set and split with a judged face in each.

    names (N,); boxes (N, 4) x, y, width, height and points (N, 5, 2) of the judged face in pixels
    of its picture: right eye, left eye, nose, right and left mouth corner; judged is the first
    judge's word, second the second one's where there is one; groups are columns such as age.
    """

    name: str
    names: tuple[str, ...]
    boxes: Floats
    points: npt.NDArray[np.float32]
    judged: Judgements
    second: Judgements | None
    groups: Mapping[str, npt.NDArray[np.str_]]
    archive: Path

    def __len__(self) -> int:
        return len(self.names)

    def pictures(self) -> list[Picture]:
        """All pictures, RGB (H, W, 3), in order.

        Raises:
            DataMissing: one is not in the archive.
            LabelsWrong: one cannot be read.
        """
        try:
            with zipfile.ZipFile(self.archive) as archive:
                there = {Path(name).name: name for name in archive.namelist()}
                return [self._picture(archive, there, name) for name in self.names]
        except (zipfile.BadZipFile, zlib.error) as error:
            raise LabelsWrong(f"{self.archive} cannot be read: {error}") from error

    def _picture(self, archive: zipfile.ZipFile, there: Mapping[str, str], name: str) -> Picture:
        if name not in there:
            raise DataMissing(f"{self.archive} lacks {name}, which its labels judge")
        encoded = np.frombuffer(archive.read(there[name]), np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
        if picture is None:
            raise LabelsWrong(f"{name} in {self.archive} is no picture that can be read")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


@dataclass(frozen=True)
class JudgedClips:
    """N pictures of real clips, judged twice by one who saw a clip's pictures in order.

    clips (N,) file names, a clip's pictures one after the other in the order of their times;
    times_s (N,) from the clip's first picture; boxes (N, 4) as in JudgedFaces.
    """

    clips: npt.NDArray[np.str_]
    times_s: Floats
    boxes: Floats
    judged: Judgements
    second: Judgements

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class JudgedPhotographs:
    """FER+ photographs of one split with their judgements; second is None but for the test split,
    whose faces were judged in two passes."""

    photographs: FerPlus
    judged: Judgements
    second: Judgements | None

    def __len__(self) -> int:
        return len(self.judged)


def load_judged_photographs(split: str, folder: str | Path | None = None) -> JudgedPhotographs:
    """The judged FER+ photographs of a split, each once, twins left out.

    Raises:
        DataMissing: a file is missing.
        LabelsWrong: unknown words, a split that is not the photograph's, numbers out of range.
    """
    path = data_folder(folder) / "fer2013plus" / "words.npz"
    table = _table(path)
    photographs = load_fer_plus(split, folder)
    judgements = _judgements(table, path)
    image, part, rater = (
        _column(table, name, path, 1, len(judgements)).astype(np.int64)
        for name in ("image", "split", "rater")
    )
    count = photographs.total
    if len(image) and not (image.min() >= 0 and image.max() < count):
        wrong = image.max() if image.max() >= count else image.min()
        raise LabelsWrong(f"{path} judges image {wrong}, but there are {count}")
    here = part == SPLITS[split]
    place = np.full(count, -1, np.int64)
    place[photographs.image] = np.arange(len(photographs))
    strangers = here & (photographs.split_of_image[image] != SPLITS[split])
    if strangers.any():
        raise LabelsWrong(
            f"{path} says that image {image[strangers][0]} is of the {split} split, "
            "labels.npz says otherwise"
        )
    order = np.lexsort((rater, image))
    order = order[here[order] & (place[image[order]] >= 0)]
    faces, first, counts = np.unique(image[order], return_index=True, return_counts=True)
    both = bool(len(faces)) and bool((counts >= 2).all())
    return JudgedPhotographs(
        photographs.subset(place[faces]),
        judgements.take(order[first]),
        judgements.take(order[first + 1]) if both else None,
    )


class JudgedColumns(NamedTuple):
    """words (N, 135), what their naming counts in training; affect (N, 3); judge (N, 8), the
    judge's basic expression: zeros for faces that nobody judged."""

    words: Floats
    affect: Floats
    judge: Floats


def judged_columns(photographs: FerPlus, folder: str | Path | None, split: str) -> JudgedColumns:
    """What was judged of photographs of a split, in their order; zeros without such a file.

    Raises:
        DataMissing, LabelsWrong: see `load_judged_photographs`.
    """
    count = len(photographs)
    columns = JudgedColumns(*(np.zeros((count, width), np.float32) for width in (135, 3, 8)))
    if not (data_folder(folder) / "fer2013plus" / "words.npz").is_file():
        return columns
    found = load_judged_photographs(split, folder)
    place = np.full(photographs.total, -1, np.int64)
    place[photographs.image] = np.arange(count)
    known = (place[found.photographs.image] >= 0) & found.judged.readable
    rows, judged = place[found.photographs.image[known]], found.judged.take(known)
    columns.words[rows] = judged.named(GRADES)
    columns.affect[rows] = judged.affect
    columns.judge[rows, judged.basic] = 1
    return columns


def load_wild(split: str, folder: str | Path | None = None) -> JudgedFaces:
    """The wild faces of a split.

    Raises:
        DataMissing, LabelsWrong: see `load_judged_photographs`.
    """
    found, table, path = _faces("wild", folder)
    return _taken(found, _column(table, "split", path, 1, len(found)) == SPLITS[split])


def load_fairface(folder: str | Path | None = None) -> JudgedFaces:
    """The photographs balanced by age and gender; for measuring only.

    Raises:
        DataMissing, LabelsWrong: see `load_judged_photographs`.
    """
    found, table, path = _faces("fairface", folder)
    groups = {name: _column(table, name, path, 1, len(found)) for name in ("age", "gender")}
    return replace(found, groups=groups)


def load_judged_clips(folder: str | Path) -> JudgedClips:
    """The judged pictures of the clips in a folder, from its judged.npz.

    Raises:
        DataMissing: there is no judged.npz, or a clip that it judges is not there.
        LabelsWrong: see `load_judged_photographs`.
    """
    path = Path(folder) / "judged.npz"
    if not path.is_file():
        raise DataMissing(f"{path} is missing: it says what was judged in the clips of the folder")
    table = _table(path)
    first, second = (_judgements(table, path, judge) for judge in (0, 1))
    clips, times_s, boxes = (
        _column(table, name, path, dims, len(first))
        for name, dims in (("clip", 1), ("time_s", 1), ("box", 2))
    )
    for name in sorted(set(clips.tolist())):
        # A name, not a way out of the folder.
        if Path(name).name != name or not (path.parent / name).is_file():
            raise DataMissing(f"{path} judges {name}, which is not in {path.parent}")
    order = np.lexsort((times_s, clips))
    return JudgedClips(
        clips[order],
        times_s[order].astype(np.float32),
        boxes[order].astype(np.float32),
        first.take(order),
        second.take(order),
    )


def _faces(name: str, folder: str | Path | None) -> tuple[JudgedFaces, Mapping[str, Any], Path]:
    path = data_folder(folder) / name / "labels.npz"
    table = _table(path)
    archive = path.with_name("images.zip")
    if not archive.is_file():
        raise DataMissing(f"{archive} is missing: {LAYOUT}")
    twice = "words" in table and np.ndim(table["words"]) == 3
    judges = [_judgements(table, path, judge) for judge in ((0, 1) if twice else (None,))]
    count = len(judges[0])
    names, main = (_column(table, column, path, 1, count) for column in ("name", "main"))
    offset = _column(table, "offset", path, 1, count + 1).astype(np.int64)
    detected = _column(table, "faces", path, 2)
    rows = offset[:-1] + main
    if ((rows < offset[:-1]) | (rows >= np.minimum(offset[1:], len(detected)))).any():
        raise LabelsWrong(f"{path}: main points to faces that offset does not give to the picture")
    if detected.shape[1] < 14:
        raise LabelsWrong(f"{path}: faces has {detected.shape[1]} columns, 15 expected")
    face = detected[rows].astype(np.float32)
    faces = JudgedFaces(
        name,
        tuple(str(item) for item in names),
        face[:, :4],
        face[:, 4:14].reshape(-1, 5, 2),
        judges[0],
        judges[1] if twice else None,
        {},
        archive,
    )
    return faces, table, path


def _taken(faces: JudgedFaces, which: npt.NDArray[np.bool_]) -> JudgedFaces:
    rows = np.flatnonzero(which)
    return replace(
        faces,
        names=tuple(faces.names[row] for row in rows.tolist()),
        boxes=faces.boxes[rows],
        points=faces.points[rows],
        judged=faces.judged.take(rows),
        second=None if faces.second is None else faces.second.take(rows),
        groups={name: column[rows] for name, column in faces.groups.items()},
    )


def _table(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise DataMissing(f"{path} is missing: {LAYOUT}")
    try:
        return stored_arrays(path)
    except ArraysUnreadable as error:
        raise LabelsWrong(str(error)) from error


def _column(
    table: Mapping[str, Any], name: str, path: Path, dims: int, count: int | None = None
) -> npt.NDArray[Any]:
    if name not in table:
        raise LabelsWrong(f"{path} has no column {name}: {LAYOUT}")
    column = np.asarray(table[name])
    if column.ndim != dims:
        raise LabelsWrong(
            f"{path}: {name} has the shape {column.shape}, {dims} dimensions expected"
        )
    if count is not None and len(column) != count:
        raise LabelsWrong(f"{path}: {name} has {len(column)} rows, {count} expected")
    return column


def _judgements(table: Mapping[str, Any], path: Path, judge: int | None = None) -> Judgements:
    """One judge's columns, checked; ``judge`` where every face has two."""
    more = judge is not None

    def column(name: str, dims: int) -> npt.NDArray[Any]:
        found = _column(table, name, path, dims + more)
        return found[:, judge] if more else found

    names = [str(word) for word in _column(table, "word_names", path, 1)]
    labels = load_taxonomy("emo135").labels
    if unknown := sorted(set(names) - set(labels)):
        raise LabelsWrong(f"{path} names words that are not among the {len(labels)}: {unknown[0]}")
    to_label = np.array([labels.index(word) for word in names] + [-1], np.int64)
    words = column("words", 2).astype(np.int64)
    basic = column("basic", 1).astype(np.int64)
    ranges = {"intensity": (0, 3), "valence": (-4, 4), "arousal": (-4, 4)}
    numbers = {name: column(name, 1).astype(np.float32) for name in ranges}
    if {len(words), *map(len, numbers.values())} != {len(basic)} or words.shape[1] != NAMED:
        raise LabelsWrong(f"{path}: its columns are not of one length, or words not of {NAMED}")
    if len(words) and not (words.min() >= -1 and words.max() < len(names)):
        raise LabelsWrong(f"{path} names word {words.max()} of {len(names)}")
    if ((basic >= len(BASIC8)) & (basic != UNREADABLE) | (basic < 0)).any():
        raise LabelsWrong(f"{path}: basic holds numbers other than 0..7 and {UNREADABLE}")
    for name, (low, high) in ranges.items():
        if len(basic) and not (low <= numbers[name].min() and numbers[name].max() <= high):
            raise LabelsWrong(f"{path}: {name} goes beyond {low}..{high}")
    return Judgements(
        np.where(basic == UNREADABLE, -1, basic),
        numbers["intensity"] / 3,
        numbers["valence"] / 4,
        numbers["arousal"] / 4,
        to_label[words],
    )
