"""The default bundle's networks under the rules of TensorRT's parser and of strong typing."""

from __future__ import annotations

import pytest

from ferstream.engines.build import BuildOptions, build_bundle
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.errors import BundleMissing
from ferstream.engines.plan import PLANS_VARIABLE

from .trt_world import World


@pytest.fixture
def default(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The default bundle, its plans elsewhere."""
    monkeypatch.setenv(PLANS_VARIABLE, str(tmp_path_factory.mktemp("plans")))
    try:
        return load_bundle()
    except BundleMissing:
        pytest.skip("no default bundle in this checkout")


@pytest.mark.parametrize("network", ["spatial", "temporal", "fusion"])
def test_tensorrt_takes_the_float_form(machine: World, default: Bundle, network: str) -> None:
    results = build_bundle(default, "fp32", BuildOptions(max_batch=2, opt_batch=1))
    result = next(r for r in results if r.network == network)
    assert result.state == "built", result.note
    assert result.sidecar and result.sidecar.difference < 1e-3
