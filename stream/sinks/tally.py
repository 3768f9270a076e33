"""A clip in a few lines: what each face showed, and a table of clips with a row for each face.

A minute of a still face with one smile in it is a smile: words of the still moments would only
drown it. The headline is the mean of a face's episodes that are not neutral, its frames weighted by
attention (in units of an even share) and intensity; where there are none, the face was neutral.

In the table each frame in which a face is seen counts for as long as until the clip's next frame,
at most `GONE_S`. A clip without a face has a row with face_id -1; one that could not be scored has
a row that says why. docs/columns.md has each column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferstream.engines.labels import Labels

from ..emotions import NEUTRAL, faint
from ..frame import Frame
from ..result import FaceResult, Result
from .base import BaseSink, SinkInfo
from .episodes import GONE_S, Episode, Episodes
from .mean import Mean
from .table import Column, Row, Value

if TYPE_CHECKING:
    from ..formats import Place


@dataclass(frozen=True, slots=True)
class FaceSummary:
    """One face over a whole clip; numbers are means over its moments of expression, or over all
    where it shows none."""

    id: int
    frames: int
    from_s: float
    to_s: float
    label: str
    """`neutral` where no expression showed, else the word that fits best."""
    neutral: float
    expressive: float
    """Share of the frames that belong to an expression, 0..1."""
    intensity: float
    valence: float | None
    arousal: float | None
    uncertain: float
    """Share of the frames whose reading was uncertain."""
    basic8: dict[str, float]
    families: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    """All words with their probabilities, best first."""
    episodes: int = 0
    """Stretches of a basic expression other than neutral."""

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words; of a face that shows nothing only a hint of one."""
        if self.label == NEUTRAL:
            return [faint(self.ranked, self.neutral)]
        return list(self.ranked[:k])

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """Plain types, `top` words."""
        affect = {"valence": self.valence, "arousal": self.arousal, "intensity": self.intensity}
        return {
            "id": self.id,
            "frames": self.frames,
            "from_s": round(self.from_s, 4),
            "to_s": round(self.to_s, 4),
            "label": self.label,
            "neutral": round(self.neutral, 4),
            "expressive": round(self.expressive, 4),
            **{name: round(value, 4) for name, value in affect.items() if value is not None},
            "uncertain": round(self.uncertain, 4),
            "episodes": self.episodes,
            "basic8": {name: round(p, 4) for name, p in self.basic8.items()},
            "families": {name: round(p, 4) for name, p in self.families.items()},
            "top": [{"word": word, "p": round(p, 4)} for word, p in self.top(top)],
        }


@dataclass
class _Face:
    """One face so far: its moments of expression, and the others."""

    from_s: float
    to_s: float
    frames: int = 0
    episodes: int = 0
    shown: Mean = field(default_factory=Mean)
    still: Mean = field(default_factory=Mean)

    def add(self, episode: Episode) -> None:
        assert episode.mean is not None
        self.episodes += episode.expression != NEUTRAL
        (self.still if episode.expression == NEUTRAL else self.shown).merge(episode.mean)

    def summary(self, face_id: int) -> FaceSummary:
        reading = (self.shown if self.shown.frames else self.still).reading()
        return FaceSummary(
            id=face_id,
            frames=self.frames,
            from_s=self.from_s,
            to_s=self.to_s,
            label=reading.ranked[0][0] if self.shown.frames else NEUTRAL,
            neutral=reading.basic8.get(NEUTRAL, 0.0),
            expressive=self.shown.frames / (self.shown.frames + self.still.frames),
            intensity=reading.intensity,
            valence=reading.valence,
            arousal=reading.arousal,
            uncertain=reading.uncertain,
            basic8=reading.basic8,
            families=reading.families,
            ranked=reading.ranked,
            episodes=self.episodes,
        )


class TallySink(BaseSink):
    """Sums up each face of a clip; memory grows with the number of faces, not with time."""

    def __init__(self) -> None:
        self._faces: dict[int, _Face] = {}
        self._episodes = Episodes()

    def open(self, info: SinkInfo) -> None:
        """Start over."""
        self._faces.clear()
        self._episodes = Episodes()

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame."""
        for found in result.faces:
            one = self._faces.setdefault(found.face.id, _Face(result.time_s, result.time_s))
            one.frames += 1
            one.to_s = result.time_s
        self._add(self._episodes.add(result))

    def close(self) -> None:
        """End the episodes that still go on."""
        self._add(self._episodes.finish())

    def faces(self) -> list[FaceSummary]:
        """The faces seen until `close`, the longest seen first."""
        faces = [one.summary(face_id) for face_id, one in self._faces.items()]
        return sorted(faces, key=lambda face: (-face.frames, face.id))

    def _add(self, ended: list[Episode]) -> None:
        for episode in ended:
            self._faces[episode.face_id].add(episode)


WORDS = 3
"""Leading words of each face."""
ENOUGH_S = 10.0
"""Blinks per minute are given for a face whose eyes were watched for so long, seconds."""
# Frames of no length, as of single pictures, still count alike.
_LEAST_S = 1e-6

_MEASURES = ("valence", "arousal", "intensity")


@dataclass(slots=True)
class _Sums:
    """Sums of one face so far, weighted by time."""

    seen_s: float = 0.0
    weight_s: float = 0.0
    of: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    blinks: int = 0
    watched_s: float = 0.0

    def add(self, found: FaceResult, for_s: float) -> None:
        one, weight_s = found.emotions, max(for_s, _LEAST_S)
        self.seen_s += for_s
        self.weight_s += weight_s
        told = {name: getattr(one, name) for name in _MEASURES}
        views = {"confidence": found.quality.score, "size_px": found.quality.size_px}
        for name, value in {**told, **views}.items():
            if value is not None:
                self.of[name] = self.of.get(name, 0.0) + weight_s * value
        for name, value in told.items():
            if value is not None and abs(value) >= abs(self.peaks.get(name, 0.0)):
                self.peaks[name] = value
        if found.eyes is not None:
            self.blinks += found.eyes.blink is not None
            self.watched_s += found.eyes.watched_s
        expression = max(one.basic8, key=one.basic8.__getitem__)
        self.shares[expression] = self.shares.get(expression, 0.0) + weight_s


class ClipSink(TallySink):
    """A `TallySink` that also sums up how long each face showed each expression."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[int, _Sums] = {}
        self._waiting: Result | None = None
        self._step_s = 0.0

    def open(self, info: SinkInfo) -> None:
        """Start over."""
        super().open(info)
        self._sums, self._waiting, self._step_s = {}, None, 0.0

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame."""
        super().write(frame, result)
        if self._waiting is not None:
            self._step_s = min(max(result.time_s - self._waiting.time_s, 0.0), GONE_S)
            self._count()
        self._waiting = result

    def close(self) -> None:
        """End the episodes that still go on; the last frame lasts as long as the one before."""
        super().close()
        self._count()
        self._waiting = None

    def _count(self) -> None:
        for found in self._waiting.faces if self._waiting else ():
            self._sums.setdefault(found.id, _Sums()).add(found, self._step_s)

    def over_time(self, face_id: int) -> dict[str, Any]:
        """What a face showed over the time it was seen, as plain types for `rows`."""
        sums = self._sums[face_id]
        return {
            "seen_s": round(sums.seen_s, 4),
            "means": {name: round(sums.of[name] / sums.weight_s, 4) for name in sums.of},
            "peaks": {name: round(value, 4) for name, value in sums.peaks.items()},
            "shares": {
                name: round(weight_s / sums.weight_s, 4) for name, weight_s in sums.shares.items()
            },
            "blinks": _blinks(sums),
        }


def _blinks(sums: _Sums) -> dict[str, Any]:
    """Number and rate of blinks, and over how long; None where they could not be seen."""
    if not sums.watched_s:
        return {"count": None, "per_min": None, "watched_s": 0.0}
    enough = sums.watched_s >= ENOUGH_S
    return {
        "count": sums.blinks,
        "per_min": round(60 * sums.blinks / sums.watched_s, 2) if enough else None,
        "watched_s": round(sums.watched_s, 4),
    }


def columns(labels: Labels) -> list[Column]:
    """Columns of the table of clips, for a bundle's labels."""
    words = [(Column(f"word{n}", "text"), Column(f"word{n}_p")) for n in range(1, WORDS + 1)]
    measured = [Column(f"{name}_{of}") for name in _MEASURES for of in ("mean", "peak")]
    return [
        *(Column("source", "text"), Column("duration_s", "time"), Column("face_id", "whole")),
        *(Column("frames", "whole"), Column("from_s", "time"), Column("to_s", "time")),
        *(Column("seen_s", "time"), Column("label", "text")),
        *(Column("expressive"), Column("uncertain_share"), *measured),
        *(Column(f"share_{name}") for name in labels.basic.labels),
        *(Column("episodes", "whole"), *(column for pair in words for column in pair)),
        *(Column("confidence_mean", digits=3), Column("size_px_mean", digits=1)),
        *(Column("blinks", "whole"), Column("blinks_per_min", digits=2)),
        Column("blinks_watched_s", "time"),
        Column("error", "text"),
    ]


def rows(document: Mapping[str, Any], labels: Labels) -> Iterator[Row]:
    """The table's rows for a clip, given its part of the JSON document: `report.summary_json` with
    `over_time` of each face, or `report.failure_json`."""
    source, error = document["source"], document.get("error")
    error = " ".join(error.split()) if error else None
    for face in document["faces"]:
        told = face["over_time"]
        means, peaks, shares = told["means"], told["peaks"], told["shares"]
        values: list[Value] = [source, document["duration_s"], face["id"], face["frames"]]
        values += [face["from_s"], face["to_s"], told["seen_s"], face["label"]]
        values += [face["expressive"], face["uncertain"]]
        for name in _MEASURES:
            values += [means.get(name), peaks.get(name)]
        values += [shares.get(name, 0.0) for name in labels.basic.labels]
        words = [(word["word"], word["p"]) for word in face["top"][:WORDS]]
        words += [(None, None)] * (WORDS - len(words))
        values += [face["episodes"], *(value for pair in words for value in pair)]
        blinks = told["blinks"]
        values += [means["confidence"], means["size_px"]]
        yield [*values, blinks["count"], blinks["per_min"], blinks["watched_s"], error]
    if not document["faces"]:
        nothing = [None] * (len(columns(labels)) - 5)
        yield [source, document.get("duration_s"), -1, document["frames"], *nothing, error]


def write_clips(
    place: Place, documents: Sequence[Mapping[str, Any]], labels: Labels, about: Mapping[str, Any]
) -> None:
    """Write the table of clips, given their parts of the JSON document. Raises `SinkError`."""
    file = place.format.opener(Path(place.unfinished.target))(columns(labels), about)
    with closing(file):
        for document in documents:
            file.append(list(rows(document, labels)))
    place.finish()
