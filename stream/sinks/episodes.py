"""Stretches of time in which a face keeps its expression: for subtitles, annotations and events.

What changes is the basic expression; the word that fits an episode best names it. So a held smile
is one episode, however its near synonyms take turns. Readings are averaged over a short time first,
and another expression must lead for a while before it takes over; it then counts from the moment
when the frames stopped showing the old one. So the times are right, and no episode within a face's
time is shorter than `min_s`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..emotions import NEUTRAL
from ..result import FaceResult, Result
from .base import SinkInfo
from .mean import Mean, Numbers, weight_of

SMOOTH_S = 0.4
"""Time over which readings are averaged, seconds."""
MIN_S = 0.5
"""How long another expression must lead in all before it takes over, seconds."""
GONE_S = 1.5
"""A face's episode ends after so long out of sight, as the tracker loses the face, seconds."""
_ROUNDING_S = 1e-6

Key = tuple[str, bool]
"""Basic expression, and whether it is uncertain: what makes one episode different from the next."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of time in which one face kept its expression.

    Numbers are means over its frames, weighted by attention and intensity.
    """

    face_id: int
    start_s: float
    """The first frame's time, seconds on the source's clock."""
    end_s: float
    """Where the next episode begins; at the face's end, the last frame it was seen in."""
    label: str
    """`neutral` where that is the likeliest basic expression, else the word that fits it best."""
    probability: float
    """The label's mean probability, 0..1; of `neutral` among the eight, of a word on its own."""
    uncertain: bool
    """Whether the basic expressions were mostly too evenly spread to trust the label."""
    expression: str = NEUTRAL
    """The basic expression that led."""
    family: str = ""
    """The family of the word; "" for neutral."""
    intensity: float = 0.0
    """Mean strength, 0..1."""
    valence: float | None = None
    """-1 (unpleasant) .. 1 (pleasant); None where the bundle has none."""
    arousal: float | None = None
    """-1 (sleepy) .. 1 (agitated); None where the bundle has none."""
    top: tuple[tuple[str, float], ...] = ()
    """The ten most fitting words with their mean probabilities."""
    gone: bool = False
    """Whether the face was out of sight afterwards, or the source at its end."""
    mean: Mean | None = None
    """The mean that the numbers are taken from."""

    @property
    def duration_s(self) -> float:
        """Its length, seconds."""
        return self.end_s - self.start_s


class Episodes:
    """Turns one source's results into episodes.

    Args:
        min_s: how long another expression must lead; also the shortest time between two changes.
        smooth_s: time over which readings are averaged; 0 for not at all.
        longest_s: an episode of this length ends and goes on as a new one.
    """

    def __init__(
        self,
        min_s: float = MIN_S,
        *,
        smooth_s: float = SMOOTH_S,
        longest_s: float = math.inf,
    ) -> None:
        if min_s < 0 or smooth_s < 0 or longest_s <= min_s:
            raise ValueError(
                f"times of episodes: min_s {min_s:g}, smooth_s {smooth_s:g}, "
                f"longest_s {longest_s:g}; give positive times, longest_s above min_s"
            )
        self._min_s, self._smooth_s = min_s, smooth_s
        self._longest_s = longest_s
        self._faces: dict[int, _FaceState] = {}
        self._now_s = -math.inf

    @property
    def current(self) -> list[Episode]:
        """The current episodes by face. `start_s` may still change while another expression leads;
        `end_s` is when the face was last seen."""
        return [self._faces[face_id].episode() for face_id in sorted(self._faces)]

    @property
    def starts_s(self) -> list[float]:
        """Start times of the current episodes."""
        return [state.start_s for state in self._faces.values()]

    def add(self, result: Result) -> list[Episode]:
        """Add one frame's faces; returns the episodes that ended, in the order of their starts.

        A time before the last one starts over: all current episodes end.
        """
        ended = self.finish() if result.time_s < self._now_s else []
        self._now_s = result.time_s
        for found in result.faces:
            state = self._faces.get(found.face.id)
            if state is not None and result.time_s - state.seen_s > GONE_S:
                ended += state.last(self._min_s)
                state = None
            if state is None:
                state = _FaceState(found, result.time_s)
                self._faces[found.face.id] = state
            else:
                ended += state.held(result.time_s - state.seen_s, self._min_s)
                state.see(found, result.time_s, self._smooth_s)
                ended += state.changed(self._min_s) or state.split(self._longest_s)
        for face_id, state in list(self._faces.items()):
            if result.time_s - state.seen_s > GONE_S:
                ended += state.last(self._min_s)
                del self._faces[face_id]
        return _in_order(ended)

    def finish(self) -> list[Episode]:
        """End the current episodes and return them, in the order of their starts."""
        ended = [one for state in self._faces.values() for one in state.last(self._min_s)]
        self._faces.clear()
        return _in_order(ended)


class _Candidate:
    """How long one expression has led, and how it read then."""

    def __init__(self) -> None:
        self.lasted_s = 0.0
        self.mean = Mean()


class _FaceState:
    """One face: what it reads as, and what else has been leading since it stopped leading."""

    def __init__(self, found: FaceResult, time_s: float) -> None:
        self.seen_s = time_s
        self._step_s = self._step_before_s = 0.0  # between the latest three frames
        self._id = found.face.id
        self.start_s = time_s
        self._smooth = Numbers.of(found.emotions)
        self._key = _key_of(self._smooth)
        self._current = self._leading = _Candidate()  # of the episode, and of the latest frame
        self._left_s: float | None = None  # since when the frames have shown something else
        self._away_s: float | None = None
        self._candidates: dict[Key, _Candidate] = {}
        # Frames that show another expression than the one that leads, and which.
        self._aside, self._aside_of = Mean(), ""
        self._note(self._smooth, found)

    def held(self, passed_s: float, min_s: float) -> list[Episode]:
        """The latest frame has stood for so long: what it shows has led meanwhile. So a slow
        rate's pictures count as long as a player shows them; a pause of the frames is no evidence
        for what stands at either end."""
        self._leading.lasted_s += min(passed_s, max(2 * self._step_s, min_s / 2))
        return self.changed(min_s)

    def see(self, found: FaceResult, time_s: float, smooth_s: float) -> None:
        """Take one more frame."""
        self._step_before_s = self._step_s
        self._step_s = time_s - self.seen_s
        self.seen_s = time_s
        numbers = Numbers.of(found.emotions)
        weight = 1 - math.exp(-self._step_s / smooth_s) if smooth_s > 0 else 1.0
        self._smooth = self._smooth.toward(numbers, weight)
        if _key_of(numbers) == self._key:
            self._left_s = None
        elif self._left_s is None:
            self._left_s = time_s
        self._note(numbers, found)

    def changed(self, min_s: float) -> list[Episode]:
        """The episode before, if another expression has now led long enough to take over."""
        for key, candidate in self._candidates.items():
            if candidate.lasted_s < min_s - _ROUNDING_S:
                continue
            assert self._away_s is not None
            before = replace(self.episode(), end_s=self._away_s)
            whole = before.duration_s >= min_s
            self._key, self._current = key, candidate
            # What lasted too short to be read was the way to this one.
            self.start_s = self._away_s if whole else self.start_s
            self._left_s = self._away_s = None
            self._candidates = {}
            return [before] if whole else []
        return []

    def split(self, longest_s: float) -> list[Episode]:
        """The episode up to now, if it has grown too long; the rest is a new one."""
        if self.seen_s - self.start_s < longest_s or self._away_s is not None:
            return []
        before = self.episode()
        self.start_s, self._current = self.seen_s, _Candidate()
        self._leading = self._current
        self._current.mean.add(self._smooth, 1e-6)  # until there is a frame of it
        return [before]

    def episode(self) -> Episode:
        """What goes on, up to when the face was last seen."""
        expression, uncertain = self._key
        reading = self._current.mean.reading()
        neutral = expression == NEUTRAL
        label, probability = (NEUTRAL, reading.basic8[NEUTRAL]) if neutral else reading.ranked[0]
        return Episode(
            face_id=self._id,
            start_s=self.start_s,
            end_s=self.seen_s,
            label=label,
            probability=probability,
            uncertain=uncertain,
            expression=expression,
            family=reading.labels.family(label),
            intensity=reading.intensity,
            valence=reading.valence,
            arousal=reading.arousal,
            top=reading.ranked[:10],
            mean=self._current.mean.copy(),
        )

    def last(self, min_s: float) -> list[Episode]:
        """The same as the face's last, and what ends with it: the latest frame stands as long as
        the shorter of the two before it did."""
        stands_s = min(self._step_s, self._step_before_s or self._step_s)
        return [*self.held(stands_s, min_s), replace(self.episode(), gone=True)]

    def _note(self, numbers: Numbers, found: FaceResult) -> None:
        """Count a frame for what leads in it."""
        key, shown = _key_of(self._smooth), numbers.expression
        weight, lasted_s = weight_of(found, shown), 0.0
        if key == self._key:
            self._leading, self._away_s = self._current, None
            self._candidates = {}
            if shown != self._aside_of:
                self._aside, self._aside_of = Mean(), shown
            if shown != key[0]:
                self._aside.add(numbers, weight)
        else:
            if self._away_s is None:
                self._away_s = self.seen_s if self._left_s is None else self._left_s
                self._away_s = max(self._away_s, self.start_s)
                lasted_s = self.seen_s - self._away_s
            candidate = self._leading = self._candidates.setdefault(key, _Candidate())
            candidate.lasted_s += lasted_s
            if self._aside_of == key[0] and not candidate.mean.frames:
                candidate.mean.merge(self._aside)
                self._aside = Mean()
        # A mean is of frames that show what it is of; at least of one.
        if shown == key[0] or not self._leading.mean.frames:
            self._leading.mean.add(numbers, weight)


def _key_of(numbers: Numbers) -> Key:
    return numbers.expression, numbers.is_uncertain


def _in_order(episodes: Iterable[Episode]) -> list[Episode]:
    return sorted(episodes, key=lambda episode: (episode.start_s, episode.face_id))


_USUAL_RATE_HZ = 25.0
_SHORTEST_S = 0.2
"""Shortest time for which an episode is shown, seconds."""


class ShownEpisodes:
    """One source's episodes from the start of its video.

    The times of a live source count from its first frame, as those of a recording made beside. A
    face's last episode includes the time for which its last frame is shown.
    """

    def __init__(self, info: SinkInfo, episodes: Episodes) -> None:
        self._episodes = episodes
        self._step_s = 1 / (info.rate_hz or _USUAL_RATE_HZ)
        self._zero_s: float | None = None if info.live else 0.0
        self.sure_s = 0.0
        """No episode that starts before this time can still follow."""

    def add(self, result: Result) -> list[Episode]:
        """The episodes that ended with this frame."""
        if self._zero_s is None:
            self._zero_s = result.time_s
        ended = self._shown(self._episodes.add(result))
        self.sure_s = min(self._episodes.starts_s, default=result.time_s) - self._zero_s
        return ended

    def finish(self) -> list[Episode]:
        """The episodes that went on until the end."""
        return self._shown(self._episodes.finish())

    def _shown(self, ended: Iterable[Episode]) -> list[Episode]:
        zero_s = self._zero_s or 0.0
        shown = []
        for episode in ended:
            start_s, end_s = episode.start_s - zero_s, episode.end_s - zero_s
            if episode.gone:
                end_s = max(end_s + self._step_s, start_s + _SHORTEST_S)
            shown.append(replace(episode, start_s=start_s, end_s=end_s))
        return shown
