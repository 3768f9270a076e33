"""Ctrl-C is handled, whatever libraries were opened before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.needs import needs

# Each signal is handled on a stack that was never touched, so that what is left of it shows.
PROGRAM = """
import ctypes, os, signal, sys
from ferstream.engines.bundle import load_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.signal_stack import _Stack
engine = open_engine(load_bundle(sys.argv[1]), "spatial", backend=sys.argv[2])
stack = _Stack()
assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
os.kill(os.getpid(), signal.SIGINT)
print(len(caught), stack.flags, stack.size)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="signal stacks as Linux has them")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_leave_no_signal_stack_behind(backend: str) -> None:
    if backend == "openvino":
        needs("openvino")
    command = [sys.executable, "-c", PROGRAM, "default", backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    ss_disable = 2
    assert done.stdout.split() == ["1", str(ss_disable), "0"]
