"""Skips what needs a library of an extra; unlike pytest.importorskip nothing is imported for it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(*modules: str) -> None:
    """Skip the test, or at the top of a file all of it, where one of these is not installed."""
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed", allow_module_level=True)
