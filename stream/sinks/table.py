"""A table of results: a row per face and frame, and a row where no face is (success 0).

The columns follow OpenFace's habits and are the same in CSV, in Parquet and in data frames. Names
are those of the bundle's labels. `COLUMNS` are added on request, here and to rows of JSON.
docs/columns.md has each column with unit and meaning.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.labels import BUILT_IN, Labels

from ..emotions import AFFECT, Emotions
from ..faces.quality import EYES
from ..frame import Frame
from ..result import FaceResult, Result
from .base import BaseSink, SinkInfo, SinkOptions

Columns = Literal[
    "blendshapes", "units", "fg33", "words", "frame_words", "landmarks", "pose", "eyes", "quality"
]
COLUMNS: tuple[Columns, ...] = get_args(Columns)

_SIDES = ("Left", "Right")
UNITS: Mapping[str, tuple[str, ...]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUp",),
    "AU4": ("browDown",),
    "AU5": ("eyeWide",),
    "AU6": ("cheekSquint",),
    "AU7": ("eyeSquint",),
    "AU9": ("noseSneer",),
    "AU10": ("mouthUpperUp",),
    "AU12": ("mouthSmile",),
    "AU14": ("mouthDimple",),
    "AU15": ("mouthFrown",),
    "AU16": ("mouthLowerDown",),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretch",),
    "AU22": ("mouthFunnel",),
    "AU24": ("mouthPress",),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU29": ("jawForward",),
    "AU34": ("cheekPuff",),
    "AU45": ("eyeBlink",),
}
"""Action units of FACS and the blendshapes whose mean estimates each, of both sides."""


def units_of(shapes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The action units that these blendshapes estimate, with the blendshapes of each."""
    found = {
        unit: tuple(
            name
            for stem in stems
            for name in (stem, *(f"{stem}{side}" for side in _SIDES))
            if name in shapes
        )
        for unit, stems in UNITS.items()
    }
    return {unit: names for unit, names in found.items() if names}


def requested(found: FaceResult, columns: Sequence[Columns]) -> dict[str, Any]:
    """The requested columns of one face by name, as plain types for rows of JSON."""
    return {name: _requested_value(found, name) for name in columns}


def _requested_value(found: FaceResult, name: Columns) -> Any:
    if name == "landmarks":
        return [[round(x, 1), round(y, 1)] for x, y in found.landmarks_xy.tolist()]
    if name == "pose":
        quality, roll = found.quality, roll_deg(found.landmarks_xy)
        angles = {"yaw_deg": quality.yaw_deg, "pitch_deg": quality.pitch_deg, "roll_deg": roll}
        return {key: round(value, 1) for key, value in angles.items()}
    if name == "eyes":
        return None if found.eyes is None else found.eyes.to_json()
    if name == "quality":
        return found.quality.to_json()
    return {key: round(value, 4) for key, value in shares(found, name).items()}


def shares(found: FaceResult, name: Columns) -> Mapping[str, float]:
    """The values of a requested column, 0 to 1, by name and not rounded."""
    if name == "blendshapes":
        return found.blendshapes
    if name == "units":
        shapes = found.blendshapes
        units = units_of(tuple(shapes))
        return {unit: sum(shapes[one] for one in of) / len(of) for unit, of in units.items()}
    if name == "fg33":
        return _fine(found.emotions)
    emotions = found.frame_emotions if name == "frame_words" else found.emotions
    chance = dict(emotions.ranked)
    return {word: chance[word] for word in emotions.labels.words.labels}


def roll_deg(landmarks_xy: NDArray[np.float32]) -> float:
    """Roll of the head: the angle of the line between the eyes, degrees, clockwise in the picture.

    `landmarks_xy` are (468, 2) points in pixels.
    """
    x, y = (landmarks_xy[EYES[1]] - landmarks_xy[EYES[0]]).tolist()
    return math.degrees(math.atan2(y, x))


def _fine(emotions: Emotions) -> dict[str, float]:
    if emotions.fine:
        return dict(emotions.fine)
    labels, chance = emotions.labels, dict(emotions.ranked)
    if (shares_KF := labels.fine_shares()) is None:
        return {}
    words_K = np.array([chance[word] for word in labels.words.labels])
    return dict(zip(labels.fine, np.minimum(words_K @ shares_KF, 1.0).tolist(), strict=True))


Kind = Literal["whole", "number", "time", "flag", "text"]
Value = str | int | float | None
Row = Sequence[Value]

# Beside columns that always are there.
_QUALITY = ("size_px", "sharpness", "presence", "brightness", "clear")
_LANDMARKS = 468


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind = "number"
    """`flag` is 0 or 1, `time` seconds."""
    digits: int = 4
    """Of a number, after the point."""


_EYES = (
    *(Column("eye_open_right"), Column("eye_open_left")),
    *(Column(f"blink_{what}", "time") for what in ("watched_s", "from_s", "to_s")),
    *(Column(f"gaze_{angle}", digits=1) for angle in ("yaw", "pitch")),
)


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns whose values come together."""

    columns: tuple[Column, ...]
    values: Callable[[FaceResult], Sequence[Value]]


class FaceTable:
    """The columns of results in these labels, and their rows.

    Args:
        labels: the bundle's labels.
        top: words per face, best first.
        asked: columns added on request.
    """

    def __init__(
        self, labels: Labels = BUILT_IN, top: int = 10, asked: Sequence[Columns] = ()
    ) -> None:
        self._groups = [*_usual(labels, top), *(_asked(name, labels) for name in asked)]
        self._absent = sum(len(group.columns) for group in self._groups) - 2
        self.columns: tuple[Column, ...] = (
            Column("frame", "whole"),
            Column("face_id", "whole"),
            Column("timestamp", "time"),
            *(column for group in self._groups for column in group.columns),
            Column("source", "text"),
        )
        """In order."""

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def rows(self, result: Result) -> Iterator[Row]:
        """A row for each face; one with success 0 where there is none."""
        if not result.faces:
            empty: tuple[Value, ...] = (None,) * self._absent
            yield (result.frame, -1, float(result.time_s), 0, 0, *empty, result.source)
        for found in result.faces:
            values = [value for group in self._groups for value in group.values(found)]
            yield (result.frame, found.id, float(result.time_s), *values, result.source)


class TableFile(Protocol):
    """A file that rows are added to. Every method raises `SinkError` where that fails."""

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, values in the order of the columns."""

    def close(self) -> None:
        """Finish the file."""


Opener = Callable[[Sequence[Column], Mapping[str, Any]], TableFile]
"""Opens a table file, given its columns and facts for its header."""


class SharedTable:
    """One file for the rows of several sources, which may be written at the same time."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._lock = threading.Lock()
        self._file: TableFile | None = None

    def opened(self, columns: Sequence[Column], about: Mapping[str, Any]) -> SharedTable:
        """Itself; the file is created when the first source begins."""
        with self._lock:
            if self._file is None:
                self._file = self._open(columns, about)
        return self

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows of one source."""
        with self._lock:
            assert self._file is not None
            self._file.append(rows)

    def close(self) -> None:
        """Close the file after the last source."""
        with self._lock:
            if self._file is not None:
                self._file.close()


class TableSink(BaseSink):
    """Writes rows of faces to a table of its own, made by `opener`, or to one that is shared."""

    def __init__(
        self,
        opener: Opener,
        top: int = 10,
        columns: Sequence[Columns] = (),
        table: SharedTable | None = None,
    ) -> None:
        self._open, self._shared = opener, table
        self._top, self._asked = top, columns
        self._table = FaceTable()
        self._file: TableFile | None = None

    def open(self, info: SinkInfo) -> None:
        """Make the file."""
        self._table = FaceTable(info.labels, self._top, self._asked)
        columns, about = self._table.columns, info.about
        if self._shared is not None:
            self._file = self._shared.opened(columns, about)
        else:
            self._file = self._open(columns, about)

    def write(self, frame: Frame, result: Result) -> None:
        """Append the frame's faces, or its one row without any."""
        if self._file is None:
            raise ValueError("open the sink before writing to it")
        self._file.append(list(self._table.rows(result)))

    def close(self) -> None:
        """Close the file, unless others write to it."""
        if self._file is not None and self._shared is None:
            self._file.close()
        self._file = None


def table_sink(options: SinkOptions, open_table: Callable[..., TableFile]) -> TableSink:
    """The sink of a table format, given its `open_table(path, columns, about)`."""
    opener, table = partial(open_table, options.path), None
    if options.tables is not None:
        table = options.tables.setdefault(options.target, SharedTable(opener))
    return TableSink(opener, options.top, options.columns, table)


def _usual(labels: Labels, top: int) -> list[_Group]:
    """The groups of columns that are always there, from `confidence` on."""
    basic, families = labels.basic.labels, labels.words.families

    def seen(found: FaceResult) -> Sequence[Value]:
        quality = found.quality
        return (quality.score, 1, *map(float, found.box), quality.yaw_deg, quality.pitch_deg)

    def read(found: FaceResult) -> Sequence[Value]:
        one = found.emotions
        return (one.label, one.neutral, int(one.uncertain), *_affect(one))

    def likely(found: FaceResult) -> Sequence[Value]:
        one = found.emotions
        return [*(one.basic8[name] for name in basic), *(one.families[name] for name in families)]

    def alone(found: FaceResult) -> Sequence[Value]:
        one = found.frame_emotions
        chances = (one.basic8[name] for name in basic)
        return [found.attention, one.label, *_affect(one), *chances]

    def best(found: FaceResult) -> Sequence[Value]:
        words = [value for pair in found.emotions.top(top) for value in pair]
        return [*words, *[None] * (2 * top - len(words))]

    places = [
        Column("confidence", digits=3),
        Column("success", "flag"),
        *(Column(f"box_{side}", digits=1) for side in "xywh"),
        *(Column(f"pose_{angle}", digits=1) for angle in ("yaw", "pitch")),
    ]
    reading = [Column("label", "text"), Column("neutral"), Column("uncertain", "flag")]
    chances = [f"basic8_{name}" for name in basic] + [f"family_{name}" for name in families]
    own = [Column("attention"), Column("frame_label", "text")]
    frame = [f"frame_{name}" for name in AFFECT] + [f"frame_basic8_{name}" for name in basic]
    words = [(Column(f"top{at}", "text"), Column(f"top{at}_p")) for at in range(1, top + 1)]
    return [
        _Group(tuple(places), seen),
        _Group((*reading, *map(Column, AFFECT)), read),
        _Group(tuple(map(Column, chances)), likely),
        _Group((*own, *map(Column, frame)), alone),
        _Group(tuple(column for pair in words for column in pair), best),
    ]


def _asked(name: Columns, labels: Labels) -> _Group:
    """The group of a column that was requested."""
    if name == "landmarks":
        points = (
            Column(f"landmark{n}_{axis}", digits=1) for n in range(_LANDMARKS) for axis in "xy"
        )
        return _Group(tuple(points), lambda found: found.landmarks_xy.ravel().tolist())
    if name == "pose":
        return _Group((Column("pose_roll", digits=1),), lambda f: (roll_deg(f.landmarks_xy),))
    if name == "eyes":
        return _Group(_EYES, _eyes)
    if name == "quality":
        parts = tuple(Column(f"quality_{part}", digits=3) for part in _QUALITY)
        return _Group(parts, lambda found: [getattr(found.quality, part) for part in _QUALITY])
    shapes = [name for name in labels.blendshapes if not name.startswith("_")]
    prefix, names = {
        "blendshapes": ("blendshape_", shapes),
        "units": ("", units_of(shapes)),
        "fg33": ("fg33_", labels.fine),
        "words": ("word_", labels.words.labels),
        "frame_words": ("frame_word_", labels.words.labels),
    }[name]

    def values(found: FaceResult) -> Sequence[Value]:
        values = shares(found, name)
        return [values.get(key) for key in names]

    return _Group(tuple(Column(f"{prefix}{key}") for key in names), values)


def _eyes(found: FaceResult) -> tuple[Value, ...]:
    """Values in the order of `_EYES`; None where the eyes are unknown."""
    eyes = found.eyes
    if eyes is None:
        return (None,) * len(_EYES)
    of_blink = (None, None) if eyes.blink is None else (eyes.blink.from_s, eyes.blink.to_s)
    gaze = eyes.gaze_deg or (None, None)
    return (eyes.right, eyes.left, eyes.watched_s, *of_blink, *gaze)


def _affect(emotions: Emotions) -> tuple[Value, ...]:
    """Valence, arousal, intensity; None where the bundle has none."""
    return emotions.valence, emotions.arousal, emotions.intensity
