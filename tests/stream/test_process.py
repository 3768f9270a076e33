"""Threads that come and go leave the process's memory as it was."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Threads at once, each with something of its own; the C library tells how many arenas there are.
PROGRAM = """
import ctypes, re, sys, tempfile, threading
from ferstream.stream.process import few_arenas
if sys.argv[1] == "few":
    assert few_arenas()
together = threading.Barrier(9)
def work():
    held = [bytes(3000) for _ in range(500)]
    together.wait()
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile("w+") as file:
    stream = ctypes.c_void_p(libc.fdopen(libc.dup(file.fileno()), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    file.seek(0)
    print(len(re.findall("<heap nr", file.read())))
together.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_eight_threads_share_two_arenas() -> None:
    def arenas(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert arenas("few") <= 2 < arenas("many")
