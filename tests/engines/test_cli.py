"""`ferstream bundle`: what each command prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.cli import app
from ferstream.engines.engine import present_backends
from ferstream.engines.errors import BundleMissing

from . import tiny


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_info_names_the_heads_and_how_they_were_learned(bundle: Bundle) -> None:
    text = run("info", str(bundle.path))
    assert "weakly supervised" in text
    assert "spatial fp32, int8; temporal fp32; fusion fp32" in text


def test_info_json_is_the_manifest(bundle: Bundle) -> None:
    document = json.loads(run("info", str(bundle.path), "--json"))
    assert document.pop("path") == str(bundle.path)
    assert document == bundle.manifest.to_json()


def test_check_passes_on_every_form_and_backend(bundle: Bundle) -> None:
    document = json.loads(run("check", str(bundle.path), "--json"))
    assert document["ok"]
    assert len(document["networks"]) == 4 * len(present_backends())
    assert max(row["difference"] or 0 for row in document["networks"]) < 1e-4
    assert "ok" in run("check", str(bundle.path))


def test_check_fails_on_a_network_that_is_another(tmp_path: Path) -> None:
    files = {f"{name}.onnx": tiny.network(name) for name in tiny.SPECS}
    files["fusion.onnx"] = tiny.network("temporal")
    bad = write_bundle(tmp_path / "bad", tiny.manifest(), files)
    document = json.loads(run("check", str(bad.path), "--json", code=1))
    failed = {row["network"] for row in document["networks"] if not row["ok"]}
    assert failed == {"fusion"}
    assert "takes motion" in run("check", str(bad.path), code=1)


def test_no_bundle_raises_for_the_command_line_to_tell(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing):
        run("info", str(tmp_path))


def test_default_bundle_is_sound_and_small() -> None:
    try:
        bundle = load_bundle()
    except BundleMissing:
        pytest.skip("no default bundle in this checkout")
    assert bundle.size_bytes <= 12e6
    assert json.loads(run("check", "--json"))["ok"]
    assert bundle.manifest.head("basic8").supervision == "trained"
    assert bundle.manifest.head("emo135").supervision == "machine-judged"
    assert bundle.manifest.training_data
    assert bundle.manifest.licence
