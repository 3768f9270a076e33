"""What both halves of the TensorRT double share: its machine, its enums, its logger."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

import numpy as np
from onnx import TensorProto

from .cuda_double import DeviceDouble

MAGIC = b"plan-double\n"
"""How the double's plans begin."""


class DataType(Enum):
    FLOAT, HALF, BF16, INT8, INT32, INT64, BOOL, UINT8, FP8 = range(9)


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class MemoryPoolType(Enum):
    WORKSPACE = 0


class ProfilingVerbosity(Enum):
    LAYER_NAMES_ONLY, DETAILED, NONE = range(3)


class LayerInformationFormat(Enum):
    ONELINE, JSON = range(2)


class ExecutionContextAllocationStrategy(Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class BuilderFlag(Enum):
    TF32 = 0


class Severity(Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        self._ready = True

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None:
        self._ready = True


TYPES = {
    TensorProto.FLOAT: (DataType.FLOAT, np.float32),
    TensorProto.FLOAT16: (DataType.HALF, np.float16),
    TensorProto.UINT8: (DataType.UINT8, np.uint8),
    TensorProto.INT8: (DataType.INT8, np.int8),
    TensorProto.INT64: (DataType.INT64, np.int64),
}


class Faults:
    """What goes wrong next: a text is TensorRT's error."""

    build: str | None = None
    context: str | None = None
    execute: str | None = None
    nan = False
    mirrored = False


class World:
    """One machine as TensorRT sees it; the module's classes refer to it."""

    def __init__(self, device: DeviceDouble, version: str, gpu: str) -> None:
        self.device, self.version, self.gpu = device, version, gpu
        self.strongly_typed = 0 if version.startswith("11") else 1
        """The flag's value, which 11 changed."""
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self.offset = 0.0
        """Added to every output, for plans that are not what they should be."""
        self.log: ILogger | None = None
        self.work_users: dict[int, int] = {}

    def error(self, text: str) -> Any:
        """Tells the log; gives None, as TensorRT's functions do that fail."""
        assert self.log is not None
        self.log.log(Severity.ERROR, text)
        return None
