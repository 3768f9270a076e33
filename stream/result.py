"""What the Recognizer hands to sinks and callers: faces of a frame, lists of them, tables of them.

`to_df` makes a data frame of pandas or polars, `save_table` a file.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.labels import BUILT_IN, Labels

from .emotions import Emotions
from .errors import PictureMissing, SinkError, TablesMissing
from .eyes import Eyes
from .faces.quality import Quality
from .faces.track import Face

if TYPE_CHECKING:
    from .sinks.table import Columns, FaceTable, Kind, Value


SCHEMA = 2
"""Of result rows. 2 (0.2.0) has each word on its own, valence and arousal, families weighed by what
is not neutral, and the frame's own reading."""
Stages = dict[str, float]
"""Milliseconds by stage."""


def left_out_notes(most: int) -> tuple[str, ...]:
    """The note of a summary where up to `most` faces at a time were left out; none for 0."""
    if not most:
        return ()
    count = "1 face" if most == 1 else f"up to {most} faces at a time"
    return (f"more faces than are followed at once: {count} left out; raise --max-faces",)


@dataclass(frozen=True, slots=True)
class FaceResult:
    """What one face expresses in one frame."""

    face: Face
    """Where the face is: id, box, landmarks, quality."""
    emotions: Emotions
    """The emotions of the window about this frame (attention over its frames, motion, fused): up
    to this frame live, in a recording as far ahead as back."""
    frame_emotions: Emotions
    """The emotions of this frame's crop alone."""
    blendshape_values: NDArray[np.float32]
    """(52,) estimates of the face's muscle actions (blendshapes), 0..1."""
    attention: float
    """This frame's share of the window's attention, 0..1; all its frames sum to 1."""
    zoom: NDArray[np.float32]
    """(2,) centre x, y of the region the network zoomed into, 0..1 of the crop."""
    among: int = 1
    """How many frames share the attention."""
    blendshape_names: tuple[str, ...] = ()
    """Of `blendshape_values`; one that begins with _ is none."""
    eyes: Eyes | None = None
    """How far the eyes are open, and blinks; None where no landmarks were found, or the bundle does
    not tell."""

    def __repr__(self) -> str:
        """The essentials, without arrays."""
        box = ", ".join(f"{float(value):.1f}" for value in self.box)
        return f"FaceResult(id={self.id}, box=({box}), label={self.emotions.label!r})"

    @property
    def id(self) -> int:
        """Stays the same while the face is followed, and when the person comes back."""
        return self.face.id

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height in pixels; may reach beyond the picture's edges."""
        return self.face.box

    @property
    def quality(self) -> Quality:
        """How much the view of the face is worth."""
        return self.face.quality

    @property
    def landmarks_xy(self) -> NDArray[np.float32]:
        """(468, 2) points of the face in pixels."""
        return self.face.landmarks_xy

    @property
    def blendshapes(self) -> dict[str, float]:
        """The muscle actions by name."""
        named = zip(self.blendshape_names, self.blendshape_values.tolist(), strict=False)
        return {name: value for name, value in named if not name.startswith("_")}

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words with their probabilities, best first."""
        return self.emotions.top(k)

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One entry of a row's `faces` (schema 2): plain types, `top` words at most."""
        return {
            "id": self.id,
            "box": [round(float(value), 1) for value in self.box],
            "quality": self.quality.to_json(),
            **self.emotions.to_json(top),
            "attention": round(self.attention, 4),
            "frame_emotions": self.frame_emotions.to_json(top),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """All the faces of one frame."""

    frame: int
    """The frame's index in its source."""
    time_s: float
    """The frame's time on its source's clock, seconds."""
    source: str
    faces: list[FaceResult]
    """Ordered by id; empty where nobody is seen."""
    stages_ms: Stages = field(default_factory=dict)
    """Milliseconds spent in detect, align, flow, spatial, temporal, fusion. Of frames scored
    together, the last three are each frame's even share."""
    left_out: int = 0
    """Faces seen beyond those that are followed at most, when new ones were last looked for."""
    joined: Mapping[int, int] = field(default_factory=dict)
    """With a recording's last frame: ids that the whole of it shows to be of somebody else, and
    that one's id."""
    picture: NDArray[np.uint8] | None = field(default=None, compare=False)
    """(H, W, 3) RGB, what was looked at; where it was asked for (see `Recognizer.__call__`)."""

    def __repr__(self) -> str:
        """The essentials, without arrays."""
        where = f"frame={self.frame}, time_s={float(self.time_s):.3f}, source={self.source!r}"
        return f"Result({where}, faces={self.faces!r})"

    def top(self, k: int = 10) -> list[list[tuple[str, float]]]:
        """The k most fitting words of each face, best first, in the order of `faces`."""
        return [face.top(k) for face in self.faces]

    def plot(self, pixels: NDArray[np.uint8] | None = None, top: int = 5) -> NDArray[np.uint8]:
        """The picture (H, W, 3) RGB with boxes, labels and `top` words per face drawn on a copy.

        `pixels` is the frame's picture where the result does not keep it. Raises PictureMissing
        where there is none, ValueError or TypeError for what is no picture.
        """
        from .frame import rgb_of
        from .sinks.overlay import draw

        shown = self.picture if pixels is None else rgb_of(pixels)
        if shown is None:
            raise PictureMissing(
                f"this result of {self.source} keeps no picture: pass it, plot(pixels), or ask "
                "for it, recognizer(source, pictures=True)"
            )
        return draw(shown, self, top=top)

    def save(self, path: str | os.PathLike[str], top: int = 5) -> Path:
        """Write `plot` to a picture file; the ending says of which kind. Returns its path.

        Raises PictureMissing, and SinkError where it cannot be written.
        """
        from PIL import Image

        from .sinks.base import check_writable, write_failure

        target, drawn = Path(path), Image.fromarray(self.plot(top=top))
        check_writable(target)
        try:
            drawn.save(target)
        except OSError as error:
            raise write_failure(target, error) from error
        except ValueError as error:
            raise SinkError(f"{target}: name a picture, such as x.png or x.jpg") from error
        return target

    def to_df(
        self, library: Library | None = None, *, columns: Sequence[Columns] = (), top: int = 10
    ) -> Any:
        """A data frame with a row per face: see `to_df`."""
        return to_df([self], library, columns=columns, top=top)

    def _repr_png_(self) -> bytes | None:
        """How notebooks show it: the annotated picture, where it is kept."""
        if self.picture is None:
            return None
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.plot()).save(file, "PNG")
        return file.getvalue()

    def with_ids(self, ids: Mapping[int, int]) -> Result:
        """The same result with these ids of faces replaced, as `joined` says."""
        if not ids:
            return self
        faces = [
            replace(found, face=replace(found.face, id=ids.get(found.id, found.id)))
            for found in self.faces
        ]
        return replace(self, faces=sorted(faces, key=lambda found: found.id))

    def named(self, source: str) -> Result:
        """The same result with another source name."""
        return self if self.source == source else replace(self, source=source)

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One row of a .jsonl file (schema 2); a frame without a face gives a row too."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "faces": [face.to_json(top) for face in self.faces],
            **({"left_out": self.left_out} if self.left_out else {}),
        }


Library = Literal["pandas", "polars"]
"""Which library holds the table."""


class Results(list[Result]):
    """A list of results with the labels of their bundle."""

    def __init__(self, results: Iterable[Result] = (), labels: Labels | None = None) -> None:
        super().__init__(results)
        self.labels = labels

    def to_df(
        self, library: Library | None = None, *, columns: Sequence[Columns] = (), top: int = 10
    ) -> Any:
        """All of them as one data frame: see `to_df`."""
        return to_df(self, library, columns=columns, top=top, labels=self.labels)

    def to_json(self, top: int = 10) -> list[dict[str, Any]]:
        """A row of JSON for each."""
        return [result.to_json(top) for result in self]


def to_df(
    results: Iterable[Result],
    library: Library | None = None,
    *,
    columns: Sequence[Columns] = (),
    top: int = 10,
    labels: Labels | None = None,
) -> Any:
    """A pandas or polars data frame with a row per face and frame, and one where no face is.

    Args:
        results: of any sources; an iterator is read to its end.
        library: None: pandas where it is installed, else polars.
        columns: columns added on request: names of `sinks.table.COLUMNS`.
        top: words per face.
        labels: the bundle's labels; None: those of the first face.

    docs/columns.md has every column. Raises TablesMissing where the library is not installed,
    ValueError for an unknown library or column, or an invalid number of words.
    """
    from .sinks.table import FaceTable

    loaded = _loaded(library)
    _check(columns, top)
    table: FaceTable | None = None
    waiting: list[Result] = []
    values: list[Sequence[Value]] = []
    for result in results:
        if table is None and labels is None and not result.faces:
            waiting.append(result)  # no face has said yet what the columns are
            continue
        if table is None:
            table = FaceTable(labels or result.faces[0].emotions.labels, top, columns)
        for one in (*waiting, result):
            values += table.rows(one)
        waiting = []
    if table is None:
        table = FaceTable(labels or BUILT_IN, top, columns)
        values += [row for one in waiting for row in table.rows(one)]
    by_name = {
        column.name: _typed(loaded, column.kind, [row[at] for row in values])
        for at, column in enumerate(table.columns)
    }
    return loaded.DataFrame(by_name)


def save_table(
    results: Iterable[Result],
    path: str | os.PathLike[str],
    *,
    columns: Sequence[Columns] = (),
    top: int = 10,
    labels: Labels = BUILT_IN,
) -> Path:
    """Write a .csv or .parquet file with a row per face and frame; returns its path.

    Of an iterator few results are in memory at a time. The file gets its name once it is complete;
    an existing one is replaced. `columns` and `top` as for `to_df`; `labels` are the Recognizer's.
    Raises SinkError, TablesMissing where pyarrow is not installed, ValueError for an unknown column
    or an invalid number of words.
    """
    from .formats import place_of
    from .sinks.table import FaceTable

    _check(columns, top)
    place = place_of(os.fspath(path))
    if not place.format.table:
        raise SinkError(f"{place.name}: a table is .csv or .parquet")
    place.check(overwrite=True)
    try:
        opener = place.format.opener(Path(place.unfinished.target))
    except ModuleNotFoundError as error:
        raise TablesMissing("Parquet needs pyarrow: pip install 'ferstream[tables]'") from error
    table = FaceTable(labels, top, columns)
    file = opener(table.columns, {})
    with closing(file):
        for result in results:
            file.append(list(table.rows(result)))
    place.finish()
    return Path(place.target)


def _check(columns: Sequence[Columns], top: int) -> None:
    from .sinks.table import COLUMNS

    if isinstance(top, bool) or not isinstance(top, int) or top < 0:
        raise ValueError(f"top {top}: a whole number of words, 0 or more")
    if isinstance(columns, str) or any(name not in COLUMNS for name in columns):
        raise ValueError(f"columns {columns}: a list of {', '.join(COLUMNS)}")


def _typed(library: Any, kind: Kind, values: Sequence[Value]) -> Any:
    """A column whose type does not depend on its values; None becomes null."""
    numbers = (
        [None if value is None else float(value) for value in values]
        if kind in ("number", "time")
        else values
    )
    if library.__name__ == "polars":
        types = {"number": library.Float64, "time": library.Float64, "text": library.String}
        return library.Series(values=numbers, dtype=types.get(kind, library.Int64))
    types = {"number": "float64", "time": "float64", "text": "object"}
    return library.Series(numbers, dtype=types.get(kind, "Int64"))


def _loaded(library: Library | None) -> Any:
    names: tuple[str, ...] = get_args(Library)
    if library not in (None, *names):
        raise ValueError(f"library {library!r}: {' or '.join(names)}")
    for name in names if library is None else (library,):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    missing = library or " or ".join(names)
    raise TablesMissing(f"a data frame needs {missing}: pip install 'ferstream[tables]'")
