"""An engine made of any function, for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .contract import Array, NetworkSpec, Tensors


@dataclass(frozen=True)
class FunctionEngine:
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
