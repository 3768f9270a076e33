"""One grid for the papers' networks: forward, backward, through export and back, and INT8."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferstream.calibration.int8 import qdq_from_onnx
from ferstream.engines.ort import session_options
from ferstream.training.exporting.export import onnx_from_module

Arrays = dict[str, NDArray[Any]]
Shapes = dict[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Case:
    """A network at toy size.

    shapes: of the outputs, "B" for the batch. call: the outputs by name, from the network and its
    inputs. integer: outputs of INT8 that are held against float ones; none, no INT8. budget: their
    mean difference, relative to their deviation.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Arrays]
    call: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]]
    shapes: Shapes
    integer: tuple[str, ...]
    budget: float = 0.1
    free: dict[str, dict[int, str]] = field(default_factory=dict)


def named(case: Case, network: nn.Module) -> nn.Module:
    """A case's network as it is exported: a parameter for each input, a tuple of the outputs."""
    inputs = tuple(case.inputs(1))

    def forward(*given: Tensor, **by_name: Tensor) -> tuple[Tensor, ...]:
        together = dict(zip(inputs, given, strict=False)) | by_name
        return tuple(case.call(network, together).values())

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in inputs]
    )
    module = nn.ModuleList([network])
    module.forward = forward
    return module


def pictures(count: int, side: int, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Smooth patterns (count, channels, side, side) of 0 to 1, each of its own contrast."""
    random = np.random.default_rng(seed)
    coarse = random.random((count * channels, 7, 7), np.float32)
    fine = [cv2.resize(pattern, (side, side), interpolation=cv2.INTER_CUBIC) for pattern in coarse]
    stack = np.clip(np.stack(fine), 0, 1).reshape(count, channels, side, side)
    return np.asarray(stack, np.float32)


def crops(count: int, side: int) -> NDArray[np.uint8]:
    """Such patterns as crops (count, 1, side, side)."""
    return (pictures(count, side) * 255).astype(np.uint8)


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def settled(case: Case, batch: int = 24) -> nn.Module:
    """The network with seeded weights, its normalisation settled."""
    torch.manual_seed(0)
    network = case.build()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        case.call(network.train(), tensors(case.inputs(batch)))
    return network.eval()


def outputs(case: Case, network: nn.Module, arrays: Arrays) -> Arrays:
    with torch.no_grad():
        found = case.call(network.eval(), tensors(arrays))
    return {name: value.numpy() for name, value in found.items()}


def check_shapes(case: Case, network: nn.Module) -> None:
    for batch in (1, 3):
        found = outputs(case, network, case.inputs(batch))
        wanted = {
            name: tuple(batch if side == "B" else side for side in shape)
            for name, shape in case.shapes.items()
        }
        assert {name: value.shape for name, value in found.items()} == wanted
        assert all(np.isfinite(value).all() for value in found.values())


def check_gradients(case: Case) -> None:
    """Every parameter gets a gradient, and not only zeros."""
    torch.manual_seed(1)
    network = case.build().train()
    found = case.call(network, tensors(case.inputs(6)))
    loss = torch.stack([(v * torch.randn_like(v)).sum() for v in found.values() if v.requires_grad])
    torch.autograd.backward(loss.sum())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, f"{name} does not matter"


def export(case: Case, network: nn.Module, folder: Path) -> Path:
    """Exported with a batch of two."""
    inputs = case.inputs(2)
    path = folder / f"{case.name}.onnx"
    free = {name: {0: "B", **case.free.get(name, {})} for name in inputs}
    onnx_from_module(
        named(case, network),
        tensors(inputs),
        tuple(case.shapes),
        path,
        free=free,
        half=False,
    )
    return path


def run_onnx(path: Path, arrays: Arrays) -> Arrays:
    options = session_options()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, arrays), strict=True))


def check_onnx(case: Case, network: nn.Module, path: Path) -> None:
    """The same numbers for batches that it was not exported with."""
    for batch in (1, 5):
        arrays = case.inputs(batch)
        wanted, got = outputs(case, network, arrays), run_onnx(path, arrays)
        assert set(got) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(got[name], value, atol=1e-4, rtol=1e-3, err_msg=name)


def check_int8(case: Case, network: nn.Module, path: Path) -> None:
    target = path.with_suffix(".int8.onnx")
    arrays = case.inputs(16)
    qdq_from_onnx(path, target, arrays, batch=8, few_weights=64)
    kinds = [node.op_type for node in onnx.load(str(target)).graph.node]
    assert kinds.count("QuantizeLinear") >= 2 and "DequantizeLinear" in kinds
    wanted, got = outputs(case, network, arrays), run_onnx(target, arrays)
    for name in case.integer:
        error = np.abs(got[name] - wanted[name]).mean()
        assert error < case.budget * (wanted[name].std() + 1e-3), name
        assert error > 0, f"{name} was not quantized at all"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
