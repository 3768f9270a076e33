"""Measure a bundle, as deployed, on whole real clips.

The clips run through the Recognizer frame by frame, as `ferstream score` runs them; a judged
picture is compared with what was said of its face in the frame of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import Emotions
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.tally import FaceSummary, TallySink
from ferstream.stream.sources import open_source

from .data.fer import BASIC8
from .data.judged import JudgedClips, Judgements, load_judged_clips
from .evaluate_judged import SAME_FACE, intersection
from .judged_figures import TOP_WORDS
from .real_figures import (
    Said,
    Stretch,
    agreement,
    expression_of,
    held,
    held_figures,
    turn_figures,
    turns,
)

_NUMBER_OF = {word: number for number, word in enumerate(load_taxonomy("emo135").labels)}
Run = tuple[list[Result], dict[int, FaceSummary]]


def real_section(
    bundle: Bundle, folder: str | Path, *, engine: str = "auto", precision: str = "auto"
) -> dict[str, Any]:
    """The judged clips of a folder, as they run.

    n pictures, found; window: `real_figures.agreement` of what is said of a face with its clip so
    far; frame: of the picture alone; judges: of the second judge with the first; onsets, offsets:
    where an expression begins and ends; held: changes of the leading word while an expression is
    held; headlines: n, right of their basic expressions, and each.

    Raises:
        DataMissing, LabelsWrong: see `load_judged_clips`. StreamError: a clip cannot be read.
    """
    judged = load_judged_clips(folder)
    stretches, headlines = [], []
    with Recognizer(bundle, engine=engine, precision=precision) as recognizer:
        for clip in dict.fromkeys(judged.clips.tolist()):
            rows = np.flatnonzero(judged.clips == clip)
            results, summaries = run_clip(recognizer, Path(folder) / clip)
            found = stretches_of(clip, results, judged, rows)
            stretches += found
            if found:
                longest = max(found, key=lambda pair: len(pair[1].rows))[0]
                told = headline(summaries[longest], judged.judged.take(rows))
                headlines.append({"clip": clip, **told})
    return _figures(judged, [stretch for _, stretch in stretches], headlines)


def run_clip(recognizer: Recognizer, path: Path) -> Run:
    """All results of a clip, and its headlines by face id."""
    source, results = open_source(path), []
    tally = TallySink()
    try:
        tally.open(SinkInfo(source.name, source.size, source.rate_hz))
        for frame in source.frames():
            results.append(recognizer.process(frame))
            tally.write(frame, results[-1])
    finally:
        source.close()
        recognizer.forget(source.name)
    tally.close()
    return results, {face.id: face for face in tally.faces()}


def stretches_of(
    clip: str, results: Sequence[Result], judged: JudgedClips, rows: npt.NDArray[np.int64]
) -> list[tuple[int, Stretch]]:
    """The faces of a clip that were judged, by their ids, with their judged pictures ``rows``."""
    times_s = np.array([result.time_s for result in results])
    pictures: dict[int, list[tuple[int, int]]] = {}
    for row in rows.tolist():
        at = int(np.abs(times_s - times_s[0] - judged.times_s[row]).argmin())
        faces = results[at].faces
        shared = [intersection(face.face.box, judged.boxes[row].tolist()) for face in faces]
        if shared and max(shared) >= SAME_FACE:
            identity = faces[int(np.argmax(shared))].face.id
            pictures.setdefault(identity, []).append((at, row))
    return [(face, _stretch(clip, face, results, found)) for face, found in pictures.items()]


def headline(summary: FaceSummary, judged: Judgements) -> dict[str, Any]:
    """A face's headline beside the expression that the judge saw in the clip as a whole; among:
    whether its first word is one that the judge named in some picture of it."""
    basic = max(summary.basic8, key=summary.basic8.__getitem__)
    wanted = BASIC8[expression_of(judged)]
    found = {"label": summary.label, "basic": basic, "judge": wanted, "right": basic == wanted}
    if wanted != BASIC8[0]:
        found["among"] = _NUMBER_OF[summary.ranked[0][0]] in judged.words
    return found


def said_of(emotions: Sequence[Emotions]) -> Said:
    """Emotions as arrays; affect where they have it."""
    affect = [[one.valence, one.arousal, one.intensity] for one in emotions]
    return Said(
        np.array([[one.basic8[name] for name in BASIC8] for one in emotions]),
        np.array([[_NUMBER_OF[word] for word, _ in one.top(TOP_WORDS)] for one in emotions]),
        np.array([one.intensity for one in emotions]),
        None if emotions[0].valence is None else np.array(affect, np.float64),
    )


def _stretch(
    clip: str, face: int, results: Sequence[Result], pictures: list[tuple[int, int]]
) -> Stretch:
    frames, seen = [], []
    for number, result in enumerate(results):
        for found in result.faces:
            if found.face.id == face:
                frames.append(number)
                seen.append(found)
    return Stretch(
        clip,
        np.array([results[number].time_s for number in frames]),
        said_of([found.emotions for found in seen]),
        said_of([found.frame_emotions for found in seen]),
        np.array([frames.index(at) for at, _ in pictures]),
        np.array([row for _, row in pictures]),
    )


def _figures(
    judged: JudgedClips, stretches: list[Stretch], headlines: list[dict[str, Any]]
) -> dict[str, Any]:
    rows = [int(row) for stretch in stretches for row in stretch.rows]
    found: dict[str, Any] = {"n": len(judged), "found": len(rows)}
    if not rows:
        return found
    seen = judged.judged.take(np.array(rows))
    for name in ("window", "frame"):
        found[name] = agreement(
            _together([getattr(one, name).take(one.at) for one in stretches]), seen
        )
    second = judged.second.take(np.array(rows))
    found["judges"] = agreement(
        Said(
            (second.basic[:, None] == np.arange(len(BASIC8))).astype(np.float64),
            second.words,
            second.intensity,
            second.affect,
        ),
        seen,
    )
    both = (judged.judged, judged.second)
    turned = [turn for one in stretches for turn in turns(one, *both)]
    for kind in ("onset", "offset"):
        of_kind = [turn for turn in turned if turn["kind"] == kind]
        found[f"{kind}s"] = {**turn_figures(of_kind), "each": of_kind}
    found["held"] = held_figures([s for one in stretches for s in held(one, judged.judged)])
    right = sum(one["right"] for one in headlines)
    found["headlines"] = {"n": len(headlines), "right": right, "each": headlines}
    return found


def _together(parts: list[Said]) -> Said:
    affect = [part.affect for part in parts if part.affect is not None]
    return Said(
        np.concatenate([part.basic8 for part in parts]),
        np.concatenate([part.ranked for part in parts]),
        np.concatenate([part.intensity for part in parts]),
        np.concatenate(affect) if len(affect) == len(parts) else None,
    )
