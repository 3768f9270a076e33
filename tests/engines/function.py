"""An engine made of any function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ferstream.engines.contract import Array, NetworkSpec, Tensors
from ferstream.engines.engine import BaseEngine


@dataclass(frozen=True)
class FunctionEngine(BaseEngine):
    """Runs `function` on the inputs; both sides are held to the spec."""

    spec: NetworkSpec
    function: Callable[[Tensors], dict[str, Array]]
    backend: str = "function"
    precision: str = "fp32"

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Inputs by name to outputs by name; ContractMismatch where either differs."""
        self.spec.check(inputs)
        outputs = self.function(inputs)
        self.spec.check_outputs(outputs)
        return outputs

    def close(self) -> None:
        """Nothing to free."""
