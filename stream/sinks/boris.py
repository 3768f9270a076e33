"""A BORIS project (.boris): the source as an observation, faces as subjects, words as behaviours.

BORIS (Behavioral Observation Research Interactive Software) imports no table of events; what it
opens, and can merge into other projects, is its own project file: JSON, format 7.0, read by
BORIS 7 and later. Episodes are state events, their certainty a modifier.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ferstream.engines.labels import Labels

from ..emotions import colour_of, to_hex
from .annotation import AnnotationSink, media_file
from .base import NOTICE, SinkInfo, SinkOptions, notice_lines
from .episodes import Episode

_FORMAT = "7.0"
_PLAYERS = 8
_SINGLE_CHOICE = 0
_SURE, _UNCERTAIN = "sure", "uncertain"


class BorisSink(AnnotationSink):
    """Writes a .boris project; the source is what was observed, where it is a file.

    A source that is no file, such as a camera, becomes a live observation.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _Boris())


class _Boris:
    def text(self, info: SinkInfo, episodes: list[Episode], length_s: float) -> str:
        now = datetime.now().strftime("%Y-%m-%dT%H:%M:%S")
        families = {episode.family or "neutral" for episode in episodes}
        name = f"expressions in {Path(info.source).name}"
        project = {
            "time_format": "hh:mm:ss",
            "project_date": now,
            "project_name": name,
            "project_description": "\n".join(notice_lines(info)),
            "project_format_version": _FORMAT,
            "subjects_conf": _subjects(episodes),
            "behaviors_conf": _behaviours(episodes, info.labels),
            "observations": {name: self._observation(info, episodes, length_s, now)},
            "behavioral_categories": sorted(families),
            "behavioral_categories_config": {},
            "independent_variables": {},
            "coding_map": {},
            "behaviors_coding_map": [],
            "converters": {},
        }
        return json.dumps(project, ensure_ascii=False, indent=1) + "\n"

    def _observation(
        self, info: SinkInfo, episodes: list[Episode], length_s: float, now: str
    ) -> dict[str, Any]:
        media = None if info.live else media_file(info)
        files: dict[str, list[str]] = {str(place + 1): [] for place in range(_PLAYERS)}
        observation: dict[str, Any] = {
            "type": "LIVE" if media is None else "MEDIA",
            "date": now,
            "description": "\n".join(notice_lines(info)),
            "time offset": 0.0,
            "observation time interval": [0, 0],
            "independent_variables": {},
            "file": files,
            "events": _events(episodes, with_frame=media is not None),
        }
        if media is None:
            return {**observation, "start_from_current_time": False, "scan_sampling_time": 0}
        path = str(media)
        files["1"] = [path]
        length_s += 1 / (info.rate_hz or 25.0)
        return {
            **observation,
            "visualize_spectrogram": False,
            "visualize_waveform": False,
            "media_creation_date_as_offset": False,
            "close_behaviors_between_videos": False,
            "media_info": {
                "length": {path: round(length_s, 3)},
                "fps": {path: info.rate_hz or 25.0},
                "hasVideo": {path: True},
                "hasAudio": {path: False},
                "offset": {"1": 0.0},
            },
        }


def _subjects(episodes: list[Episode]) -> dict[str, dict[str, str]]:
    faces = sorted({episode.face_id for episode in episodes})
    return {
        str(place): {"key": "", "name": f"Face {face_id}", "description": "as long as it was seen"}
        for place, face_id in enumerate(faces)
    }


def _behaviours(episodes: list[Episode], labels: Labels) -> dict[str, dict[str, Any]]:
    """The words that occur, each a state with its family as category."""
    families = {episode.label: episode.family or "neutral" for episode in episodes}
    certainty = {
        "name": "certainty",
        "description": "",
        "type": _SINGLE_CHOICE,
        "ask at stop": False,
        "values": [_SURE, _UNCERTAIN],
    }
    return {
        str(place): {
            "type": "State event",
            "key": "",
            "code": label,
            "description": NOTICE,
            "color": to_hex(colour_of(label, labels)),
            "category": families[label],
            "modifiers": {"0": certainty},
            "excluded": "",
            "coding map": "",
        }
        for place, label in enumerate(sorted(families))
    }


def _events(episodes: list[Episode], with_frame: bool) -> list[list[Any]]:
    """A start and a stop event for each episode, by time; stops come before starts."""
    events: list[list[Any]] = []
    for episode in episodes:
        start_s = round(episode.start_s, 3)
        end_s = max(round(episode.end_s, 3), round(start_s + 0.001, 3))
        modifier = _UNCERTAIN if episode.uncertain else _SURE
        who = [f"Face {episode.face_id}", episode.label, modifier]
        comment = f"p {episode.probability:.3f}, intensity {episode.intensity:.2f}"
        if episode.valence is not None and episode.arousal is not None:
            comment += f", valence {episode.valence:+.2f}, arousal {episode.arousal:+.2f}"
        frame = ["NA"] if with_frame else []
        events.append([start_s, *who, comment, *frame])
        events.append([end_s, *who, "", *frame])
    # Episodes come in the order of their starts, and sorting keeps the order of equals.
    return sorted(events, key=lambda event: float(event[0]))


def make(options: SinkOptions) -> BorisSink:
    """For `stream.formats`."""
    return BorisSink(options.path)
