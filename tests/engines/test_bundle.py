"""Bundles: what is written is what is read, and nothing that was tampered with is opened."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.errors import (
    BundleCorrupt,
    BundleError,
    BundleMissing,
    BundleTooNew,
    ContractMismatch,
    EnginesError,
)
from ferstream.engines.manifest import NETWORKS, Crop, FaceNetworks

from . import tiny


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny.bundle(tmp_path / "tiny")


def rewrite(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    file = bundle.path / "manifest.json"
    document = json.loads(file.read_text("utf-8"))
    change(document)
    file.write_text(json.dumps(document), "utf-8")


def test_what_is_written_is_read(bundle: Bundle) -> None:
    again = load_bundle(bundle.path)
    assert again == bundle
    assert again.manifest == replace(tiny.manifest(), files=again.manifest.files)
    assert sorted(again.manifest.files) == sorted(
        ["spatial.onnx", "spatial.int8.onnx", "temporal.onnx", "fusion.onnx"]
    )
    assert again.precisions("spatial") == ("fp32", "int8")
    assert again.precisions("fusion") == ("fp32",)
    assert again.network_file("spatial", "int8") == bundle.path / "spatial.int8.onnx"
    assert again.network_file("fusion", "int8") is None
    assert again.size_bytes == sum(file.stat().st_size for file in bundle.path.iterdir())


def test_manifest_is_plain_json_with_its_schema_first(bundle: Bundle) -> None:
    document = json.loads((bundle.path / "manifest.json").read_text("utf-8"))
    assert next(iter(document)) == "schema"
    assert document["schema"] == 3
    assert document["heads"][0]["labels"][0] == "neutral"
    assert document["heads"][0]["families"][:2] == ["", "joy"]
    assert document["networks"]["spatial"]["inputs"][0]["shape"] == ["B", 1, 8, 8]


def test_head_by_name(bundle: Bundle) -> None:
    assert bundle.manifest.head("emo135").supervision == "weakly supervised"
    with pytest.raises(ContractMismatch, match="no head 'emo54'; it has basic8"):
        bundle.manifest.head("emo54")


def test_missing_bundle_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="ferstream train default") as caught:
        load_bundle(tmp_path / "nowhere")
    assert isinstance(caught.value, FileNotFoundError)
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_wrong_hash(bundle: Bundle) -> None:
    file = bundle.path / "fusion.onnx"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleCorrupt, match=r"fusion\.onnx has sha256"):
        load_bundle(bundle.path)


def test_missing_file(bundle: Bundle) -> None:
    (bundle.path / "temporal.onnx").unlink()
    with pytest.raises(BundleMissing, match=r"temporal\.onnx is listed .* not there"):
        load_bundle(bundle.path)


def test_newer_schema(bundle: Bundle) -> None:
    rewrite(bundle, lambda document: document.update(schema=4, clip_frames="of another kind"))
    with pytest.raises(BundleTooNew, match="schema 4, this program reads up to 3: update"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no manifest"),
        ("[]", "no manifest"),
        ('{"name": "x"}', "no manifest .'schema'"),
        ('{"schema": 1}', "field name: Field required"),
        ('{"schema": "1"}', "field name"),
        ("\x00\x01", "no manifest"),
    ],
)
def test_unreadable_manifest(bundle: Bundle, text: str, said: str) -> None:
    (bundle.path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(BundleCorrupt, match=said):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("clip_frames", "many", "field clip_frames: Input should be a valid integer"),
        ("crop", {"px": 8, "colour": "sepia", "template": "t"}, "field crop.colour"),
        ("fusion", {"weight": "half"}, "field fusion.weight"),
    ],
)
def test_malformed_field_is_named(bundle: Bundle, field: str, value: Any, said: str) -> None:
    rewrite(bundle, lambda document: document.update({field: value}))
    with pytest.raises(BundleCorrupt, match=said):
        load_bundle(bundle.path)


def test_stray_pickle_is_refused(bundle: Bundle) -> None:
    (bundle.path / "extra.pkl").write_bytes(pickle.dumps({"weights": [1]}))
    with pytest.raises(BundleCorrupt, match=r"extra\.pkl is not listed"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["extra.pkl", "../spatial.onnx", "/spatial.onnx", ".x.onnx"])
def test_listed_names_are_plain_onnx_files_within(bundle: Bundle, name: str) -> None:
    rewrite(bundle, lambda document: document["files"].update({name: "0"}))
    with pytest.raises(BundleCorrupt, match=r"leads out|no \.onnx file"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plans/nvidia-l4-sm89-trt10.16.1.11/spatial.fp32.plan", "compiled elsewhere.*remove"),
        ("plans/timing.cache", "compiled elsewhere"),
        (".weights/spatial.bin", "is not listed"),
        (".DS_Store", "is not listed"),
    ],
)
def test_compiled_and_hidden_files_are_refused(bundle: Bundle, name: str, words: str) -> None:
    stray = bundle.path / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"whatever")
    with pytest.raises(BundleCorrupt, match=words) as caught:
        load_bundle(bundle.path)
    assert "\n" not in str(caught.value)


def rename_output(document: dict[str, Any]) -> None:
    document["networks"]["spatial"]["outputs"][1]["name"] = "emotions"


def drop_network(document: dict[str, Any]) -> None:
    del document["networks"]["temporal"]


def shorten_labels(document: dict[str, Any]) -> None:
    head = document["heads"][1]
    head["labels"], head["families"] = head["labels"][:-1], head["families"][:-1]


def shorten_families(document: dict[str, Any]) -> None:
    document["heads"][0]["families"].pop()


def widen_feature(document: dict[str, Any]) -> None:
    document["networks"]["spatial"]["outputs"][0]["shape"][1] = 7


def flatten_feature(document: dict[str, Any]) -> None:
    for tensor in document["networks"]["fusion"]["inputs"]:
        tensor["shape"] = []


def flatten_words(document: dict[str, Any]) -> None:
    for tensor in document["networks"]["temporal"]["outputs"]:
        tensor["shape"] = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flatten_feature, "fusion takes no feature of a fixed size"),
        (flatten_words, r"temporal has basic8 float32\(\), expected"),
        (
            rename_output,
            "spatial takes crop and gives au, emo135, emotions, .* expected crop",
        ),
        (drop_network, "describes no network 'temporal'"),
        (shorten_labels, r"has emo135 float32\(B, 135\), expected emo135 float32\(B, 134\)"),
        (shorten_families, "8 labels, 7 families"),
        (widen_feature, r"spatial has feature float32\(B, 7\), expected feature float32\(B, 6\)"),
    ],
)
def test_manifest_that_does_not_fit_together(
    bundle: Bundle, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    rewrite(bundle, change)
    with pytest.raises(ContractMismatch, match=said):
        load_bundle(bundle.path)


def test_a_refused_bundle_leaves_the_old_one_in_place(bundle: Bundle) -> None:
    before = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    unfit = tiny.manifest(crop=Crop(16, "grey", "anchors"))
    files = {f"{name}.onnx": tiny.network(name) for name in tiny.SPECS}
    with pytest.raises(ContractMismatch):
        write_bundle(bundle.path, unfit, files)
    with pytest.raises(BundleMissing, match=r"lists no fusion\.onnx"):
        write_bundle(bundle.path, tiny.manifest(), {"spatial.onnx": b"", "temporal.onnx": b""})
    assert {file.name: file.read_bytes() for file in bundle.path.iterdir()} == before
    assert [entry.name for entry in bundle.path.parent.iterdir()] == ["tiny"]


def test_a_new_bundle_replaces_the_old_one(bundle: Bundle) -> None:
    files = {f"{name}.onnx": tiny.network(name, seed=1) for name in tiny.SPECS}
    fresh = write_bundle(bundle.path, tiny.manifest(version="2"), files)
    assert load_bundle(bundle.path) == fresh != bundle
    assert fresh.precisions("spatial") == ("fp32",)
    assert [entry.name for entry in bundle.path.parent.iterdir()] == ["tiny"]


def test_colour_crops_have_three_channels(tmp_path: Path) -> None:
    colour = Crop(tiny.CROP_PX, "rgb", "anchors")
    with pytest.raises(ContractMismatch, match=r"crop uint8\(B, 3, 8, 8\)"):
        tiny.bundle(tmp_path / "rgb", crop=colour)
    assert contract.spatial(4, channels=3).inputs[0].shape == ("B", 3, 48, 48)


FACES = FaceNetworks(5, 8, {}, short_of=("too young",))
FINDING = {"detector": contract.detector(), "landmarks": contract.landmarks(5, crop_px=8)}


def with_faces(path: Path, faces: FaceNetworks | None = FACES, **networks: Any) -> Bundle:
    files = {f"{name}.onnx": tiny.network(name) for name in tiny.SPECS}
    files |= {f"{name}.int8.onnx": tiny.network("temporal") for name in FINDING}
    described = {**tiny.SPECS, **FINDING, **networks}
    made = {name: spec for name, spec in described.items() if spec is not None}
    return write_bundle(path, tiny.manifest(networks=made, faces=faces), files)


def test_networks_that_find_faces_are_there_in_any_form_or_not_at_all(
    bundle: Bundle, tmp_path: Path
) -> None:
    assert bundle.manifest.faces is None and bundle.manifest.held == NETWORKS
    more = load_bundle(with_faces(tmp_path / "more").path)
    assert more.manifest.faces == FACES
    assert more.manifest.held == (*NETWORKS, "detector", "landmarks")
    assert more.precisions("landmarks") == ("int8",) and not more.suits_gpu("landmarks")
    assert more.suits_gpu("fusion")
    rewrite(bundle, lambda document: document.update(schema=2))
    assert load_bundle(bundle.path).manifest.faces is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"faces": None}, "has a network 'detector' and says nothing of `faces`"),
        ({"landmarks": None}, "describes no network 'landmarks'"),
        ({"landmarks": contract.landmarks(6, crop_px=8)}, r"points float32\(B, 6, 2\), expected"),
        ({"landmarks": contract.landmarks(5, crop_px=9)}, r"crop uint8\(B, 1, 9, 9\), expected"),
        ({"faces": replace(FACES, least_score=2.0)}, "faces.least_score"),
    ],
)
def test_networks_that_find_faces_fit_what_is_said_of_them(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises((ContractMismatch, BundleCorrupt), match=said):
        with_faces(tmp_path / "odd", **change)


def test_one_network_that_finds_faces_is_not_enough(tmp_path: Path) -> None:
    bundle = with_faces(tmp_path / "half")
    (bundle.path / "detector.int8.onnx").unlink()
    with pytest.raises(BundleMissing, match=r"detector\.int8\.onnx is listed"):
        load_bundle(bundle.path)
    rewrite(bundle, lambda document: document["files"].pop("detector.int8.onnx"))
    with pytest.raises(BundleMissing, match=r"lists no detector\.onnx and no other form"):
        load_bundle(bundle.path)


def test_errors_are_one_tree() -> None:
    assert all(issubclass(e, BundleError) for e in (BundleMissing, BundleCorrupt, BundleTooNew))
    assert all(issubclass(e, EnginesError) for e in (BundleError, ContractMismatch))
    assert all(issubclass(e, ValueError) for e in (BundleCorrupt, ContractMismatch))
