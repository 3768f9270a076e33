"""What can go wrong with bundles and engines; every message names the value and the next step.

EnginesError
├── BundleError
│   ├── BundleMissing      also FileNotFoundError: no bundle, or a listed file is not there
│   ├── BundleCorrupt      also ValueError: wrong hash, unreadable manifest, a stray file
│   └── BundleTooNew       the manifest's schema is newer than this program
├── ContractMismatch       also ValueError: tensors that are not what the contract says
├── EngineUnavailable      the backend or the precision asked for is not here
│   ├── CudaUnavailable    no NVIDIA driver, one too old, or no GPU
│   ├── PlanMissing        also FileNotFoundError: nothing was built for this GPU and TensorRT
│   └── PlanStale          built for another GPU, another TensorRT or another network
├── BuildFailed            a network cannot be made into a plan, or the plan is not good enough
├── PlanUnwritten          also OSError: a folder that is read-only, a disk that is full
└── EngineFailed           also RuntimeError: an open engine could not run
    └── OutOfDeviceMemory  also MemoryError: the GPU's memory is full
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class EnginesError(FerstreamError):
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


class CudaUnavailable(EngineUnavailable):
    """There is no NVIDIA GPU that this program could use."""


class PlanMissing(EngineUnavailable, FileNotFoundError):
    """No TensorRT plan was built for this network on this GPU."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class PlanStale(EngineUnavailable):
    """A TensorRT plan is there, but for something else than what is here."""


class BuildFailed(EnginesError):
    """TensorRT could not build a network, or what it built gives other numbers."""


class PlanUnwritten(EnginesError, OSError):
    """A plan was built and cannot be kept."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class EngineFailed(EnginesError, RuntimeError):
    """An engine that was open failed; what it would have said is not known."""


class OutOfDeviceMemory(EngineFailed, MemoryError):
    """The GPU has not enough memory left."""
