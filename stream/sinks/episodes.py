"""Stretches of time in which a face keeps reading the same: for subtitles, annotations and events.

A frame's label flickers between words that fit about as well. Here probabilities are averaged
over a short time first, and another label must lead for a while before it takes over; it then
counts from the moment when the old one stopped leading. So the times are right, and no episode
within a face's time is shorter than `min_s`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from engines.taxonomy import load_taxonomy

from ..emotions import NEUTRAL, Emotions
from ..result import Result

SMOOTH_S = 0.4
"""Probabilities are averaged over about this time."""
MIN_S = 1.0
"""For so long in all another label must lead before it takes over."""
GONE_S = 1.5
"""After so long out of sight a face's episode ends; the tracker's ids wait as long."""

Key = tuple[str, bool]
"""Label, and whether it is uncertain: what makes one episode different from the next."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of time in which one face kept reading the same."""

    face_id: int
    start_s: float
    """The first frame's time, seconds on the source's clock."""
    end_s: float
    """Where the next episode begins; at the face's end, the last frame it was seen in."""
    label: str
    """`neutral` where that is the likeliest basic expression, else the best word."""
    probability: float
    """The label's mean probability, 0..1; of `neutral` among the eight, of a word among the
    words."""
    uncertain: bool
    """Whether the basic expressions were mostly too evenly spread to trust the label."""
    family: str = ""
    """The family of the word; "" for neutral."""
    intensity: float = 0.0
    """Mean strength, 0..1."""
    top: tuple[tuple[str, float], ...] = ()
    """The ten most fitting words with their averaged probabilities, as they last were."""
    gone: bool = False
    """Whether the face was out of sight afterwards, or the source at its end."""

    @property
    def duration_s(self) -> float:
        """Its length, seconds."""
        return self.end_s - self.start_s


class Episodes:
    """Turns one source's results into episodes.

    Args:
        min_s: how long another label must lead; also the shortest time between two changes.
        smooth_s: time over which probabilities are averaged; 0 for not at all.
        gone_s: how long a face may be out of sight before its episode ends.
        longest_s: an episode of this length ends and goes on as a new one.
    """

    def __init__(
        self,
        min_s: float = MIN_S,
        *,
        smooth_s: float = SMOOTH_S,
        gone_s: float = GONE_S,
        longest_s: float = math.inf,
    ) -> None:
        if min_s < 0 or smooth_s < 0 or gone_s <= 0 or longest_s <= min_s:
            raise ValueError(
                f"times of episodes: min_s {min_s:g}, smooth_s {smooth_s:g}, gone_s {gone_s:g}, "
                f"longest_s {longest_s:g}; give positive times, longest_s above min_s"
            )
        self._min_s, self._smooth_s = min_s, smooth_s
        self._gone_s, self._longest_s = gone_s, longest_s
        self._faces: dict[int, _FaceState] = {}
        self._now_s = -math.inf

    @property
    def current(self) -> list[Episode]:
        """The episodes that go on, up to now, by face; `start_s` may still move by a change that
        is not yet sure, and `end_s` is when the face was last seen."""
        return [self._faces[face_id].episode() for face_id in sorted(self._faces)]

    def add(self, result: Result) -> list[Episode]:
        """Take one frame's faces; the episodes that ended, in the order of their starts.

        A time before the last one begins anew: what was going on ends.
        """
        ended = self.finish() if result.time_s < self._now_s else []
        self._now_s = result.time_s
        for found in result.faces:
            state = self._faces.get(found.face.id)
            if state is not None and result.time_s - state.seen_s > self._gone_s:
                ended.append(state.last())
                state = None
            if state is None:
                state = _FaceState(found.face.id, result.time_s, found.emotions)
                self._faces[found.face.id] = state
            else:
                state.see(found.emotions, result.time_s, self._smooth_s, self._min_s)
                before = state.changed(self._min_s) or state.split(self._longest_s)
                if before is not None:
                    ended.append(before)
        for face_id, state in list(self._faces.items()):
            if result.time_s - state.seen_s > self._gone_s:
                ended.append(state.last())
                del self._faces[face_id]
        return _in_order(ended)

    def finish(self) -> list[Episode]:
        """End what is going on and return it, in the order of the starts."""
        ended = [state.last() for state in self._faces.values()]
        self._faces.clear()
        return _in_order(ended)


@dataclass
class _Lead:
    """How long and how surely one label has led."""

    led_s: float = 0.0
    frames: int = 0
    probability: float = 0.0
    intensity: float = 0.0

    def add(self, led_s: float, probability: float, intensity: float) -> None:
        self.led_s += led_s
        self.frames += 1
        self.probability += probability
        self.intensity += intensity


@dataclass
class _Smoothed:
    """One face's probabilities averaged over the last moments."""

    basic8: dict[str, float]
    words: dict[str, float]
    intensity: float
    uncertain: float

    @classmethod
    def of(cls, emotions: Emotions) -> _Smoothed:
        return cls(
            dict(emotions.basic8),
            dict(emotions.ranked),
            emotions.intensity,
            float(emotions.uncertain),
        )

    def move(self, emotions: Emotions, share: float) -> None:
        """Go `share` of the way to the new frame's."""
        for name, value in emotions.basic8.items():
            self.basic8[name] += share * (value - self.basic8[name])
        for name, value in emotions.ranked:
            self.words[name] += share * (value - self.words[name])
        self.intensity += share * (emotions.intensity - self.intensity)
        self.uncertain += share * (emotions.uncertain - self.uncertain)

    def key(self) -> Key:
        """What leads."""
        best = max(self.basic8, key=self.basic8.__getitem__)
        label = NEUTRAL if best == NEUTRAL else max(self.words, key=self.words.__getitem__)
        return label, self.uncertain > 0.5

    def probability(self, label: str) -> float:
        return self.basic8[NEUTRAL] if label == NEUTRAL else self.words[label]

    def top(self, k: int = 10) -> tuple[tuple[str, float], ...]:
        return tuple(sorted(self.words.items(), key=lambda pair: -pair[1])[:k])


class _FaceState:
    """One face: what it reads as, and what else has been leading since it stopped leading."""

    def __init__(self, face_id: int, time_s: float, emotions: Emotions) -> None:
        self.seen_s = time_s
        self._id = face_id
        self._start_s = time_s
        self._mean = _Smoothed.of(emotions)
        self._key = self._mean.key()
        self._lead = _Lead()
        self._away_s: float | None = None
        self._rivals: dict[Key, _Lead] = {}
        self._note(0.0)

    def see(self, emotions: Emotions, time_s: float, smooth_s: float, min_s: float) -> None:
        """Take one more frame."""
        passed_s = time_s - self.seen_s
        self.seen_s = time_s
        self._mean.move(emotions, 1 - math.exp(-passed_s / smooth_s) if smooth_s > 0 else 1.0)
        # A pause of the frames is no evidence for what stands at its end.
        self._note(min(passed_s, min_s / 2))

    def changed(self, min_s: float) -> Episode | None:
        """The episode before, if another label has now led long enough to take over."""
        for key, rival in self._rivals.items():
            if rival.led_s < min_s:
                continue
            assert self._away_s is not None
            before = replace(self.episode(), end_s=self._away_s)
            whole = before.duration_s >= min_s
            self._key, self._lead = key, rival
            # What lasted too short to be read was the way to this one.
            self._start_s = self._away_s if whole else self._start_s
            self._away_s = None
            self._rivals = {}
            return before if whole else None
        return None

    def split(self, longest_s: float) -> Episode | None:
        """The episode up to now, if it has grown too long; the rest is a new one."""
        if self.seen_s - self._start_s < longest_s or self._away_s is not None:
            return None
        before = self.episode()
        self._start_s, self._lead = self.seen_s, _Lead()
        self._note(0.0)
        return before

    def episode(self) -> Episode:
        """What goes on, up to when the face was last seen."""
        label, uncertain = self._key
        frames = max(self._lead.frames, 1)
        return Episode(
            face_id=self._id,
            start_s=self._start_s,
            end_s=self.seen_s,
            label=label,
            probability=self._lead.probability / frames,
            uncertain=uncertain,
            family=_family_of(label),
            intensity=self._lead.intensity / frames,
            top=self._mean.top(),
        )

    def last(self) -> Episode:
        """The same as the face's last."""
        return replace(self.episode(), gone=True)

    def _note(self, led_s: float) -> None:
        """Count a frame for what leads in it."""
        key = self._mean.key()
        if key == self._key:
            lead, self._away_s = self._lead, None
            self._rivals = {}
        else:
            if self._away_s is None:
                self._away_s, led_s = self.seen_s, 0.0
            lead = self._rivals.setdefault(key, _Lead())
        lead.add(led_s, self._mean.probability(key[0]), self._mean.intensity)


@cache
def _family_of(label: str) -> str:
    words = load_taxonomy("emo135")
    return "" if label == NEUTRAL else words.families[words.family_of[words.index(label)]]


def _in_order(episodes: Iterable[Episode]) -> list[Episode]:
    return sorted(episodes, key=lambda episode: (episode.start_s, episode.face_id))
