"""What can go wrong when probabilities are fitted and networks made smaller.

CalibrationError
├── SamplesUnfit       also ValueError: too few samples, or all of one class
├── NotFinite          also ArithmeticError: NaN or infinity inside a network
└── BundleUnwritten    also OSError: a bundle that is read-only, a disk that is full
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class CalibrationError(FerstreamError):
    """Base of all errors of this package."""


class SamplesUnfit(CalibrationError, ValueError):
    """These samples cannot stand for the work."""


class NotFinite(CalibrationError, ArithmeticError):
    """A network gives NaN or infinity."""


class BundleUnwritten(CalibrationError, OSError):
    """The new bundle cannot be kept; the old one is as it was."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
