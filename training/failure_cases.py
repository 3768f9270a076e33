"""How consistent a network is over the frames about a peak (paper 001, IV-E, Table VII).

S sequences, F frames of each that were not trained on (four: the nearest to the peak).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FailureCases:
    """Which sequences failed; every consistent failure case is a failure case."""

    failed: npt.NDArray[np.bool_]
    """(S,) at least one frame was taken for another expression"""
    consistently: npt.NDArray[np.bool_]
    """(S,) all frames were taken for one and the same other expression"""

    @property
    def fc(self) -> int:
        """Failure cases."""
        return int(self.failed.sum())

    @property
    def cfc(self) -> int:
        """Consistent failure cases."""
        return int(self.consistently.sum())


def failure_cases(
    guess_SF: npt.NDArray[np.integer[Any]], label_S: npt.NDArray[np.integer[Any]]
) -> FailureCases:
    """Failure cases of guesses (S, F) about sequences with labels (S,)."""
    wrong_SF = guess_SF != label_S[:, None]
    alike_S = (guess_SF == guess_SF[:, :1]).all(1)
    return FailureCases(wrong_SF.any(1), wrong_SF.all(1) & alike_S)


def frames_about_peak(
    frames: int, peak: int | None = None, neighbours: int = 4
) -> tuple[int, list[int]]:
    """The frame to train on and the nearest others to test on, oldest first.

    The peak is the last frame unless named. ValueError where the sequence is too short.
    """
    peak = frames - 1 if peak is None else peak
    if not 0 <= peak < frames or frames <= neighbours:
        raise ValueError(
            f"a sequence of {frames} frames with its peak at {peak} has no {neighbours} others "
            "about it: leave it out"
        )
    others = sorted((at for at in range(frames) if at != peak), key=lambda at: (abs(at - peak), at))
    return peak, sorted(others[:neighbours])
