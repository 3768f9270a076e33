"""The frames around a moment: what a recording's reading is made of.

A live reading looks back and therefore comes late: half a second after a smile has gone it may
still be read. In a recording the window reaches as far ahead as back, and ends where the face's
own frames begin to read otherwise for longer than a blip: so a reading begins and ends with the
expression that is seen.
"""

# N frames remembered, W frames chosen

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clip import APART_S

BLIP_S = 0.1
"""The frames' own readings are averaged over so long on both sides: what flickers is no edge."""
OTHERWISE = 0.5
"""So far apart (total variation, 0..1) two averaged readings are of two expressions."""
_MOST = 256
_CLOCK_S = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One face in one frame, its networks run, yet to be read together with the frames around."""

    time_s: float
    outputs: Mapping[str, NDArray[Any]]
    """The spatial network's, a row of each."""
    basic8: NDArray[np.float32]
    """(8,) probabilities of this frame alone."""
    motion: Mapping[str, NDArray[Any]] | None
    """What the temporal network last said, by head."""
    share: float
    """How far the motion is heard, 0..1."""


class Around:
    """One face over the last moments, for windows that reach to both sides of a frame.

    Args:
        frames: how many a window holds at most.
        duration_s: how long it is, half on either side.
    """

    def __init__(self, frames: int, duration_s: float) -> None:
        self.half_s = duration_s / 2
        self._most = (frames - 1) // 2
        self._spacing_s = duration_s / frames
        self._seen: deque[Seen] = deque(maxlen=_MOST)

    def add(self, seen: Seen) -> None:
        """Remember a frame; a time that does not follow the last one begins anew."""
        if self._seen and seen.time_s <= self._seen[-1].time_s:
            self._seen.clear()
        self._seen.append(seen)
        # A frame is read when half a window has followed it, and looks back for another half.
        oldest_s = seen.time_s - 2 * (self.half_s + BLIP_S)
        while self._seen[0].time_s < oldest_s and len(self._seen) > 1:
            self._seen.popleft()

    def read_features(
        self, centre: Seen, feature_TD: NDArray[np.float32], mask_T: NDArray[np.float32]
    ) -> int:
        """Write the window's features (T, D) and their mask (T,) into a batch, 0 where nothing is;
        returns the centre's row."""
        window = self.window(centre)
        feature_TD[len(window) :] = 0
        for row, seen in enumerate(window):
            feature_TD[row] = seen.outputs["feature"]
        mask_T[:] = np.arange(len(mask_T)) < len(window)
        return window.index(centre)

    def window(self, centre: Seen) -> list[Seen]:
        """The frames to read `centre` with, in the order of time, itself among them.

        None is farther away than half the duration, none lies beyond an edge or a gap, and they
        are at least an even share of the duration apart.
        """
        if centre not in self._seen:  # more frames came within half a window than are remembered
            return [centre]
        at = self._seen.index(centre)
        time_N = np.array([seen.time_s for seen in self._seen])
        basic8_NK = np.stack([seen.basic8 for seen in self._seen])
        near_NN = np.abs(time_N[:, None] - time_N) <= BLIP_S + _CLOCK_S
        steady_NK = (near_NN @ basic8_NK) / near_NN.sum(1, keepdims=True)
        apart_N = np.abs(steady_NK - steady_NK[at]).sum(1) / 2
        like_N = (apart_N <= OTHERWISE) & (np.abs(time_N - centre.time_s) <= self.half_s + _CLOCK_S)
        before = self._walk(range(at - 1, -1, -1), at, time_N, like_N)
        after = self._walk(range(at + 1, len(time_N)), at, time_N, like_N)
        return [self._seen[row] for row in (*reversed(before), at, *after)]

    def _walk(
        self, rows: range, at: int, time_N: NDArray[np.float64], like_N: NDArray[np.bool_]
    ) -> list[int]:
        """The rows chosen on one side, from the centre outwards."""
        chosen: list[int] = []
        kept_s = last_s = time_N[at]
        for row in rows:
            time_s = time_N[row]
            if not like_N[row] or abs(time_s - last_s) > APART_S or len(chosen) == self._most:
                break
            last_s = time_s
            if abs(time_s - kept_s) >= self._spacing_s - _CLOCK_S:
                chosen.append(row)
                kept_s = time_s
        return chosen
