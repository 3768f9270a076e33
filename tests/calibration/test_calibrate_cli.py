"""`ferstream calibrate` from the command line, on drawn faces, without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ferstream
from ferstream.engines.bundle import Bundle, load_bundle
from tests.training.layout import write_layout

from . import small

EASY = ["--top1", "1", "--macro-recall", "1", "--ece", "1", "--kl", "9", "--overlap", "0"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        ferstream.main(["calibrate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_int8_is_written_with_a_page(
    bundle: Bundle, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "int8.html", tmp_path / "out"
    code, text, _ = run(
        capsys,
        *("int8", bundle.path, "--data", faces_dir, "--network", "spatial", "--out", out),
        *("--samples", 500, "--report", page, "--speedup", 0, "--json", *EASY),
    )
    document = json.loads(text)
    assert code == 0 and document["written"] == str(out)
    (row,) = document["networks"]
    assert row["samples"] == 500 and len(row["fingerprint"]) == 64 and row["gate"]["speed"]
    assert {layer["layer"] for layer in row["layers"]} == {"first", "second"}
    assert load_bundle(out).precisions("spatial") == ("fp32", "int8")
    assert load_bundle(bundle.path).precisions("spatial") == ("fp32",)
    html = page.read_text()
    assert row["fingerprint"] in html and html.count("data:image/svg+xml;base64,") == 1
    assert "http://" not in html and "https://" not in html and "<script" not in html


def test_the_same_seed_gives_the_same_file(
    bundle: Bundle, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            capsys,
            *("int8", bundle.path, "--data", faces_dir, "--network", "spatial", "--seed", seed),
            *("--samples", 500, "--out", tmp_path / name, "--speedup", 0, *EASY),
        )
        hashes.append(load_bundle(tmp_path / name).manifest.files["spatial.int8.onnx"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_refused_form_is_said_in_one_line_and_fails(
    bundle: Bundle, faces_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle.path / "manifest.json").stat()
    code, text, _ = run(
        capsys,
        *("int8", bundle.path, "--data", faces_dir, "--network", "spatial", "--samples", 500),
        *("--speedup", "1000", *EASY),
    )
    first, *rest = text.splitlines()
    assert code == 1 and first.startswith("spatial in int8 is refused: ")
    assert "1000 times is asked for" in first and rest == [f"{bundle.path} stays as it was"]
    assert (bundle.path / "manifest.json").stat() == before


def test_fp16_of_the_spatial_network(
    bundle: Bundle, faces_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = run(
        capsys,
        *("fp16", bundle.path, "--data", faces_dir, "--network", "spatial"),
        *("--target", "tensorrt"),
    )
    assert code == 0 and "spatial in fp16 is taken: speed not judged here" in text
    assert load_bundle(bundle.path).precisions("spatial") == ("fp32", "fp16")


def test_too_few_faces_are_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layout(tmp_path / "few", per_class=4)
    for command in ("int8", "fp16", "probabilities"):
        code, out, err = run(capsys, command, bundle.path, "--data", tmp_path / "few")
        assert code == 1 and not out
        assert err.startswith("ferstream: 32 samples are too few to calibrate on, 500 are needed")
        assert err.count("\n") == 1


def test_faces_of_one_kind_are_refused(
    bundle: Bundle, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "one" / "fer2013plus"
    place.mkdir(parents=True)
    for file in (faces_dir / "fer2013plus").iterdir():
        (place / file.name).symlink_to(file)
    labels = dict(np.load(place / "labels.npz"))
    labels["votes"] = np.tile(np.eye(10, dtype=np.uint8)[3] * 9, (len(labels["votes"]), 1))
    (place / "labels.npz").unlink()
    np.savez(place / "labels.npz", **labels)
    code, _, err = run(capsys, "int8", bundle.path, "--data", tmp_path / "one")
    assert code == 1 and "samples are of one class" in err and err.count("\n") == 1


def test_nan_is_said(faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = small.bundle(tmp_path / "broken", broken=float("nan"))
    code, _, err = run(
        capsys, "int8", broken.path, "--data", faces_dir, "--network", "spatial", "--samples", 500
    )
    assert code == 1 and "gives NaN or infinity" in err and err.count("\n") == 1


def test_probabilities_are_fitted_anew(
    bundle: Bundle, faces_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = run(
        capsys, "probabilities", bundle.path, "--data", faces_dir, "--coverage", 0.8, "--json"
    )
    assert code == 0
    rows = {row["head"]: row for row in json.loads(text)["heads"]}
    assert set(rows) == {"basic8", "emo135", "fg33", "au", "family6"}
    manifest = load_bundle(bundle.path).manifest
    assert manifest.sets is not None and manifest.sets.coverage == 0.8
    assert manifest.head("basic8") != bundle.manifest.head("basic8")
    assert manifest.files == bundle.manifest.files


def test_no_such_network(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "int8", bundle.path, "--network", "eyes")
    assert code == 2 and "no network 'eyes'" in err


BLOCKED = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "lightning", "torchmetrics"):
                raise ImportError(f"{name} is blocked")

    sys.meta_path.insert(0, Blocked())
    import ferstream
    for line in LINES:
        try:
            ferstream.main(["calibrate", *line])
        except SystemExit as ended:
            assert not ended.code, (line, ended.code)
    assert "torch" not in sys.modules
"""


def test_nothing_needs_pytorch(bundle: Bundle, faces_dir: Path, tmp_path: Path) -> None:
    """The check on the default bundle, the only one with the usual size of crops: clips too."""
    few = str(write_layout(tmp_path / "few", per_class=6))
    page = str(tmp_path / "check.html")
    here: list[str] = [str(bundle.path), "--data", str(faces_dir)]
    lower = ["--network", "spatial", "--samples", "500", "--target", "tensorrt", *EASY]
    lines = [
        [*("check", "default", "--data", few, "--report", page), "--clips=12", "--resamples=20"],
        ["probabilities", *here],
        ["fp16", *here, *lower],
        ["int8", *here, *lower],
    ]
    source = textwrap.dedent(BLOCKED).replace("LINES", repr(lines))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Clips: in motion" in done.stdout
    assert load_bundle(bundle.path).precisions("spatial") == ("fp32", "fp16", "int8")
    html = Path(page).read_text()
    assert html.count("data:image/svg+xml;base64,") == 4
    assert "http" not in html and "<script" not in html
