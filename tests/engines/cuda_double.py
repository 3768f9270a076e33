"""A GPU in host memory that keeps CUDA's rules, and keeps book of what breaks them.

Work put on a stream runs as late as CUDA allows: when the stream is waited for. So whoever reads
too early reads old numbers, and whoever frees or overwrites too early breaks the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ferstream.engines.contract import Array
from ferstream.engines.errors import EngineFailed, OutOfDeviceMemory

Work = Callable[[], None]


@dataclass
class Stream:
    """Work that waits, and a recording where one is being made."""

    waiting: list[Work] = field(default_factory=list)
    recording: list[Work] | None = None

    def put(self, work: Work) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)


class GraphDouble:
    """Recorded work."""

    def __init__(self, device: DeviceDouble, stream: int, work: list[Work]) -> None:
        self._device, self._stream, self._work = device, stream, work
        self.closed = False

    def launch(self) -> None:
        self._device.needs_context()
        assert not self.closed, "a graph was launched after it was freed"
        self._device.counts["launch"] += 1
        for work in self._work:
            self._device.streams[self._stream].put(work)

    def close(self) -> None:
        self.closed = True
        self._device.graphs -= 1


class DeviceDouble:
    """One GPU of `total_bytes`. `counts` says how often what was called."""

    name = "double"

    def __init__(self, total_bytes: int = 1 << 30) -> None:
        self.total_bytes = total_bytes
        self.memory: dict[int, Array] = {}
        self.pinned_arrays: list[Array] = []
        self.streams: dict[int, Stream] = {}
        self.graphs = 0
        self.counts: Counter[str] = Counter()
        self.faults: dict[str, EngineFailed] = {}
        """Raised by the method of this name, until taken out."""
        self._active = 0
        self._next_address, self._next_stream = 0x7F00_0000_0000, 100

    @property
    def is_clean(self) -> bool:
        """Whether everything that was taken was given back."""
        return not (self.memory or self.pinned_arrays or self.streams or self.graphs)

    def needs_context(self) -> None:
        assert self._active, "CUDA was called without a current context"

    @contextmanager
    def active(self) -> Iterator[None]:
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    def allocate(self, size_bytes: int) -> int:
        self._called("allocate")
        assert size_bytes > 0, "CUDA refuses to allocate nothing"
        if size_bytes > self.free_bytes():
            raise OutOfDeviceMemory(f"out of device memory: {size_bytes} bytes wanted")
        address = self._next_address
        self._next_address += (size_bytes + 511) // 256 * 256
        self.memory[address] = np.full(size_bytes, 0xA5, np.uint8)
        return address

    def release(self, address: int) -> None:
        self._called("release")
        assert address in self.memory, "memory was freed that is not held"
        assert not any(stream.waiting for stream in self.streams.values()), "freed while in use"
        del self.memory[address]

    def pinned(self, size_bytes: int) -> Array:
        self._called("pinned")
        self.pinned_arrays.append(np.zeros(size_bytes, np.uint8))
        return self.pinned_arrays[-1]

    def unpin(self, host: Array) -> None:
        self._called("unpin")
        host[:] = 0xFF  # a view that is still read shows it
        self.pinned_arrays = [array for array in self.pinned_arrays if array is not host]

    def stream(self) -> int:
        self._called("stream")
        self._next_stream += 1
        self.streams[self._next_stream] = Stream()
        return self._next_stream

    def drop_stream(self, stream: int) -> None:
        self._called("drop_stream")
        assert not self.streams.pop(stream).waiting, "a stream with work was freed"

    def to_device(self, address: int, host: Array, stream: int) -> None:
        self._called("to_device")
        self._pinned(host)

        def copy() -> None:
            self.at(address, host.nbytes)[:] = host.reshape(-1).view(np.uint8)

        self.streams[stream].put(copy)

    def to_host(self, host: Array, address: int, stream: int) -> None:
        self._called("to_host")
        self._pinned(host)

        def copy() -> None:
            host.reshape(-1).view(np.uint8)[:] = self.at(address, host.nbytes)

        self.streams[stream].put(copy)

    def synchronize(self, stream: int) -> None:
        self._called("synchronize")
        assert self.streams[stream].recording is None, "waited for a stream that is recorded"
        waiting, self.streams[stream].waiting = self.streams[stream].waiting, []
        for work in waiting:
            work()

    def record(self, stream: int, work: Work) -> GraphDouble:
        self._called("record")
        recording: list[Work] = []
        self.streams[stream].recording = recording
        try:
            work()
        finally:
            self.streams[stream].recording = None
        self.graphs += 1
        return GraphDouble(self, stream, recording)

    def free_bytes(self) -> int:
        return self.total_bytes - sum(array.nbytes for array in self.memory.values())

    def at(self, address: int, size: int) -> Array:
        """Device memory from an address on; an access that CUDA calls illegal ends the test."""
        assert address in self.memory, f"illegal address {address:#x}"
        assert size <= self.memory[address].nbytes, "access beyond an allocation"
        return self.memory[address][:size]

    def _called(self, name: str) -> None:
        self.needs_context()
        self.counts[name] += 1
        if name in self.faults:
            raise self.faults[name]

    def _pinned(self, host: Array) -> None:
        assert host.flags.c_contiguous, "a copy of memory that is not contiguous"
        assert any(np.shares_memory(host, array) for array in self.pinned_arrays), (
            "a copy from memory that is not pinned waits"
        )
