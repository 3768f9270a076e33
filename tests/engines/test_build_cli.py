"""`ferstream bundle build` and `bundle triton` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferstream.engines.bundle import Bundle
from ferstream.engines.cli import app
from ferstream.engines.cuda import has_gpu
from ferstream.engines.errors import CudaUnavailable, EngineUnavailable

from .trt_world import World


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_build_tells_of_each_network(machine: World, bundle: Bundle) -> None:
    text = run("build", str(bundle.path), "--max-batch", "4")
    assert text.count("built") == 4 and "ms at batch 4" in text
    document = json.loads(run("build", str(bundle.path), "--max-batch", "4", "--json"))
    assert [row["state"] for row in document["networks"]] == ["current"] * 4
    assert document["networks"][0]["sidecar"]["options"]["max_batch"] == 4


def test_check_takes_plans_in(machine: World, bundle: Bundle) -> None:
    run("build", str(bundle.path), "--precision", "fp32", "--max-batch", "8")
    document = json.loads(run("check", str(bundle.path), "--json"))
    rows = [row for row in document["networks"] if row["backend"] == "tensorrt"]
    assert {row["network"] for row in rows} == {"spatial", "temporal", "fusion"}
    assert all(row["ok"] for row in rows)


def test_build_fails_where_a_network_has_no_plan_at_all(machine: World, bundle: Bundle) -> None:
    machine.faults.build = "no"
    assert run("build", str(bundle.path), code=1).count("failed") == 4


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_gpu(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CudaUnavailable, match="NVIDIA driver"):
        run("build", str(bundle.path))
    with pytest.raises(EngineUnavailable, match="NVIDIA driver"):
        run("triton", str(tmp_path / "m"), "--bundle", str(bundle.path), "--form", "plan")


def test_triton(bundle: Bundle, tmp_path: Path) -> None:
    text = run("triton", str(tmp_path / "models"), "--bundle", str(bundle.path))
    parts = ("spatial", "temporal", "fusion", "join", "clip", "frame")
    assert ", ".join(f"tiny_{part}" for part in parts) + "; serve it with" in text
    assert (tmp_path / "models" / "tiny_clip" / "config.pbtxt").is_file()
