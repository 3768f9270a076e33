"""Offline means offline: in an empty network nothing is looked up, and no stray file is left.

Every command is run by `tests.alone`, in an environment that says nothing about telemetry.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import tiny
from tests.needs import needs

from .alone import ROOT, Alone, alone

PYTHON = Path(sys.executable)
SCRIPT = (PYTHON, "-m", "ferstream")


def holds(done: Alone, *status: int) -> None:
    """It did its work, asked nobody, and left nothing but what was named."""
    assert done.status in (status or (0,)), done.error
    assert done.sent == {}, "something was sent, or tried to be"
    assert done.left == []


def inside(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_look_up_a_connection_and_a_stray_file_are_seen(tmp_path: Path) -> None:
    """What the other tests rest on; each of these fails, and is counted all the same."""
    for code, counter in (
        ("socket.getaddrinfo('example.org', 80)", None),
        ("socket.create_connection(('192.0.2.1', 80))", "IpOutNoRoutes"),
        ("socket.create_connection(('127.0.0.1', 9))", "TcpActiveOpens"),
        ("socket.socket(type=2).sendto(b'x', ('127.0.0.1', 53))", "UdpOutDatagrams"),
    ):
        done = alone(
            tmp_path,
            *(PYTHON, "-c"),
            f"import contextlib, socket\nwith contextlib.suppress(OSError): {code}",
        )
        assert done.status == 0
        assert counter in done.sent if counter else done.sent
    code = "import pathlib; pathlib.Path.home().joinpath('.cache').mkdir(); open('/tmp/.x', 'w')"
    assert len(alone(tmp_path, PYTHON, "-c", code).left) == 2


def test_score(tmp_path: Path) -> None:
    done = alone(
        tmp_path,
        *(*SCRIPT, "score", "sample", "--to", "o.jsonl", "--to", "o.eaf", "--video", "o.mp4"),
    )
    holds(done)
    assert inside(tmp_path) == {"o.jsonl", "o.eaf", "o.mp4"}


def test_score_with_openvino(tmp_path: Path) -> None:
    needs("openvino")
    holds(alone(tmp_path, *SCRIPT, "score", "sample", "--backend", "openvino"))
    assert inside(tmp_path) == set()


def test_live_with_every_capture(tmp_path: Path) -> None:
    done = alone(tmp_path, *SCRIPT, "live", "sample", "--no-show", "--to", "o.csv")
    holds(done)
    assert inside(tmp_path) == {"o.csv"}
    from ferstream.stream.sources.gst import has_gst

    if has_gst():
        pipeline = "gst:videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48"
        words = ("--no-show", "--retries", "0", "--seconds", "3", "--to", "-")
        done = alone(tmp_path, *SCRIPT, "live", pipeline, *words)
        holds(done, 0, 1)
        assert '"kind":"header"' in done.out


def test_serve(tmp_path: Path) -> None:
    needs("fastapi")
    holds(alone(tmp_path, *SCRIPT, "serve", "--port", "0", ask="serve"), 130)
    assert inside(tmp_path) == {"clip.mp4"}


def test_demo(tmp_path: Path) -> None:
    needs("gradio")
    words = ("demo", "--no-open", "--port", "0")
    holds(alone(tmp_path, *SCRIPT, *words, ask="demo"), 0, 130)
    assert inside(tmp_path) == set()


def test_bench(tmp_path: Path) -> None:
    bundle = tiny.bundle(tmp_path / "tiny").path
    before = inside(tmp_path)
    holds(alone(tmp_path, *SCRIPT, "bench", "sample", "--rounds", "1"))
    words = ("--plot", "o.svg")
    holds(alone(tmp_path, *SCRIPT, "bundle", "bench", str(bundle), "--runs", "3", *words))
    assert inside(tmp_path) - before == {"o.svg"}


@pytest.mark.slow
def test_calibrate(tmp_path: Path) -> None:
    needs("onnx")
    from tests.calibration import small
    from tests.training.layout import write_layout

    data = write_layout(tmp_path / "data", per_class=65)
    made = small.bundle(tmp_path / "small")
    before = inside(tmp_path)
    easy = "--top1 1 --macro-recall 1 --ece 1 --kl 9 --overlap 0 --speedup 0 --samples 500"
    done = alone(
        tmp_path,
        *(*SCRIPT, "calibrate", "int8", made.path, "--data", data, "--network", "spatial"),
        *("--out", "out", "--report", "o.html", *easy.split()),
    )
    holds(done)
    assert {name.split("/")[0] for name in inside(tmp_path) - before} == {"out", "o.html"}


@pytest.mark.slow
def test_train_export_evaluate(tmp_path: Path) -> None:
    needs("lightning")
    from tests.training.layout import write_layout
    from tests.training.toy_runs import TOY, command_of

    data = write_layout(tmp_path / "data")
    before = inside(tmp_path)
    lines = (
        command_of("slfer", tmp_path / "run", data, {**TOY, "epochs": 1}),
        ["export", "run", "bundle", "--data", str(data)],
        ["evaluate", "--bundle", "bundle", "--data", str(data), "--json"],
    )
    # In one process, which imports PyTorch once; layers are not tried one by one in eight bits.
    code = f"""
import functools
import ferstream
from ferstream.training.exporting import image
image.Options = functools.partial(image.Options, sweep=False)
for line in {lines!r}:
    try:
        ferstream.main(line)
    except SystemExit as left:
        assert left.code == 0, line
"""
    holds(alone(tmp_path, PYTHON, "-c", code))
    assert {name.split("/")[0] for name in inside(tmp_path) - before} == {"run", "bundle"}


@pytest.mark.parametrize(
    "module",
    [
        *(
            "engines.ort",
            "stream.recognize",
            "calibration.quantize",
            "training.exporting.export",
            "demo.app",
        ),
        "stream.sandbox.child",
    ],
)
def test_whatever_is_imported_first_switches_telemetry_off(module: str) -> None:
    """In a fresh process whose environment says the opposite."""
    needs("lightning")
    needs("gradio")
    code = (
        f"import ferstream.{module}\nimport ferstream.engines.ort, os, ferstream.engines.offline\n"
        "print(all(os.environ[k] == v for k, v in ferstream.engines.offline.SWITCHES.items()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0", "GRADIO_ANALYTICS_ENABLED": "True"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n", done.stderr
