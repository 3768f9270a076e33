"""One budget of memory for all decoders of strangers' files: together they fit the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

BASE_BYTES = 96 * 2**20
"""What a decoder takes for Python and its libraries."""
LEAST_BYTES = 64 * 2**20
"""With less beside that it is of no use."""
_SHARE = 0.75
_CGROUPS = Path("/sys/fs/cgroup")


class Budget:
    """Hands memory out to decoders; may be used from any thread.

    Args:
        free_bytes: what could be taken now.
    """

    def __init__(self, free_bytes: Callable[[], int] | None = None) -> None:
        self._free_bytes = free_bytes or free_memory
        self._lock = threading.Lock()
        self._given: dict[int, int] = {}
        self._total: int | None = None

    def take(self, owner: object, wanted: int) -> int:
        """Bytes that the owner may use beyond its base, `wanted` at most; 0: there is no room."""
        with self._lock:
            if not self._given:
                # Looked at while no decoder runs: later their own use would count twice.
                self._total = int(_SHARE * self._free_bytes())
            assert self._total is not None
            left = self._total - sum(self._given.values()) - BASE_BYTES
            # One decoder is always let in: its own limit holds, and nothing else would ever work.
            if left < LEAST_BYTES and self._given:
                return 0
            given = min(wanted, max(left, LEAST_BYTES))
            self._given[id(owner)] = given + BASE_BYTES
            return given

    def give_back(self, owner: object) -> None:
        """The owner's end; one that had nothing is fine."""
        with self._lock:
            self._given.pop(id(owner), None)


def free_memory(groups: Path = _CGROUPS, proc: Path = Path("/proc")) -> int:
    """Bytes that could be taken now: of the machine, and of each cgroup that this process is in."""
    found = [_available(proc / "meminfo")]
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _left(groups, path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            found += _left(groups / "memory", path, *names)
    return max(min(found), 0)


def _available(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 2**40


def _left(mount: Path, path: str, limit: str, usage: str) -> list[int]:
    """What is left in a group and in all that it is in; in a container the mount is the group."""
    place, found = mount / path.lstrip("/"), []
    while place.is_relative_to(mount):
        try:
            most = (place / limit).read_text().strip()
            if most != "max":
                # Files that the kernel keeps in memory are given up before anything is killed.
                kept = _files_kept(place / "memory.stat")
                found.append(int(most) - int((place / usage).read_text()) + kept)
        except (OSError, ValueError):
            pass
        place = place.parent
    return found


def _files_kept(stat: Path) -> int:
    for line in stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0
