"""Training that begins with a bundle's spatial network, so that learning more costs little."""

from __future__ import annotations

import re

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ferstream.engines.bundle import load_bundle

from .data.augment import CROP_PX
from .data.learning_faces import LearningFaces
from .errors import OptionsWrong
from .networks.compact_msau import CompactMSAU
from .networks.fusion import CascadedAttention

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
