"""Answers of trained bundles as labels: beside people's and the judge's (distillation), or where
there are none.

One rater, or one pass of a judge, is a noisy label of a face. What networks that learned from all
faces say of it is steadier, so a share of it joins the label: basic expressions join the votes,
words and affect the judgements. Faces that nobody judged get the teachers' words alone, and count
by that share. After Hinton et al. 2015, section 2, at temperature 1. Faces without action units get
the blendshapes that a bundle tells of them.

N faces, K expressions, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rich.progress import track

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import open_engine

from .data.augment import CROP_PX
from .data.learning_faces import LearningFaces
from .data.synthetic.action_units import ARKIT_NAMES
from .errors import OptionsWrong

Floats = npt.NDArray[np.float32]
BATCH = 64
WORDS, AFFECT = "emo135", "affect"


@dataclass(frozen=True)
class Answers:
    """What bundles say of N faces, in the mean: basic (N, K) probabilities; words (N, W), each on
    its own, and affect (N, 3), None where no bundle learned them from judged faces."""

    basic: Floats
    words: Floats | None
    affect: Floats | None


def taught(faces: LearningFaces, teachers: Sequence[str], share: float) -> LearningFaces:
    """The faces with a share (0..1) of the teachers' answers in their labels.

    Raises:
        BundleMissing, BundleCorrupt: see `engines.bundle.load_bundle`.
        OptionsWrong: a bundle tells other expressions than the faces' labels.
    """
    bundles = [load_bundle(name) for name in teachers]
    for bundle in bundles:
        told = bundle.manifest.head("basic8").labels
        if told != faces.labels:
            raise OptionsWrong(
                f"bundle {bundle.manifest.name} tells {', '.join(told)}; it cannot teach faces "
                f"of {', '.join(faces.labels)}"
            )
    answers = answers_of(bundles, faces)
    changed = replace(faces, target=_mixed(faces.target, answers.basic, share))
    if answers.words is None or answers.affect is None or faces.words is None:
        return changed
    assert faces.affect is not None and faces.judge is not None, "words come with both"
    judged = faces.judge.any(axis=1, keepdims=True)
    return replace(
        changed,
        words=np.where(judged, _mixed(faces.words, answers.words, share), answers.words),
        affect=np.where(judged, _mixed(faces.affect, answers.affect, share), answers.affect),
        judge=np.where(judged, faces.judge, np.float32(share) * answers.basic),
    )


def with_blendshapes(faces: LearningFaces, teacher: str = "default") -> LearningFaces:
    """The faces with the blendshapes that a bundle's network estimates, no annotation.

    Raises:
        BundleMissing, BundleCorrupt: see `engines.bundle.load_bundle`.
        OptionsWrong: the bundle tells no blendshapes.
    """
    bundle = load_bundle(teacher)
    if bundle.manifest.head("au").labels != ARKIT_NAMES:
        raise OptionsWrong(
            f"bundle {bundle.manifest.name} tells no blendshapes to learn units from"
        )
    return replace(faces, blendshapes=_outputs(bundle, faces)["au"])


def answers_of(bundles: Sequence[Bundle], faces: LearningFaces) -> Answers:
    """The means of what each bundle's spatial network says of each face, as run time crops it."""
    basic, words, affect = [], [], []
    for bundle in bundles:
        outputs = _outputs(bundle, faces)
        basic.append(_softmax(outputs["basic8"]))
        if any(head.name == WORDS and head.kind == "independent" for head in bundle.manifest.heads):
            words.append(1 / (1 + np.exp(-outputs[WORDS])))
            affect.append(outputs[AFFECT])
    return Answers(_mean(basic), *(_mean(part) if part else None for part in (words, affect)))


def _outputs(bundle: Bundle, faces: LearningFaces) -> dict[str, Floats]:
    engine = open_engine(bundle, "spatial", backend="onnxruntime", precision="fp32")
    told: dict[str, list[Floats]] = {}
    label = f"Answers of {bundle.manifest.name}"
    for start in track(range(0, len(faces), BATCH), label):
        rows = range(start, min(start + BATCH, len(faces)))
        crops = np.stack([faces.crop(row, CROP_PX) for row in rows])[:, None]
        for name, value in engine.run({"crop": crops}).items():
            told.setdefault(name, []).append(value)
    return {name: np.concatenate(parts) for name, parts in told.items()}


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def _mean(parts: list[Floats]) -> Floats:
    return np.asarray(np.mean(parts, axis=0), np.float32)


def _mixed(label: Floats, answer: Floats, share: float) -> Floats:
    return np.asarray((1 - share) * label + share * answer, np.float32)
