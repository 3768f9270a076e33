"""One clip of a batch, scored into its outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import report
from ..errors import SourceError
from ..faces.options import FaceOptions
from ..formats import Place, named
from ..outputs import Outputs
from ..run import run
from ..sinks.settled import SettledSink
from ..sinks.tally import ClipSink, FaceSummary
from ..sources import open_clip
from ..sources.part import Part

if TYPE_CHECKING:
    from ..frame import Frame
    from ..recognize import Recognizer
    from ..result import Result
    from ..sinks.base import Sink
    from ..sources.base import Source
    from ..summary import Summary

OnResult = Callable[["Frame", "Result"], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the results of a batch depend on, beside the clips: plain types, as JSON holds them."""

    bundle: str = "default"
    backend: str = "auto"
    purpose: str = ""
    track: int | None = None
    part: Mapping[str, Any] = field(default_factory=dict)
    """As `Part.to_json` tells it."""
    faces: Mapping[str, Any] = field(default_factory=lambda: asdict(FaceOptions()))
    top: int = 10
    columns: tuple[str, ...] = ()
    rows: Literal["frames", "events", "windows"] = "frames"
    window_s: float = 10.0
    blur: bool = False
    aggregate_only: bool = False

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Settings:
        """What `dataclasses.asdict` made of them."""
        return cls(**{**told, "columns": tuple(told["columns"])})

    def opened(self, source: str) -> Source:
        """The part of a clip that is scored. Raises a `SourceError`."""
        return self.asked_part().of(open_clip(source, self.track))

    def asked_part(self) -> Part:
        """Which part of each clip is scored."""
        region = self.part.get("region")
        return Part(**{**self.part, "region": None if region is None else tuple(region)})

    def face_options(self) -> FaceOptions:
        """Which faces are looked for."""
        return FaceOptions(**self.faces)

    def outputs(self) -> Outputs:
        """How results are written."""
        names = {one.name for one in fields(Outputs)} & {one.name for one in fields(self)}
        return Outputs(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True)
class Task:
    """A clip and the places of its results."""

    source: str
    places: tuple[Place, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        places = [[place.format.name, place.target, place.shared] for place in self.places]
        return {"source": self.source, "places": places}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Task:
        """What `to_json` made."""
        places = (Place(named(name), target, shared) for name, target, shared in told["places"])
        return cls(told["source"], tuple(places))


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a clip."""

    summary: Summary
    faces: list[FaceSummary]
    document: dict[str, Any]
    """Its part of the JSON document."""


def score_clip(
    task: Task,
    recognizer: Recognizer,
    settings: Settings,
    about: Mapping[str, Any],
    *,
    say: Say,
    stop: threading.Event,
    on_result: OnResult | None = None,
    source: Source | None = None,
) -> Scored:
    """Score a clip and write its outputs, each under its own name once it is whole.

    What is interrupted stays beside it, `.part` added; of a clip that fails nothing stays. `source`
    is the clip where it is open already. Raises a `SourceError` for a clip that cannot be scored,
    and `SinkError`.
    """
    name, places = task.source, task.places
    clip = Path(name) if Path(name).is_file() else None
    tally, outputs = ClipSink(), settings.outputs()
    try:
        source = source or settings.opened(name)
        unfinished = [place.unfinished for place in places]
        sinks: list[Sink] = [
            *outputs.sinks(unfinished, say, live=False, sound_of=clip),
            tally,
        ]
        # What is read over the network may not come a second time.
        if clip is not None or name == "sample":
            pictures = any(place.format.pictures for place in places)
            again = partial(open_clip, name, settings.track) if pictures else None
            sinks = [SettledSink(sinks, again)]
        summary = run(source, recognizer, sinks, about=about, stop=stop, on_result=on_result)
    except SourceError:
        for place in places:
            place.discard()
        raise
    if summary.interrupted:
        _tell_unfinished(places, say)
    else:
        for place in places:
            place.finish()
    faces = tally.faces()
    summary = replace(summary, faces=len(faces))
    told = None if outputs.aggregate_only else faces
    document = report.summary_json(summary, told, outputs.top)
    for face in document.get("faces", ()):
        face["over_time"] = tally.over_time(face["id"])
    return Scored(summary, faces, document)


def _tell_unfinished(places: Sequence[Place], say: Say) -> None:
    """Say where the outputs of a clip are that was not scored to its end."""
    parts = [place.unfinished.name for place in places if place.unfinished != place]
    if parts:
        say(f"interrupted; what was written of it is in {', '.join(parts)}")
