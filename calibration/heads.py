"""A bundle's heads made honest: calibrators, families and prediction sets for its manifest.

N faces, K labels, F families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.labels import labels_of
from ferstream.engines.manifest import Head, Manifest
from ferstream.engines.taxonomy import load_taxonomy, roll_up

from .outputs import photograph_logits, photograph_outputs
from .probability import LEAST, MOST, choose, cross_entropy, fit_each, softmax
from .reliability import fit_sets, least_rank, measure

Array = npt.NDArray[np.floating[Any]]

COVERAGE = 0.9
"""Of ten faces, so many have their label in the set that is named."""
FAMILY_NOTE = "derived: the 135 words' probabilities added up, calibrated on the raters' votes"


@dataclass(frozen=True)
class LabelledFaces:
    """What probabilities are fitted on; best data that the networks have not learned from."""

    crops: npt.NDArray[np.uint8]
    """(N, 1, S, S) aligned grey crops."""
    votes: Array
    """(N, 8) each row a distribution over the basic expressions."""
    label: npt.NDArray[np.int64]
    """(N,) what most raters say."""
    words: Array
    """(N, 135) of exclusive words a distribution; of others 1 for each word that was named."""
    word_weight: Array
    """(N,) how much a face says about the words; 0 where nobody judged them."""
    harder: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """The same crops spoiled, by corruption."""


def hold_enough(faces: LabelledFaces, coverage: float = COVERAGE) -> None:
    """Raises SamplesUnfit where the faces are too few for `calibrated`."""
    least_rank(len(faces.label), coverage)


def calibrated(bundle: Bundle, faces: LabelledFaces, coverage: float = COVERAGE) -> Manifest:
    """The bundle's manifest with calibrators and prediction sets fitted anew.

    Fitted to what the deployed engines give, quantized where they are. The basic expressions are
    fitted to the raters' majority, so that of ten faces given 0.7 seven are what most say.
    """
    manifest = bundle.manifest
    predicted = photograph_outputs(bundle, faces.crops)[0]
    basic8, emo135 = predicted["basic8"], predicted["emo135"]
    majority = np.eye(basic8.shape[1])[faces.label]
    chosen = choose(basic8, majority)
    fresh = {"basic8": chosen.calibrator}
    known = faces.word_weight > 0
    if manifest.head("emo135").kind == "independent":
        if known.any():
            fresh["emo135"] = fit_each(emo135[known], faces.words[known])
            if "fg33" in predicted:
                classes = np.minimum(faces.words[known] @ roll_up("emo135", "fg33"), 1)
                fresh["fg33"] = fit_each(predicted["fg33"][known], classes)
    elif known.any():
        # Such targets are labels shared out among words: one number is all they can bear.
        words = choose(
            emo135, faces.words, faces.word_weight, kinds=("temperature",), most_recall_lost=None
        )
        fresh["emo135"] = words.calibrator
    heads = []
    for head in manifest.heads:
        calibrator = fresh.get(head.name)
        if calibrator is None:
            heads.append(head)
        elif calibrator.kind == "temperature":
            value = round(1 / calibrator.scale[0], 4)
            heads.append(replace(head, temperature=value, calibrator=None))
        else:
            heads.append(replace(head, temperature=1.0, calibrator=calibrator))
    by_name = {head.name: head for head in heads}
    families = []
    if labels_of(manifest).are_built_in:
        families = [_family_head(by_name["emo135"].probabilities(emo135), faces)]
    sets = fit_sets(
        by_name["basic8"].probabilities(basic8),
        faces.label,
        coverage,
        harder=[
            by_name["basic8"].probabilities(photograph_logits(bundle, crops)[0])
            for crops in faces.harder.values()
        ],
    )
    others = tuple(head for head in heads if head.name != "family6")
    return replace(manifest, heads=(*others, *families), sets=sets)


def with_coverage(bundle: Bundle, faces: LabelledFaces) -> Manifest:
    """The manifest with its sets' coverage measured on these faces, clean and under corruption.

    Raises:
        ValueError: the bundle has no prediction sets.
    """
    sets = bundle.manifest.sets
    if sets is None:
        raise ValueError(f"bundle {bundle.manifest.name} has no prediction sets: calibrate it")
    head = bundle.manifest.head(sets.head)
    measured = {}
    for how, crops in {"as they are": faces.crops, **faces.harder}.items():
        found = measure(sets, head.probabilities(photograph_logits(bundle, crops)[0]), faces.label)
        measured[how] = {name: round(value, 4) for name, value in asdict(found).items()}
    return replace(bundle.manifest, sets=replace(sets, measured=measured))


def basic8_to_family() -> npt.NDArray[np.float32]:
    """(8, F): which family an expression belongs to; neutral to none, and none to love."""
    basic8, families = load_taxonomy("basic8"), load_taxonomy("family6").labels
    matrix = np.zeros((len(basic8.labels), len(families)), np.float32)
    for row, at in enumerate(basic8.family_of):
        if at >= 0:
            matrix[row, families.index(basic8.families[at])] = 1
    return matrix


def merged_love(probability_NF: Array) -> npt.NDArray[np.float64]:
    """Families with love counted as joy: raters had one word for both."""
    labels = load_taxonomy("family6").labels
    merged_NF = np.array(probability_NF, np.float64)
    merged_NF[:, labels.index("joy")] += merged_NF[:, labels.index("love")]
    merged_NF[:, labels.index("love")] = 0
    return merged_NF


def _family_head(words_NK: Array, faces: LabelledFaces) -> Head:
    """The families' head: logits are logarithms of the words' sums, at a temperature of its own."""
    share_NK = words_NK / np.maximum(words_NK.sum(axis=1, keepdims=True), 1e-9)
    log_NF = np.log(share_NK @ roll_up("emo135", "family6") + 1e-9)
    # What most raters say; a face whose label is neutral has no family and does not count.
    best_NF = basic8_to_family()[faces.label]
    shows_N = best_NF.sum(axis=1)

    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        merged_NF = merged_love(softmax(log_NF, float(np.exp(log_temperature))))
        return cross_entropy(merged_NF, best_NF, shows_N)

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    labels = load_taxonomy("family6").labels
    return Head("family6", labels, (), "derived", round(float(np.exp(found.x)), 4), FAMILY_NOTE)
