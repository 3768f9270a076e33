"""An ONNX file's graph, read and written without the onnx package, which the base does without.

Only the fields that are needed are declared here; protobuf carries the others along unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .contract import Array
from .errors import ContractMismatch

# Field: its number in onnx.proto, its type, and whether it repeats.
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
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
        "t": (5, "Tensor", False),
        "g": (6, "bytes", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "bytes", True),
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
    model = _message("Model")(ir_version=_IR)
    model.opset_import.add(domain="", version=_OPSET)
    graph = model.graph
    graph.name = operator
    graph.node.add(op_type=operator, name=operator, input=[*inputs, *constants], output=["result"])
    for name, array in constants.items():
        graph.initializer.add(
            name=name,
            dims=array.shape,
            data_type=_NUMBERS[array.dtype.name],
            raw_data=np.ascontiguousarray(array).tobytes(),
        )
    for name, array in inputs.items():
        value = graph.input.add(name=name)
        value.type.tensor_type.elem_type = _NUMBERS[array.dtype.name]
        for size in array.shape:
            value.type.tensor_type.shape.dim.add(dim_value=size)
    result = graph.output.add(name="result")
    result.type.tensor_type.elem_type = _NUMBERS[output]
    for letter in "MN":
        result.type.tensor_type.shape.dim.add(dim_param=letter)
    serialised: bytes = model.SerializeToString()
    return serialised


@cache
def _message(name: str) -> Any:
    """The class of a message; a pool of its own, as the onnx package fills the common one."""
    file = descriptor_pb2.FileDescriptorProto(
        name="ferstream/onnx.proto", package="ferstream.onnx", syntax="proto2"
    )
    plain = descriptor_pb2.FieldDescriptorProto
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            one = declared.field.add(name=field, number=number)
            one.label = plain.LABEL_REPEATED if repeated else plain.LABEL_OPTIONAL
            if kind in _MESSAGES:
                one.type, one.type_name = plain.TYPE_MESSAGE, f".ferstream.onnx.{kind}"
            else:
                one.type = getattr(plain, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"ferstream.onnx.{name}")
    return message_factory.GetMessageClass(found)
