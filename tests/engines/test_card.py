"""The model card says what the manifest says, and what no manifest may leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferstream.engines.bundle import load_bundle
from ferstream.engines.calibrator import PredictionSets
from ferstream.engines.card import AI_ACT, MEANING, card
from ferstream.engines.cli import app
from ferstream.engines.errors import BundleMissing

from . import tiny

SECTIONS = [
    "What the numbers mean",
    "What it knows, and how it was taught",
    "How well it does",
    "Intended use",
    "Not to be used for",
    "Limits",
    "The law of the European Union",
    "Training data and licence",
    "How it works",
]


def sections(text: str) -> dict[str, str]:
    head, *parts = text.split("\n## ")
    found = {"": head}
    for part in parts:
        name, _, body = part.partition("\n")
        found[name] = body.strip()
    return found


def test_every_section_is_there_in_order() -> None:
    text = card(tiny.manifest())
    found = sections(text)
    assert list(found) == ["", *SECTIONS]
    assert all(found.values())
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert text.startswith("# Model card: tiny 1\n")


def test_the_law_is_named_with_its_dates() -> None:
    found = sections(card(tiny.manifest()))
    assert found["The law of the European Union"] == AI_ACT
    for word in ("2024/1689", "Art. 5(1)(f)", "2 February 2025", "Art. 50(3)", "2 August 2026"):
        assert word in AI_ACT
    assert found["What the numbers mean"] == MEANING


def test_heads_say_how_they_were_taught() -> None:
    text = sections(card(tiny.manifest()))["What it knows, and how it was taught"]
    assert "| basic8 | 8 | **trained** |" in text
    assert "| emo135 | 135 | **weakly supervised** |" in text
    assert "*derived*: computed from another list" in text


def test_figures_of_any_shape() -> None:
    measured = {
        "data": "a set | of\nfaces",
        "engine": "onnxruntime",
        "basic8": {"n": 3552, "top1": 0.8353, "kl": 0.329, "recall": {"fear": 0.5, "anger": 0.9}},
        "speed": {"frames_per_s": 120.5, "steady": True},
    }
    found = sections(card(tiny.manifest(measured=measured)))
    text = found["How well it does"]
    assert text.startswith("Data: a set | of faces; engine: onnxruntime.")
    for row in (
        "| samples | 3,552 |",
        "| top-1 accuracy | 83.5 % |",
        "| divergence from the raters' votes (KL) | 0.329 nats |",
        "| recall: fear | 50.0 % |",
        "| frames per s | 120.500 |",
        "| steady | True |",
    ):
        assert row in text.splitlines()
    assert "Recognised worst, by recall: fear (50 %), anger (90 %)." in found["Limits"]


def test_nothing_measured_is_said() -> None:
    manifest = tiny.manifest(measured={}, training_data="", licence=" ")
    found = sections(card(manifest))
    assert found["How well it does"] == "Nothing was measured."
    assert "Training data: not stated" in found["Training data and licence"]
    assert "Licence: not stated" in found["Training data and licence"]


def test_text_of_a_strange_manifest_is_no_markup() -> None:
    manifest = tiny.manifest(name="<script>x</script>", licence="a|b\n<img src=x>")
    head = replace(manifest.heads[0], note="x | <b>\n\n# y")
    text = card(replace(manifest, heads=(head, *manifest.heads[1:])))
    assert "<script" not in text and "<img" not in text and "<b>" not in text
    assert "\n# y" not in text
    assert "x \\| &lt;b&gt; # y |" in text


def test_the_command_prints_it(tmp_path: Path) -> None:
    bundle = tiny.bundle(tmp_path / "tiny")
    result = CliRunner().invoke(app, ["card", str(bundle.path)])
    assert result.exit_code == 0
    assert result.stdout == card(bundle.manifest)
    assert f"`{bundle.manifest.files['fusion.onnx'][:16]}`" in result.stdout


def test_the_default_bundles_card() -> None:
    try:
        manifest = load_bundle().manifest
    except BundleMissing:
        pytest.skip("no default bundle in this checkout")
    found = sections(card(manifest))
    assert "FER2013" in found["Training data and licence"]
    assert "top-1 accuracy" in found["How well it does"]
    assert "weakly supervised" in found["Limits"]


def test_what_prediction_sets_promise_and_keep() -> None:
    measured = {"under | blur": {"covered": 0.904, "size": 2.39, "single": 0.21}, "odd": {}}
    sets = PredictionSets("basic8", 0.9, 0.99, 0.01, 1, measured)
    text = card(replace(tiny.manifest(), sets=sets))
    assert "90 % of faces" in text and "90.4 % | 2.39 | 21 %" in text
    assert "under \\| blur" in text and "odd" not in text
    assert "one_of" not in card(tiny.manifest())


def test_machine_judgements_are_called_so() -> None:
    plain = tiny.manifest()
    words = replace(plain.head("emo135"), supervision="machine-judged")
    heads = tuple(words if head.name == "emo135" else head for head in plain.heads)
    measured = {
        "words": {"n": 964, "first_in_top10": 0.87},
        "affect": {"valence_ccc": 0.82},
        "fairface": {"age": {"60-69": {"basic_top1": 0.7}}},
    }
    found = sections(card(replace(plain, heads=heads, measured=measured)))
    taught = found["What it knows, and how it was taught"]
    assert "| emo135 | 135 | **machine-judged** |" in taught
    assert "a vision-language model said of each face, not people" in taught
    assert "emo135 learned from a vision-language model's judgements" in found["Limits"]
    assert "By how much was not measured" not in found["Limits"]
    told = found["How well it does"]
    assert "| the judge's first word is among our ten | 87.0 % |" in told
    assert "| agreement on valence (CCC) | 0.820 |" in told
    assert "| age: 60-69: top-1 accuracy of the basic expression | 70.0 % |" in told
