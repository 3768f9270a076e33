"""The fast tests on the oldest and the newest Python that this machine has: `make pythons`.

The oldest has NumPy 1.26 and MediaPipe, where there are such for it; the newest has NumPy 2 and
everything else as new as may be, without MediaPipe. Both are without PyTorch. A Python that is not
here is named; the exit status is that of what failed first, or 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = [(3, minor) for minor in range(10, 15)]
FOLDER = ROOT / "build" / "pythons"
LIMIT_S = 1500
"""What the tests of one Python may take; then it and all that it started is ended."""
TIMED_OUT = 124
TESTS = ("tests/stream", "tests/engines", "tests/calibration", "tests/demo")

_ASK = """
import json, sys
try:
    import ensurepip, venv
    print(json.dumps([sys.version_info[:2], sys.executable]))
except ImportError:
    pass
"""


_SHOW = """
import platform, av, cv2, numpy, onnxruntime, google.protobuf as protobuf
print("Python", platform.python_version())
for module in (numpy, cv2, av, onnxruntime, protobuf):
    print(module.__name__, module.__version__, flush=True)
"""


def found() -> dict[tuple[int, int], str]:
    """The interpreters of `VERSIONS` that are here and can make an environment."""
    here: dict[tuple[int, int], str] = {}
    for version in VERSIONS:
        for candidate in _candidates(version):
            # What pyenv puts on the path may be a name without an interpreter behind it.
            done = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True)
            if done.returncode == 0 and done.stdout:
                told, executable = json.loads(done.stdout)
                if tuple(told) == version:
                    here[version] = executable
                    break
    return here


def _candidates(version: tuple[int, int]) -> Iterator[str]:
    name = "python{}.{}".format(*version)
    if sys.version_info[:2] == version:
        yield sys.executable
    if on_path := shutil.which(name):
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for place in sorted(root.glob("versions/{}.{}.*/bin/python".format(*version))):
        yield str(place)


def check(python: str, wanted: Sequence[str], folder: Path) -> int:
    """Run the tests in an environment of their own; the exit status of what failed first, or 0."""
    made = subprocess.run([python, "-m", "venv", str(folder)])
    if made.returncode:
        return made.returncode
    inside = str(folder / "bin" / "python")
    installed = subprocess.run([inside, "-m", "pip", "install", "-q", *wanted], cwd=ROOT)
    if installed.returncode:
        return installed.returncode
    subprocess.run([inside, "-c", _SHOW], check=True)
    tests = [*TESTS, *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("tests/test_*.py"))]
    return within(
        LIMIT_S,
        [inside, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests],
        {**os.environ, "OMP_NUM_THREADS": "1", "FERSTREAM_WITHOUT_MEDIAPIPE": "1"},
    )


def within(limit_s: float, command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command in a process group of its own; its exit status, or `TIMED_OUT`.

    A test that fails may leave a thread or a child behind that pytest waits for without end.
    """
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"not done after {limit_s:g} s: ended", flush=True)
            return TIMED_OUT
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    here = found()
    names = {version: "{}.{}".format(*version) for version in VERSIONS}
    absent = [names[version] for version in VERSIONS if version not in here]
    if absent:
        print(f"not here, so not tested: Python {', '.join(absent)}")
    if not here:
        return 0
    oldest, newest = min(here), max(here)
    old = ".[checks,mediapipe]" if oldest < (3, 13) else ".[checks]"
    limit = ["numpy<2"] if oldest < (3, 13) else []
    worst = 0
    for what, version, wanted in (
        ("the oldest", oldest, ["-e", old, *limit]),
        ("the newest", newest, ["-e", ".[checks]", "numpy>=2"]),
    ):
        print(f"{what}: Python {names[version]} with {' '.join(wanted[1:])}", flush=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        worst = worst or check(here[version], wanted, FOLDER)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
