"""What a training takes from finished bundles: weights to begin with, answers to learn from.

Training that begins with a bundle's spatial network, so that learning more costs little.

Answers of trained bundles as labels: beside people's and the judge's (distillation), or where
there are none.

One rater, or one pass of a judge, is a noisy label of a face. What networks that learned from all
faces say of it is steadier, so a share of it joins the label: basic expressions join the votes,
words and affect the judgements. Faces that nobody judged get the teachers' words alone, and count
by that share. After Hinton et al. 2015, section 2, at temperature 1. Faces without action units get
the blendshapes that a bundle tells of them.

N faces, K expressions, W words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from rich.progress import track
from torch import Tensor, nn

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.views import Reading, Views

from ..datasets.augment import CROP_PX
from ..datasets.learning_faces import LearningFaces
from ..datasets.synthetic.expressions import ARKIT_NAMES
from ..errors import OptionsWrong
from ..networks.compact_msau import CompactMSAU
from ..networks.fusion import CascadedAttention

SAMPLE = 512
"""Faces whose activations tell the folded normalisations' statistics."""
_RENAMED = (
    (r"^network\.coarse\.([0-3])\.", r"body.early.\1."),
    (r"^network\.coarse\.4\.", "body.late.0."),
    (r"^network\.coarse\.5\.", "body.late.1."),
    (r"^network\.(stem|regions|squeeze|full|fine)\.", r"body.\1."),
    (r"^network\.basic8\.", "head."),
    (r"^network\.action_units\.", "blendshapes."),
    (r"^network\.", ""),
    (r"^body\.fine\.([0-9])\.weight_bias", r"body.fine.\1.weight_bias"),
)
"""Names of weights in a bundle's spatial.onnx, also of version 0.1, to the module's."""


def start_from_bundle(network: CompactMSAU, bundle: str, faces: LearningFaces) -> None:
    """Put a bundle's spatial weights into a network; heads that the bundle lacks stay as they are.

    Export folds normalisations into the convolutions before them, which training needs apart: each
    gets the mean and deviation that its inputs have on some of the faces, and a scale and shift
    that give back exactly what the bundle computes.

    Raises:
        BundleMissing, BundleCorrupt: see `engines.bundle.load_bundle`.
        OptionsWrong: the bundle's spatial network is another one.
    """
    opened = load_bundle(bundle)
    path = opened.network_file("spatial")
    assert path is not None, "a verified bundle has its networks"
    weights = _weights(onnx.load(str(path)))
    state = network.state_dict()
    biases: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith(".weight_bias"):
            biases[name.removesuffix(".weight_bias")] = value
        elif name in state and state[name].shape == value.shape:
            state[name] = value
    lacking = [
        name
        for name, parameter in network.body.named_parameters()
        if f"body.{name}" not in weights and not _normalises(network, f"body.{name}")
    ]
    if lacking:
        raise OptionsWrong(
            f"bundle {opened.manifest.name}: its spatial network has no {lacking[0]}, so it is not "
            "the one that `ferstream train compact` makes"
        )
    network.load_state_dict(state)
    _unfold(network, biases, faces)


def attention_from_bundle(attention: CascadedAttention, bundle: str) -> None:
    """Put the weights of a bundle's attention into one.

    Raises:
        BundleMissing, BundleCorrupt: see `engines.bundle.load_bundle`.
        OptionsWrong: the bundle's fusion network has another attention, or none.
    """
    opened = load_bundle(bundle)
    path = opened.network_file("fusion")
    assert path is not None, "a verified bundle has its networks"
    weights = _weights(onnx.load(str(path)))
    found = {name.removeprefix("attend."): value for name, value in weights.items()}
    state = attention.state_dict()
    if any(name not in found or found[name].shape != state[name].shape for name in state):
        raise OptionsWrong(
            f"bundle {opened.manifest.name}: its fusion network has no attention of "
            f"{len(attention.kernel)} features"
        )
    attention.load_state_dict({name: found[name] for name in state})


def _weights(model: onnx.ModelProto) -> dict[str, Tensor]:
    found = {}
    for initializer in model.graph.initializer:
        name = initializer.name.removesuffix(".half")
        for pattern, new in _RENAMED:
            changed = re.sub(pattern, new, name)
            if changed != name:
                name = changed
                break
        array = numpy_helper.to_array(initializer)
        if array.dtype in (np.float16, np.float32):
            found[name] = torch.from_numpy(array.astype(np.float32))
    return found


def _normalises(network: nn.Module, name: str) -> bool:
    module = network.get_submodule(name.rpartition(".")[0])
    return isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))


@torch.no_grad()
def _unfold(network: CompactMSAU, biases: dict[str, Tensor], faces: LearningFaces) -> None:
    """Statistics, scales and shifts of the normalisations whose convolution has a folded bias."""
    folded = {_norm_of(network, name): bias for name, bias in biases.items()}
    hooks = []

    def measured(bias: Tensor) -> object:
        def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
            axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
            mean, variance = inputs[0].mean(axes), inputs[0].var(axes, unbiased=False)
            norm.running_mean.copy_(mean)  # type: ignore[operator]
            norm.running_var.copy_(variance)  # type: ignore[operator]
            norm.weight.copy_((variance + norm.eps).sqrt())  # type: ignore[operator]
            norm.bias.copy_(mean + bias)  # type: ignore[operator]

        return look

    for norm, bias in folded.items():
        hooks.append(norm.register_forward_pre_hook(measured(bias)))  # type: ignore[arg-type]
    rows = np.linspace(0, len(faces) - 1, min(SAMPLE, len(faces))).astype(np.int64)
    crops = np.stack([faces.crop(int(row), CROP_PX) for row in rows])[:, None]
    network.eval()(torch.from_numpy(crops))
    for hook in hooks:
        hook.remove()
    network.train()


def _norm_of(network: CompactMSAU, layer: str) -> nn.Module:
    """The normalisation behind a layer: the next of a sequence, or the block's of its number."""
    parent, _, last = layer.rpartition(".")
    if last.startswith("conv"):
        return network.get_submodule(f"{parent}.norm{last.removeprefix('conv')}")
    return network.get_submodule(f"{parent}.{int(last) + 1}")


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
    return replace(faces, blendshapes=_outputs(bundle, faces, Reading.AS_IS)["au"])


def answers_of(bundles: Sequence[Bundle], faces: LearningFaces) -> Answers:
    """The means of what each bundle's spatial network says of each face, as run time crops it."""
    basic, words, affect = [], [], []
    for bundle in bundles:
        outputs = _outputs(bundle, faces, Reading.BOTH)
        basic.append(_softmax(outputs["basic8"]))
        if any(head.name == WORDS and head.kind == "independent" for head in bundle.manifest.heads):
            words.append(1 / (1 + np.exp(-outputs[WORDS])))
            affect.append(outputs[AFFECT])
    return Answers(_mean(basic), *(_mean(part) if part else None for part in (words, affect)))


def _outputs(bundle: Bundle, faces: LearningFaces, how: Reading) -> dict[str, Floats]:
    engine = open_engine(bundle, "spatial", backend="onnxruntime", precision="fp32")
    views, told = Views(bundle.manifest), dict[str, list[Floats]]()
    label = f"Answers of {bundle.manifest.name}"
    for start in track(range(0, len(faces), BATCH), label):
        rows = range(start, min(start + BATCH, len(faces)))
        crops = np.stack([faces.crop(row, CROP_PX) for row in rows])[:, None]
        readings = [how] * len(crops)
        seen = engine.run({"crop": views.crops(crops, readings)})
        for name, value in views.joined(seen, readings).items():
            told.setdefault(name, []).append(value)
    return {name: np.concatenate(parts) for name, parts in told.items()}


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def _mean(parts: list[Floats]) -> Floats:
    return np.asarray(np.mean(parts, axis=0), np.float32)


def _mixed(label: Floats, answer: Floats, share: float) -> Floats:
    return np.asarray((1 - share) * label + share * answer, np.float32)
