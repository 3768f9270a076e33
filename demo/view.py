"""What the page draws of a clip: plain JSON for its viewer, and a video or picture to keep.

A visitor's clip with what was found drawn in: a video, or of a single picture a picture.

What the page's viewer draws of a clip: moments, bands and summaries as plain JSON; pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from ferstream.engines.labels import Labels
from ferstream.stream.emotions import NEUTRAL, faint, own_colours
from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import SCHEMA, FaceResult, Result
from ferstream.stream.sinks.base import BaseSink, SinkInfo
from ferstream.stream.sinks.episodes import Episode, Episodes
from ferstream.stream.sinks.overlay import draw
from ferstream.stream.sinks.tally import FaceSummary
from ferstream.stream.sinks.video import VideoSink


class DrawnSink(BaseSink):
    """Writes `video` (MP4) where there are two frames or more, else `picture` (PNG).

    Args:
        top: words per face.
    """

    def __init__(self, video: Path, picture: Path, top: int) -> None:
        self._video, self._picture, self._top = video, picture, top
        self._info = SinkInfo("")
        self._first: tuple[Frame, Result] | None = None
        self._sink: VideoSink | None = None

    def open(self, info: SinkInfo) -> None:
        """Which of the two it is to be shows with the second frame."""
        self._info = info

    def write(self, frame: Frame, result: Result) -> None:
        """Draw one frame, or keep it for as long as it is the only one."""
        if self._sink is not None:
            self._sink.write(frame, result)
        elif self._first is None:
            self._first = (frame, result)
        else:
            self._sink = VideoSink(self._video, self._top)
            self._sink.open(self._info)
            self._sink.write(*self._first)
            self._first = None
            self._sink.write(frame, result)

    def close(self) -> None:
        """Finish the video, or write the picture."""
        if self._sink is not None:
            self._sink.close()
        elif self._first is not None:
            frame, result = self._first
            drawn = draw(frame.pixels, result, top=self._top)
            if not cv2.imwrite(str(self._picture), drawn[..., ::-1]):
                raise SinkError(f"cannot write {self._picture.name}: is the disk full?")


MOST_MOMENTS = 1800
"""Moments kept per clip; a longer one is shown in coarser steps."""
_WORDS = 10
_UNITS = 6


@dataclass(slots=True)
class _Track:
    """One face over the clip, a value per kept moment at which it was seen."""

    at: list[int] = field(default_factory=list)
    """The frame's place among those recognised."""
    time_s: list[float] = field(default_factory=list)
    moment: list[dict[str, Any]] = field(default_factory=list)


class MomentSink(BaseSink):
    """Keeps what the viewer shows of each moment; memory does not grow beyond `MOST_MOMENTS`."""

    def __init__(self, labels: Labels) -> None:
        self._words = {word: at for at, word in enumerate(labels.words.labels)}
        self._blendshapes = labels.blendshapes
        self._tracks: dict[int, _Track] = {}
        self._episodes = Episodes()
        self._ended: list[Episode] = []
        self._stride = 1
        self._frames = 0
        self._kept = 0
        self.size: tuple[int, int] = (0, 0)
        self.start_s = self.end_s = 0.0

    def write(self, frame: Frame, result: Result) -> None:
        """Keep this frame's faces, if its turn has come."""
        place, self._frames = self._frames, self._frames + 1
        if not place:
            self.size = (frame.width_px, frame.height_px)
            self.start_s = result.time_s
        self.end_s = result.time_s
        self._ended += self._episodes.add(result)
        if place % self._stride:
            return
        self._kept += 1
        for found in result.faces:
            track = self._tracks.setdefault(found.face.id, _Track())
            track.at.append(place)
            track.time_s.append(round(result.time_s, 3))
            track.moment.append(self._moment(found))
        if self._kept > MOST_MOMENTS:
            self._halve()

    def close(self) -> None:
        """End the bands."""
        self._ended += self._episodes.finish()

    def faces(self) -> dict[int, dict[str, Any]]:
        """Per face: `t` seconds of its moments, `moments`, and `bands` of its leading word."""
        return {
            face_id: {
                "t": track.time_s,
                "moments": track.moment,
                "bands": [
                    self._band(episode) for episode in self._ended if episode.face_id == face_id
                ],
            }
            for face_id, track in self._tracks.items()
        }

    @property
    def step_s(self) -> float:
        """The usual time between two kept moments."""
        if self._frames < 2:
            return 1 / 30
        return (self.end_s - self.start_s) / (self._frames - 1) * self._stride

    def _halve(self) -> None:
        """Keep every second moment from now on, and of those kept."""
        self._stride *= 2
        self._kept = (self._kept + 1) // 2
        for track in self._tracks.values():
            keep = [n for n, place in enumerate(track.at) if place % self._stride == 0]
            track.at = [track.at[n] for n in keep]
            track.time_s = [track.time_s[n] for n in keep]
            track.moment = [track.moment[n] for n in keep]
        self._tracks = {key: track for key, track in self._tracks.items() if track.at}

    def _band(self, episode: Episode) -> dict[str, Any]:
        """A stretch of time; the face's last reaches to the end of its last frame."""
        return {
            "from": round(episode.start_s, 3),
            "to": round(episode.end_s + (self.step_s if episode.gone else 0), 3),
            "label": episode.label,
            "p": round(episode.probability, 3),
            "u": int(episode.uncertain),
        }

    def _moment(self, found: FaceResult) -> dict[str, Any]:
        """One face at one time, in short names: there are many."""
        emotions = found.emotions
        words = emotions.top(_WORDS)
        if emotions.label == NEUTRAL:  # a hint at most
            words = [faint(emotions.ranked, emotions.neutral)]
        strongest = sorted(
            (
                (float(value), at)
                for at, value in enumerate(found.blendshape_values)
                if not self._blendshapes[at].startswith("_")
            ),
            reverse=True,
        )[:_UNITS]
        return {
            "l": emotions.label,
            "n": round(emotions.neutral, 3),
            "i": round(emotions.intensity, 3),
            **({} if emotions.affect is None else {"va": [round(v, 3) for v in emotions.affect]}),
            "u": int(emotions.uncertain),
            "a": round(found.attention, 4),
            "w": [[self._words[word], round(p, 4)] for word, p in words],
            "b": [round(p, 3) for p in emotions.basic8.values()],
            "f": [round(p, 3) for p in emotions.families.values()],
            "m": [[at, round(value, 2)] for value, at in strongest],
        }


def legend(labels: Labels) -> dict[str, Any]:
    """What the numbers of the moments stand for, and colours that the page has not."""
    return {
        "words": list(labels.words.labels),
        "family_of": {word: labels.family(word) for word in labels.words.labels},
        "families": list(labels.words.families),
        "basic8": list(labels.basic.labels),
        "units": list(labels.blendshapes),
        "colours": own_colours(labels),
    }


def document(
    moments: MomentSink, faces: list[FaceSummary], labels: Labels, **facts: Any
) -> dict[str, Any]:
    """Everything the viewer needs of one clip; `facts` stand beside."""
    tracks = moments.faces()
    return {
        "schema": SCHEMA,
        "size": list(moments.size),
        "duration_s": round(moments.end_s + moments.step_s, 3),
        "step_s": round(moments.step_s, 4),
        "legend": legend(labels),
        "faces": [
            {**face.to_json(_WORDS), **tracks[face.id]} for face in faces if face.id in tracks
        ],
        **facts,
    }
