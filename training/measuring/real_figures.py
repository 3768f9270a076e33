"""Figures of whole clips that judges looked at.

Figures of whole real clips against one who judged some of their pictures in order.

Pure NumPy. A clip's pictures are alike and the clips few, so these figures have no intervals: they
tell what goes wrong, not which of two bundles is a point better.

N judged pictures of faces that were found, F frames of a face, R ranks, K basic expressions.

Measure a bundle, as deployed, on whole real clips.

The clips run through the Recognizer frame by frame, as `ferstream score` runs them; a judged
picture is compared with what was said of its face in the frame of its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import AFFECT, Emotions
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.tally import FaceSummary, TallySink
from ferstream.stream.sources import open_source

from ..datasets.fer import BASIC8
from ..datasets.judged import GRADES, JudgedClips, Judgements, load_judged_clips
from .evaluate import SAME_FACE, intersection
from .judged_figures import TOP_WORDS, correlation, expressive, macro_recall
from .word_figures import ranking

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.int64]

CLEAR = 2 / 3
"""The judge's intensity from which an expression is clear."""
SEARCHED_S = 0.5
"""So long before and after two judged pictures our own turn is looked for."""
EXPRESSIVE_SHARE = 1 / 3
"""A clip of which so many judged pictures show something is expressive as a whole."""


@dataclass(frozen=True)
class Predictions:
    """What was said of N faces: basic8 (N, 8), ranked (N, R) words best first, intensity (N,),
    and affect (N, 3) where the bundle has it."""

    basic8: Floats
    ranked: Numbers
    intensity: Floats
    affect: Floats | None = None

    def take(self, rows: npt.NDArray[Any]) -> Predictions:
        """The chosen rows only."""
        affect = None if self.affect is None else self.affect[rows]
        return Predictions(self.basic8[rows], self.ranked[rows], self.intensity[rows], affect)


@dataclass(frozen=True)
class Stretch:
    """One face through one clip: its frames, and where the judged pictures are among them.

    times_s (F,); said of each frame's clip so far, `window`, and of the frame alone, `frame`; at
    (n,) frame of each judged picture; rows (n,) numbers of those pictures, in their order.
    """

    clip: str
    times_s: Floats
    window: Predictions
    frame: Predictions
    at: Numbers
    rows: Numbers


def agreement(said: Predictions, judged: Judgements) -> dict[str, Any]:
    """Agreement over the readable pictures: basic_top1, its recall by expression, macro recall;
    words as in `word_figures.ranking` over those that show something; and correlations of
    valence, arousal (where said) and intensity over all of them, the still ones too."""
    rows = np.flatnonzero(judged.readable)
    if not len(rows):
        return {"n": 0}
    said, judged = said.take(rows), judged.take(rows)
    label_N = judged.basic
    right_N = said.basic8.argmax(axis=1) == label_N
    found: dict[str, Any] = {
        "n": len(rows),
        "basic_top1": float(right_N.mean()),
        "basic_macro_recall": macro_recall(right_N, label_N),
    }
    if said.affect is None:
        found["intensity_r"] = correlation(said.intensity, judged.intensity)
    else:
        for column, name in enumerate(AFFECT):
            found[f"{name}_r"] = correlation(said.affect[:, column], judged.affect[:, column])
    shows = np.flatnonzero(expressive(judged))
    words = ranking(said.ranked[shows], judged.words[shows], GRADES)
    found["words"] = {"n": len(shows)}
    if len(shows):
        found["words"] |= {name: float(values.mean()) for name, values in words.items()}
    return found


def turns(stretch: Stretch, first: Judgements, second: Judgements) -> Iterator[dict[str, Any]]:
    """Where both judges see a face begin or cease to express something from one picture to the
    next, and what was said there.

    judged_s: the times of both pictures; said_s: when the basic expression said last became (or
    ceased to be) neutral no later than SEARCHED_S after them, None where it did not; delay_s: from
    the middle between the pictures; changed: whether the leading word is another one in the
    second picture; among: of an onset, whether it is one of the judge's there.
    """
    still_F = stretch.window.basic8.argmax(axis=1) == 0
    for place in range(len(stretch.rows) - 1):
        before, after = stretch.rows[place : place + 2]
        was, now = (
            {bool(judge.basic[row] == 0) for judge in (first, second)} for row in (before, after)
        )
        if len(was) != 1 or len(now) != 1 or was == now or not _readable(first, before, after):
            continue
        at, to = stretch.at[place : place + 2]
        begun, ended = stretch.times_s[[at, to]]
        onset = was == {True}
        said_s = _turned(stretch.times_s, still_F if onset else ~still_F, begun, ended)
        leading = stretch.window.ranked[:, 0]
        yield {
            "clip": stretch.clip,
            "kind": "onset" if onset else "offset",
            "judged_s": [round(float(begun), 3), round(float(ended), 3)],
            "said_s": None if said_s is None else round(said_s, 3),
            "delay_s": None if said_s is None else round(said_s - float(begun + ended) / 2, 3),
            "changed": bool(leading[at] != leading[to]),
            **({"among": bool(leading[to] in first.words[after])} if onset else {}),
        }


def held(stretch: Stretch, judged: Judgements) -> Iterator[dict[str, Any]]:
    """Stretches of at least three pictures in which a clear expression is held: their seconds, and
    how often the leading word changed, of the window and of the frames alone."""
    clear = (judged.basic > 0) & (judged.intensity >= CLEAR - 1e-6)
    place = 0
    while place < len(stretch.rows):
        end = place
        basic = judged.basic[stretch.rows[place]]
        while (
            end < len(stretch.rows)
            and clear[stretch.rows[end]]
            and judged.basic[stretch.rows[end]] == basic
        ):
            end += 1
        if end - place >= 3:
            low, high = stretch.at[place], stretch.at[end - 1] + 1
            yield {
                "clip": stretch.clip,
                "seconds": float(stretch.times_s[high - 1] - stretch.times_s[low]),
                "changes": _changes(stretch.window.ranked[low:high, 0]),
                "frame_changes": _changes(stretch.frame.ranked[low:high, 0]),
            }
        place = max(end, place + 1)


def expression_of(judged: Judgements) -> int:
    """The basic expression of a clip as a whole: the most frequent one that is not neutral, where
    a third of the pictures shows something; else neutral."""
    basic = judged.basic[judged.readable]
    shows = basic[basic > 0]
    if len(shows) < EXPRESSIVE_SHARE * len(basic) or not len(shows):
        return 0
    return int(np.bincount(shows).argmax())


def turn_figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all turns of one kind: n, seen (said at all), changed, among, and the mean delay."""
    delays = [turn["delay_s"] for turn in found if turn["delay_s"] is not None]
    among = [turn["among"] for turn in found if "among" in turn]
    return {
        "n": len(found),
        "seen": len(delays),
        "word_changed": sum(turn["changed"] for turn in found),
        **({"word_among": sum(among)} if among else {}),
        **({"delay_s": float(np.mean(delays))} if delays else {}),
    }


def held_figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all stretches: n, their seconds, changes of the leading word per second."""
    seconds = sum(stretch["seconds"] for stretch in found)
    if not seconds:
        return {"n": 0}
    return {
        "n": len(found),
        "seconds": seconds,
        "changes_per_s": sum(stretch["changes"] for stretch in found) / seconds,
        "frame_changes_per_s": sum(stretch["frame_changes"] for stretch in found) / seconds,
    }


def _readable(judged: Judgements, before: int, after: int) -> bool:
    return bool(judged.readable[before] and judged.readable[after])


def _turned(
    times_s: Floats, old_F: npt.NDArray[np.bool_], begun_s: float, ended_s: float
) -> float | None:
    """When the old state ended for good within the time that is searched."""
    inside = np.flatnonzero((times_s >= begun_s - SEARCHED_S) & (times_s <= ended_s + SEARCHED_S))
    if not len(inside) or old_F[inside[-1]] or not old_F[inside].any():
        return None
    last_old = inside[np.flatnonzero(old_F[inside])[-1]]
    return float(times_s[last_old + 1])


def _changes(words: Numbers) -> int:
    return int((words[1:] != words[:-1]).sum())


_NUMBER_OF = {word: number for number, word in enumerate(load_taxonomy("emo135").labels)}
Run = tuple[list[Result], dict[int, FaceSummary]]


def real_section(
    bundle: Bundle, folder: str | Path, *, backend: str = "auto", precision: str = "auto"
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
    with Recognizer(bundle, backend=backend, precision=precision) as recognizer:
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


def predictions_of(emotions: Sequence[Emotions]) -> Predictions:
    """Emotions as arrays; affect where they have it."""
    affect = [[one.valence, one.arousal, one.intensity] for one in emotions]
    return Predictions(
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
        predictions_of([found.emotions for found in seen]),
        predictions_of([found.frame_emotions for found in seen]),
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
        Predictions(
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


def _together(parts: list[Predictions]) -> Predictions:
    affect = [part.affect for part in parts if part.affect is not None]
    return Predictions(
        np.concatenate([part.basic8 for part in parts]),
        np.concatenate([part.ranked for part in parts]),
        np.concatenate([part.intensity for part in parts]),
        np.concatenate(affect) if len(affect) == len(parts) else None,
    )
