"""Who of a recording's people are one person, judged when all of it has been seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from .detect import overlap
from .sight import Track


class SeenTogether:
    """Remembers who was seen beside whom: those are never one person."""

    def __init__(self) -> None:
        self._pairs: set[tuple[int, int]] = set()

    def seen(self, tracks: Sequence[Track]) -> None:
        """Take one frame's faces. One that lies on another says nothing: both may be one face."""
        for one, other in combinations(tracks, 2):
            if overlap(one.sight.box, other.sight.box) < 0.5:
                self._pairs.add(_pair(one.id, other.id))

    def join(self, stranger: int, known: int) -> None:
        """A stranger turned out to be somebody known."""
        beside = [sum(pair) - stranger for pair in self._pairs if stranger in pair]
        self._pairs |= {_pair(known, other) for other in beside}

    def one_person(self, tracks: Iterable[Track]) -> dict[int, int]:
        """Ids that go, each with the one that stays: the oldest of a person's, as far as looks and
        places tell; the most alike come first."""
        by_age = sorted(tracks, key=lambda track: track.id)
        alike = [
            (likeness, old.id, young.id)
            for old, young in combinations(by_age, 2)
            if (likeness := old.views.likeness_of(young.views)) >= young.enough_for(old)
        ]
        people = {track.id: {track.id} for track in by_age}
        for _, old, young in sorted(alike, reverse=True):
            one, other = people[old], people[young]
            apart = any(_pair(a, b) in self._pairs for a in one for b in other)
            if one is not other and not apart:
                one |= other
                people.update(dict.fromkeys(other, one))
        return {identity: min(one) for identity, one in people.items() if identity != min(one)}


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
