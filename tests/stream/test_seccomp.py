"""What confines decoders, part by part: Landlock alone, filters of machines that are not here."""

from __future__ import annotations

import errno
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ferstream.stream.errors import SourceRefused
from ferstream.stream.sandbox import process as cell
from ferstream.stream.sandbox import seccomp
from ferstream.stream.sandbox.process import BASE_BYTES, LEAST_BYTES, Budget, free_memory
from ferstream.stream.sandbox.seccomp import _MACHINES, _program, landlock_version
from ferstream.stream.serve.cli import ServeError, require_sandbox

MB = 2**20
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_HEADER = Path("/usr/include/asm-generic/unistd.h")


def verdict(machine: str, number: int, first: int = 0, audit: int | None = None) -> int:
    """What the kernel's small machine makes of a system call under a filter."""
    code, known = _program(_MACHINES[machine]), _MACHINES[machine]
    audit = known.audit if audit is None else audit
    call = struct.pack("=iIQQQQQQQ", number, audit, 0, first, 0, 0, 0, 0, 0)
    value, at = 0, 0
    while True:
        kind, true, false, operand = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", call, operand)
        elif kind == 0x06:
            return int(operand)
        else:
            hit = {0x15: value == operand, 0x25: value > operand, 0x45: bool(value & operand)}
            at += true if hit[kind] else false


@pytest.mark.parametrize("machine", _MACHINES)
def test_the_filter_lets_decoding_through_and_nothing_else(machine: str) -> None:
    known = _MACHINES[machine]
    allowed, nothing = set(known.allowed.values()), set(known.nothing_there.values())
    for number in range(600):
        found = verdict(machine, number)
        if number in allowed:
            assert found == ALLOW
        elif number in nothing:
            assert found == FAIL | errno.ENOENT
        elif number == 435:
            assert found == FAIL | errno.ENOSYS, "glibc then takes the older call"
        else:
            assert found == FAIL | errno.EPERM, number
    assert verdict(machine, known.clone, first=0x10000) == ALLOW, "a thread"
    assert verdict(machine, known.clone, first=0x11) == FAIL | errno.EPERM, "a process"
    for other in ("x86_64", "aarch64"):
        if other != machine:
            audit = _MACHINES[other].audit
            assert verdict(machine, 63, audit=audit) == KILL


@pytest.mark.skipif(not _HEADER.exists(), reason=f"no {_HEADER}")
def test_arm_s_numbers_are_the_kernel_s() -> None:
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", _HEADER.read_text())
    numbers = {name: int(number) for name, number in found}
    numbers["newfstatat"] = numbers["fstatat"]
    arm = _MACHINES["aarch64"]
    for name, number in {**arm.allowed, **arm.nothing_there, "clone": arm.clone}.items():
        assert numbers[name] == number, name


@pytest.mark.skipif(landlock_version() < 1, reason="this kernel has no Landlock")
def test_landlock_alone_takes_files_and_networks_away(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    code = f"""
import os, socket
from ferstream.stream.sandbox.seccomp import give_up_files, landlock_version
listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
held = open({str(tmp_path / "old")!r})
assert give_up_files()
tries = {{
    "read": lambda: open({str(tmp_path / "old")!r}),
    "make": lambda: open({str(tmp_path / "new")!r}, "w"),
    "list": lambda: os.listdir("/"),
    "remove": lambda: os.unlink({str(tmp_path / "old")!r}),
    "run": lambda: os.execv("/bin/true", ["true"]),
}}
if landlock_version() >= 4:
    tries["connect"] = lambda: socket.socket().connect(("127.0.0.1", port))
for name, attempt in tries.items():
    try:
        attempt()
    except PermissionError:
        continue
    print(name, "WORKS")
print(held.read())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("x\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_one_budget_for_all_decoders() -> None:
    budget = Budget(lambda: 1000 * MB)
    owners = [object() for _ in range(9)]
    given = [budget.reserve(owner, 300 * MB) for owner in owners]
    assert given[0] == 300 * MB and given[-1] == 0
    taken = [one for one in given if one]
    assert sum(taken) + len(taken) * BASE_BYTES <= 750 * MB
    assert all(one >= LEAST_BYTES for one in taken)
    budget.release(owners[0])
    budget.release(owners[0])
    assert budget.reserve(owners[-1], 300 * MB) == 300 * MB


def test_the_first_decoder_is_let_in_however_little_there_is() -> None:
    budget = Budget(lambda: 10 * MB)
    first, second = object(), object()
    assert budget.reserve(first, 300 * MB) == LEAST_BYTES
    assert budget.reserve(second, 300 * MB) == 0


def test_what_is_free_is_what_every_group_leaves(tmp_path: Path) -> None:
    groups, proc = tmp_path / "groups", tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    4096000 kB\n")
    assert free_memory(groups, proc) == 4000 * MB
    inner = groups / "outer" / "inner"
    inner.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/outer/inner\n")
    for folder, most, used in ((inner, "max", 5 * MB), (inner.parent, 600 * MB, 250 * MB)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {50 * MB}\n")
    assert free_memory(groups, proc) == 400 * MB
    old = groups / "memory" / "box"
    old.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/box\n")
    (old / "memory.limit_in_bytes").write_text(f"{300 * MB}\n")
    (old / "memory.usage_in_bytes").write_text(f"{100 * MB}\n")
    (old / "memory.stat").write_text("total_inactive_file 0\n")
    assert free_memory(groups, proc) == 200 * MB


def test_without_a_jail_strangers_are_refused_unless_that_is_waived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(cell.UNCONFINED, raising=False)
    monkeypatch.setattr(seccomp, "can_confine", lambda: False)
    with pytest.raises(SourceRefused, match="--without-sandbox"):
        cell.require_confined(False)
    with pytest.raises(ServeError, match="neither seccomp nor Landlock"):
        require_sandbox(waived=False)
    monkeypatch.setenv(cell.UNCONFINED, "0")
    require_sandbox(waived=True)
    cell.require_confined(False)
