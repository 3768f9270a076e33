"""What can go wrong with bundles and engines; every message names the value and the next step.

EnginesError
├── BundleError
│   ├── BundleMissing      also FileNotFoundError: no bundle, or a listed file is not there
│   ├── BundleCorrupt      also ValueError: wrong hash, unreadable manifest, a stray file
│   └── BundleTooNew       the manifest's schema is newer than this program
├── ContractMismatch       also ValueError: tensors that are not what the contract says
└── EngineUnavailable      the backend or the precision asked for is not here
"""

from __future__ import annotations


class EnginesError(Exception):
    """Base of all errors of this package."""


class BundleError(EnginesError):
    """A bundle cannot be used."""


class BundleMissing(BundleError, FileNotFoundError):
    """There is no bundle at this place, or one of its files is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BundleCorrupt(BundleError, ValueError):
    """A bundle's files are not what its manifest says."""


class BundleTooNew(BundleError):
    """A bundle was written by a newer version of the project."""


class ContractMismatch(EnginesError, ValueError):
    """Tensors or a network's graph differ from what the contract says."""


class EngineUnavailable(EnginesError):
    """The backend or precision asked for cannot be had here."""
