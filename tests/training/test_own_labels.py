"""A bundle that speaks in labels of its own plays everywhere: five words, from training on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream.demo.live.live import words as panel_words
from ferstream.demo.view import MomentSink, document
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.labels import BUILT_IN, labels_of
from ferstream.stream.emotions import colour_of, own_colours, to_hex
from ferstream.stream.outputs import Outputs
from ferstream.stream.recognize import Recognizer
from ferstream.stream.run import run
from ferstream.stream.sinks.base import Sink
from ferstream.stream.sinks.rows import row_schema
from ferstream.stream.sinks.tally import TallySink
from ferstream.stream.sources.sample import SampleSource
from ferstream.training import cli
from ferstream.training.datasets.label_lists import lists_for, read_taxonomy
from ferstream.training.errors import OptionsWrong
from ferstream.training.exporting.export import export
from tests.training.conftest import lightning_warns
from tests.training.learning.test_draws import write_prepared
from tests.training.toy_runs import train_toy

from ..stream import serving

jsonschema = pytest.importorskip("jsonschema", reason="it holds the rows to their schema")

FAMILIES = {
    "neutral": None,
    "focused": "calm",
    "bored": "flat",
    "lost": None,
    "keen": "calm",
    "playful": "bright side",
}
COLOURS = {"calm": "#3366cc", "lost": "#112233"}
WORDS = tuple(name for name in FAMILIES if name != "neutral")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Learned from noise, with a taxonomy file."""
    folder = tmp_path_factory.mktemp("own")
    faces = write_prepared(folder / "faces", ["train"] * 48 + ["validation"] * 24, list(FAMILIES))
    taxonomy = folder / "mine.json"
    taxonomy.write_text(json.dumps({"labels": FAMILIES, "colours": COLOURS}))
    toy: dict[str, Any] = {"faces": str(faces), "taxonomy": str(taxonomy), "epochs": 1}
    with lightning_warns():
        train_toy(folder / "run", "nowhere", **toy)
    made = export(folder / "run", folder / "bundle", None)[0]
    assert made.manifest.measured["basic8"]["n"] > 0
    return made


@pytest.fixture(scope="module")
def recognizer(bundle: Bundle) -> Recognizer:
    return Recognizer(bundle, backend="onnxruntime")


def test_the_manifest_says_all_of_it(bundle: Bundle) -> None:
    labels = labels_of(load_bundle(bundle.path).manifest)
    assert (labels.basic.labels, labels.words.labels) == (tuple(FAMILIES), WORDS)
    assert labels.words.families == ("calm", "flat", "bright side")
    assert [labels.family(word) for word in WORDS] == [FAMILIES[word] or "" for word in WORDS]
    assert to_hex(colour_of("keen", labels)) == COLOURS["calm"]
    assert to_hex(colour_of("lost", labels)) == COLOURS["lost"]
    assert len({colour_of(name, labels) for name in FAMILIES}) == 5, "of six, two are of one family"


def test_every_output_speaks_it(recognizer: Recognizer, tmp_path: Path) -> None:
    names = ("o.jsonl", "o.csv", "o.vtt", "o.eaf", "o.boris", "o.mp4", "w.jsonl")
    outputs = Outputs(
        to=tuple(str(tmp_path / name) for name in names[:-1]), columns=("words", "fg33")
    )
    windows = Outputs(to=(str(tmp_path / "w.jsonl"),), rows="windows", window_s=0.5)
    tally = TallySink()
    sinks: list[Sink] = [tally]
    for one in (outputs, windows):
        (places,) = one.for_sources(["sample"])
        sinks += one.sinks(places, print, live=False)
    run(SampleSource(), recognizer, sinks)
    schema = jsonschema.Draft202012Validator(row_schema(recognizer.labels))
    for name in ("o.jsonl", "w.jsonl"):
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert len(rows) > 2
        assert [e.message for row in rows for e in schema.iter_errors(row)] == []
    with (tmp_path / "o.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {f"basic8_{name}" for name in FAMILIES} | {"family_bright side", "word_keen"} <= {
        *table[0]
    }
    assert {row["top1"] for row in table if row["success"] == "1"} <= {*WORDS}
    assert "fg33" not in "".join(table[0]) and "joy" not in "".join(table[0])
    assert "::cue(.bright_side)" in (tmp_path / "o.vtt").read_text()
    assert all((tmp_path / name).stat().st_size for name in names)
    (face,) = tally.faces()
    assert face.label in FAMILIES and len(face.ranked) == len(WORDS)


def test_the_service_and_the_page_show_it(recognizer: Recognizer) -> None:
    pictures = serving.jpegs(10)
    with serving.served(recognizer) as service, service.client() as client:
        answer = client.post("/v1/image", content=pictures[0]).json()
    (face,) = answer["faces"]
    assert list(face["basic8"]) == list(FAMILIES) and len(face["top"]) == len(WORDS)
    moments, tally = MomentSink(recognizer.labels), TallySink()
    run(SampleSource(), recognizer, [moments, tally])
    shown = document(moments, tally.faces(), recognizer.labels)
    assert shown["legend"]["words"] == list(WORDS)
    assert shown["legend"]["colours"]["calm"] == COLOURS["calm"]
    assert set(shown["legend"]["colours"]) == {"calm", "flat", "bright side", "lost"}
    assert own_colours(BUILT_IN) == {}, "the style sheets have these, for light and dark"
    told = panel_words({}, recognizer.labels)
    assert told["families"] == ["calm", "flat", "bright side"]


def test_other_labels_cannot_be_measured_on_these(bundle: Bundle) -> None:
    with pytest.raises(ContractMismatch, match="labels of its own \\(neutral, focused"):
        cli.evaluate(str(bundle.path))


def test_labels_that_no_list_knows_stand_beside_the_others() -> None:
    lists = lists_for(("neutral", "happiness", "hunger"))
    assert lists.basic.labels == (*BUILT_IN.basic.labels, "hunger")
    assert lists.words.labels == (*BUILT_IN.words.labels, "hunger")
    assert lists.own == ("hunger",) and lists.words_KW[0].sum() == 0
    np.testing.assert_array_equal(lists.basic_KB.argmax(axis=1), [0, 1, 8])
    assert lists.words_KW[2, -1] == 1 and lists.words_KW[1, -1] == 0
    alone = lists_for(("neutral", "keen", "lost"))
    assert alone.words.labels == ("keen", "lost") and alone.own == alone.labels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"labels": {"keen": 3}}', "labels.keen: Input should be a valid string"),
        ('{"labels": {"keen": null}, "colours": {"keen": "blue"}}', "colours.keen"),
        ('{"words": {}}', "labels: Field required"),
        ('{"labels": {"keen": null}}', "the data's lost are not in it"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_file_is_one_line(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionsWrong) as caught:
        lists_for(("keen", "lost"), str(path))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    faces = write_prepared(tmp_path / "faces", ["train"] * 20 + ["test"] * 6)
    (tmp_path / "mine.json").write_text('{"labels": {"keen": null}}')
    with pytest.raises(OptionsWrong, match="anger"):
        train_toy(
            tmp_path / "run", "nowhere", faces=str(faces), taxonomy=str(tmp_path / "mine.json")
        )
    assert not (tmp_path / "run").exists()
    assert read_taxonomy(str(tmp_path / "mine.json")).labels == {"keen": None}
