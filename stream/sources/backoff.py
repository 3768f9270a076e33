"""How long to wait before a camera is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double up to a ceiling, a little at random so that cameras do not queue up.

    With the ceiling of 3 s and an opening of less than 2 s, a camera is seen again within 5 s of
    its return. Wrong passwords are the exception: cameras lock an account after some of them, so
    after `denied_after` in a row the pauses go on doubling to `denied_ceiling_s`.
    """

    first_s: float = 0.5
    """Before the first attempt after a loss."""
    ceiling_s: float = 3.0
    """Longest pause."""
    denied_after: int = 3
    """Wrong passwords in a row that are borne at the usual pace."""
    denied_ceiling_s: float = 30.0
    """Longest pause while the password is wrong."""
    jitter: float = 0.25
    """Largest share by which a pause is shortened at random."""

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.ceiling_s <= self.denied_ceiling_s:
            raise ValueError(
                f"pauses of {self.first_s}, {self.ceiling_s} and {self.denied_ceiling_s} s: each "
                "at least as long as the one before, and more than 0"
            )
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter {self.jitter}: a share from 0 to less than 1")

    def pause_s(self, failures: int, denied: int, random: Callable[[], float]) -> float:
        """The pause after so many failures in a row, the last `denied` of them wrong passwords.

        `random` gives numbers from 0 to 1.
        """
        ceiling_s = self.denied_ceiling_s if denied >= self.denied_after else self.ceiling_s
        # The exponent is bounded: a camera that is away for a year must not overflow a float.
        pause_s = min(self.first_s * 2.0 ** min(failures, 32), ceiling_s)
        return pause_s * (1 - self.jitter * random())
