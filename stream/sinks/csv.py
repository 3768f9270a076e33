"""CSV in OpenFace's habits: a row per face and frame, and a row where no face is (success 0).

| column | meaning |
|---|---|
| frame, face_id, timestamp | the frame's index, the face's id (-1: none), seconds |
| confidence, success | 0..1 how much to trust the view of the face; 1 a face, 0 none |
| box_x, box_y, box_w, box_h | the face, pixels |
| pose_yaw, pose_pitch | degrees |
| label, neutral, uncertain | the reading in short; uncertain is 0 or 1 |
| valence, arousal, intensity | -1..1, -1..1, 0..1; empty where the bundle does not tell |
| basic8_*, family_* | probabilities; the families and neutral sum to 1 |
| attention | the frame's share of the window's attention, 0..1 |
| frame_label, frame_valence, frame_arousal, frame_intensity, frame_basic8_* | the frame alone |
| top1, top1_p, top2, ... | words and probabilities, best first |
| blendshape_*, fg33_*, word_* | what `columns` ask for |
| source | where the frame came from |

Where a purpose was given, a first line that begins with # holds it (pandas: `comment="#"`).
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Sequence
from pathlib import Path

from ferstream.engines.labels import BUILT_IN, Labels

from ..emotions import AFFECT, Emotions
from ..frame import Frame
from ..result import FaceResult, Result
from .base import SinkInfo
from .columns import Columns, more
from .whole import WholeLines


class CsvTable:
    """One file for the rows of several sources, which may be written at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: WholeLines | None = None

    def lines(self, head: str) -> WholeLines:
        """The file, made with its first lines when the first source begins."""
        with self._lock:
            if self._file is None:
                self._file = WholeLines(self._path, head)
            return self._file

    def close(self) -> None:
        """Close the file, after the last source."""
        if self._file is not None:
            self._file.close()


class CsvSink:
    """Writes a .csv file; `top` words per face, and what `columns` ask for. Where there is a
    `table`, its rows go into that. Names of columns are those of the bundle's labels.
    """

    def __init__(
        self,
        path: Path,
        top: int = 10,
        table: CsvTable | None = None,
        *,
        columns: Sequence[Columns] = (),
    ) -> None:
        self._path, self._table = path, table
        self._top = top
        self._asked = columns
        self._labels = BUILT_IN
        self._columns: list[str] = []
        self._file: WholeLines | None = None

    def columns(self, labels: Labels) -> list[str]:
        """Names of the columns, in order."""
        basic, families = labels.basic.labels, labels.words.families
        asked = {
            "blendshapes": ("blendshape", [n for n in labels.units if not n.startswith("_")]),
            "fg33": ("fg33", labels.fine),
            "words": ("word", labels.words.labels),
        }
        names = ["frame", "face_id", "timestamp", "confidence", "success"]
        names += ["box_x", "box_y", "box_w", "box_h"]
        names += ["pose_yaw", "pose_pitch", "label", "neutral", "uncertain", *AFFECT]
        names += [f"basic8_{name}" for name in basic]
        names += [f"family_{name}" for name in families]
        names += ["attention", "frame_label", *(f"frame_{name}" for name in AFFECT)]
        names += [f"frame_basic8_{name}" for name in basic]
        for place in range(1, self._top + 1):
            names += [f"top{place}", f"top{place}_p"]
        names += [f"{asked[kind][0]}_{name}" for kind in self._asked for name in asked[kind][1]]
        return [*names, "source"]

    def open(self, info: SinkInfo) -> None:
        """Make the file and write the names of its columns."""
        self._labels, self._columns = info.labels, self.columns(info.labels)
        purpose = info.about.get("purpose")
        head = f"# purpose: {purpose}\n" if purpose else ""
        head += _text([self._columns])
        self._file = self._table.lines(head) if self._table else WholeLines(self._path, head)

    def write(self, frame: Frame, result: Result) -> None:
        """Append the frame's faces, or its one row without any."""
        place = [str(result.frame), "", f"{result.time_s:.4f}"]
        rows = [
            [place[0], str(found.face.id), place[2], *self._values(found)] for found in result.faces
        ]
        if not rows:
            absent = [place[0], "-1", place[2], "0", "0"]
            rows.append(absent + [""] * (len(self._columns) - len(absent) - 1))
        self._write_rows([[*row, result.source] for row in rows])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._table is None:
            self._file.close()
        self._file = None

    def _values(self, found: FaceResult) -> list[str]:
        """The columns from confidence on."""
        quality, emotions, alone = found.face.quality, found.emotions, found.frame_emotions
        values = [f"{quality.score:.3f}", "1"]
        values += [f"{value:.1f}" for value in found.face.box]
        values += [f"{quality.yaw_deg:.1f}", f"{quality.pitch_deg:.1f}"]
        values += [emotions.label, f"{emotions.neutral:.4f}", str(int(emotions.uncertain))]
        values += _affect(emotions)
        basic, families = self._labels.basic.labels, self._labels.words.families
        values += [f"{emotions.basic8[name]:.4f}" for name in basic]
        values += [f"{emotions.families[name]:.4f}" for name in families]
        values += [f"{found.attention:.4f}", alone.label, *_affect(alone)]
        values += [f"{alone.basic8[name]:.4f}" for name in basic]
        words = emotions.top(self._top)
        for word, probability in words:
            values += [word, f"{probability:.4f}"]
        values += [""] * (2 * (self._top - len(words)))
        told = more(found, self._asked)
        return values + [f"{p:.4f}" for kind in self._asked for p in told[kind].values()]

    def _write_rows(self, rows: list[list[str]]) -> None:
        if self._file is None:
            raise ValueError("open the sink before writing to it")
        self._file.write(_text(rows))


def _affect(emotions: Emotions) -> list[str]:
    """Valence, arousal, intensity; empty for what the bundle does not tell."""
    values = (emotions.valence, emotions.arousal, emotions.intensity)
    return ["" if value is None else f"{value:.4f}" for value in values]


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
