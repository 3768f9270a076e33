"""An ONNX file's graph, read, written and looked at before any runtime is given it.

Messages of protobuf declared as tables: for formats of which a few fields are read or written.

Their own generated modules come with packages that the base does without (onnx, tritonclient).

An ONNX file's graph, read and written without the onnx package, which the base does without.

Every network of a bundle is read here before a runtime is given it (`screen.py`), also where
nothing but the base is installed. Only the fields that are needed are declared; protobuf carries
the others along unread.

What a network's file may hold, looked at before any runtime is given it.

A bundle may come from a stranger. ONNX can name other files to read (external data), run graphs
within graphs as often as a number says (Loop, Scan, If), bring functions of its own and name
operators of any library: a bundle's networks need none of that, so none of it is let through.
What the operators that are left ask for in memory and time is bounded by the sizes here, not
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .contract import Array, NetworkSpec, TensorSpec
from .errors import BundleCorrupt, ContractMismatch

Declarations = Mapping[str, Mapping[str, tuple[int, str, bool]]]
"""Messages by name, each of fields: number, type (a scalar's, a message's or an enum's name), and
whether it repeats."""


def declared(
    package: str, messages: Declarations, enums: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """The messages' classes by name; an enum's words are numbered from 0.

    They are in a pool of their own, as packages that bring the whole format fill the common one.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto2"
    )
    plain = descriptor_pb2.FieldDescriptorProto
    enums = enums or {}
    for enum, words in enums.items():
        listed = file.enum_type.add(name=enum)
        for number, word in enumerate(words):
            listed.value.add(name=word, number=number)
    for message, fields in messages.items():
        kinds = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            one = kinds.field.add(name=field, number=number)
            one.label = plain.LABEL_REPEATED if repeated else plain.LABEL_OPTIONAL
            if kind in messages or kind in enums:
                one.type = plain.TYPE_MESSAGE if kind in messages else plain.TYPE_ENUM
                one.type_name = f".{package}.{kind}"
            else:
                one.type = getattr(plain, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


# As in onnx.proto.
_MESSAGES: Declarations = {
    "Model": {
        "ir_version": (1, "int64", False),
        "graph": (7, "Graph", False),
        "opset_import": (8, "Opset", True),
        "training_info": (20, "bytes", True),
        "functions": (25, "bytes", True),
    },
    "Opset": {"domain": (1, "string", False), "version": (2, "int64", False)},
    "Graph": {
        "node": (1, "Node", True),
        "name": (2, "string", False),
        "initializer": (5, "Tensor", True),
        "sparse_initializer": (15, "bytes", True),
        "input": (11, "Value", True),
        "output": (12, "Value", True),
    },
    "Node": {
        "input": (1, "string", True),
        "output": (2, "string", True),
        "name": (3, "string", False),
        "op_type": (4, "string", False),
        "attribute": (5, "Attribute", True),
        "domain": (7, "string", False),
    },
    "Attribute": {
        "name": (1, "string", False),
        "i": (3, "int64", False),
        "t": (5, "Tensor", False),
        "g": (6, "bytes", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "bytes", True),
        "type": (20, "int32", False),
        "sparse_tensor": (22, "bytes", False),
        "sparse_tensors": (23, "bytes", True),
    },
    "Tensor": {
        "dims": (1, "int64", True),
        "data_type": (2, "int32", False),
        "name": (8, "string", False),
        "raw_data": (9, "bytes", False),
        "external_data": (13, "bytes", True),
        "data_location": (14, "int32", False),
    },
    "Value": {"name": (1, "string", False), "type": (2, "Type", False)},
    "Type": {"tensor_type": (1, "TensorType", False)},
    "TensorType": {"elem_type": (1, "int32", False), "shape": (2, "Shape", False)},
    "Shape": {"dim": (1, "Dim", True)},
    "Dim": {"dim_value": (1, "int64", False), "dim_param": (2, "string", False)},
}

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    16: "bfloat16",
    17: "float8",
}
"""ONNX's numbers of element types, by the names used here."""

_NUMBERS = {name: number for number, name in _TYPES.items()}
_IR, _OPSET = 10, 20  # what every runtime supported here reads
_INTEGER = 2  # ONNX's number of that type of attribute
_DIM = {int: "dim_value", str: "dim_param"}


def read_model(file: Path) -> Any:
    """The file's model message; ContractMismatch where it is none."""
    from google.protobuf.message import DecodeError

    try:
        model = _message("Model").FromString(file.read_bytes())
    except (DecodeError, UnicodeDecodeError) as error:
        raise ContractMismatch(f"{file} is no ONNX file: {error}; export the bundle anew") from None
    if not model.graph.node:
        raise ContractMismatch(f"{file} holds no network; export the bundle anew")
    return model


def one_node(
    operator: str, inputs: Mapping[str, Array], constants: Mapping[str, Array], output: str
) -> bytes:
    """A serialised model of one operator, its inputs first, then the constants.

    `output` is the element type of what comes out, a matrix.
    """
    takes = [TensorSpec(name, array.dtype.name, array.shape) for name, array in inputs.items()]
    gives = [TensorSpec("result", output, ("M", "N"))]
    node = Node(operator, (*inputs, *constants), "result")
    return model_of(NetworkSpec(operator, tuple(takes), tuple(gives)), [node], constants)


class Node(NamedTuple):
    """An operator of a graph, with the whole numbers that it is told."""

    operator: str
    inputs: Sequence[str]
    output: str
    told: Mapping[str, int] = MappingProxyType({})


def model_of(spec: NetworkSpec, nodes: Sequence[Node], constants: Mapping[str, Array]) -> bytes:
    """A serialised model with the inputs and outputs of `spec`; nodes in the order of their run."""
    model = _message("Model")(ir_version=_IR)
    model.opset_import.add(domain="", version=_OPSET)
    graph = model.graph
    graph.name = spec.name
    for node in nodes:
        made = graph.node.add(
            op_type=node.operator, name=node.output, input=list(node.inputs), output=[node.output]
        )
        for name, number in node.told.items():
            made.attribute.add(name=name, i=number, type=_INTEGER)
    for name, array in constants.items():
        graph.initializer.add(
            name=name,
            dims=array.shape,
            data_type=_NUMBERS[array.dtype.name],
            raw_data=np.ascontiguousarray(array).tobytes(),
        )
    for values, tensors in ((graph.input, spec.inputs), (graph.output, spec.outputs)):
        for tensor in tensors:
            kind = values.add(name=tensor.name).type.tensor_type
            kind.elem_type = _NUMBERS[tensor.dtype]
            for size in tensor.shape:
                kind.shape.dim.add(**{_DIM[type(size)]: size})
    serialised: bytes = model.SerializeToString()
    return serialised


@cache
def _message(name: str) -> Any:
    """The class of a message."""
    return declared("ferstream.onnx", _MESSAGES)[name]


MOST_BYTES = 1024 * 2**20
"""Of one file; the largest of the papers' networks has 250 MB."""
MOST_NODES = 20_000
MOST_VALUES = 2**28
"""Of one constant tensor."""
MOST_DIMENSIONS = 8

_OPERATORS = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape Conv ConvTranspose CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear
    Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish
    Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow
    QuantizeLinear RNN Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Shape Sigmoid
    Sign Sin Cos Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh Tile TopK
    Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""ONNX's own that take numbers, give numbers and hold no graphs."""
_OWN = ("", "ai.onnx")
_EXTERNAL = 1


def screen(file: Path) -> None:
    """Raise `BundleCorrupt` for a network's file that holds what none of a bundle needs."""
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise _refused(file, f"has {size / 1e6:.0f} MB, {MOST_BYTES / 1e6:.0f} MB are the most")
    try:
        model = read_model(file)
    except ContractMismatch as error:
        raise BundleCorrupt(str(error)) from None
    graph = model.graph
    if model.functions or model.training_info:
        raise _refused(file, "brings functions of its own")
    if len(graph.node) > MOST_NODES:
        raise _refused(file, f"has {len(graph.node)} operators, {MOST_NODES} are the most")
    for node in graph.node:
        if node.domain not in _OWN or node.op_type not in OPERATORS:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise _refused(file, f"has the operator {name[:80]!r}, which no network here needs")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise _refused(file, f"has a graph within its {node.op_type}")
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _refused(file, f"has a sparse constant in its {node.op_type}")
            held = [attribute.t] if attribute.HasField("t") else []
            _screen_tensors(file, [*held, *attribute.tensors])
    if graph.sparse_initializer:
        raise _refused(file, "has sparse constants")
    _screen_tensors(file, graph.initializer)


def _screen_tensors(file: Path, tensors: Iterable[Any]) -> None:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == _EXTERNAL:
            raise _refused(file, f"keeps {tensor.name[:80]!r} in another file")
        shape = list(tensor.dims)
        if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
            raise _refused(file, f"has the constant {tensor.name[:80]!r} of an odd shape")
        if math.prod(shape) > MOST_VALUES:
            raise _refused(file, f"has the constant {tensor.name[:80]!r} of {math.prod(shape)}")


def _refused(file: Path, why: str) -> BundleCorrupt:
    return BundleCorrupt(f"{file} {why}: do not use it, take a bundle from a source you trust")
