"""What can go wrong in training; each message is one line and says what to do next.

TrainingError
  OptionsWrong        (ValueError)         a value that cannot be, or two that do not go together
  RunMismatch         (ValueError)         a run folder holds another training
  RunUnfinished       (FileNotFoundError)  a run has not been trained to its end
  CheckpointDamaged   (ValueError)         a checkpoint that cannot be read, or is not safe to
  CheckpointForeign   (ValueError)         a checkpoint of another system, stage or size
  LossNotFinite       (ArithmeticError)    the loss became infinite or not a number
  DoesNotFit          (MemoryError)        batch and picture are too large for the memory
  SystemUnknown       (ValueError)         there is no system of this name
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class TrainingError(FerstreamError):
    """The root of this package's errors."""


class OptionsWrong(TrainingError, ValueError):
    """A value that cannot be, or two that do not go together."""


class RunMismatch(TrainingError, ValueError):
    """A run folder holds another training than the one asked for."""


class RunUnfinished(TrainingError, FileNotFoundError):
    """A run has not been trained to its end, or is no run."""


class CheckpointDamaged(TrainingError, ValueError):
    """A checkpoint that cannot be read, or holds more than weights and plain values."""


class CheckpointForeign(TrainingError, ValueError):
    """A checkpoint of another system, another stage or another size."""


class LossNotFinite(TrainingError, ArithmeticError):
    """The loss became infinite or not a number."""


class DoesNotFit(TrainingError, MemoryError):
    """Batch and picture are too large for the memory."""


class SystemUnknown(TrainingError, ValueError):
    """There is no system of this name."""
