"""The base installation: what no extra brings is enough."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ferstream import _EXTRAS

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = sorted(_EXTRAS)

LACKING = """
    import sys
    from importlib.machinery import PathFinder

    class Lacking:
        asked = {}

        @classmethod
        def find_spec(cls, name, path=None, target=None):
            library = name.partition(".")[0]
            if library not in LEFT_OUT:
                return PathFinder.find_spec(name, path, target)
            frame = sys._getframe(1)
            while frame.f_globals["__name__"].startswith("importlib"):
                frame = frame.f_back
            cls.asked.setdefault(library, []).append(frame.f_globals["__name__"])
            return None

    sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking
"""
"""As if what `LEFT_OUT` names were not installed; `asked` has which modules wanted it."""


def run_lacking(left_out: list[str], script: str) -> Any:
    """What a script prints, as JSON, where some libraries are not installed."""
    code = f"LEFT_OUT = {left_out}\n" + textwrap.dedent(LACKING) + textwrap.dedent(script)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def asked() -> dict[str, list[str]]:
    """Libraries of the extras, with the modules that want them as soon as they are imported."""
    found: dict[str, list[str]] = run_lacking(
        EXTRAS,
        """
        import json, pkgutil
        from importlib import import_module

        for top in ("stream", "engines", "calibration", "training", "demo"):
            package = import_module(f"ferstream.{top}")
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                try:
                    import_module(module.name)
                except ModuleNotFoundError as error:
                    if error.name.partition(".")[0] not in LEFT_OUT:
                        raise
        print(json.dumps(Lacking.asked))
        """,
    )
    return found


def test_no_module_wants_what_only_some_commands_use(asked: dict[str, list[str]]) -> None:
    """Imported where they are used, so that no other command fails without them."""
    for library in ("mediapipe", "dlib", "skimage", "scipy", "matplotlib"):
        assert library not in asked, f"{library} is imported by {asked[library]}"
    assert "torch" in asked  # the finder sees what is imported


WANT_AT_ONCE = {
    "serve": ("ferstream.stream.serve.", "ferstream.demo."),
    "tables": ("ferstream.stream.sinks.parquet",),
    "openvino": ("ferstream.engines.openvino",),
    "train": ("ferstream.training.",),
}
"""Modules that are only imported by what needs their extra."""


def test_all_other_modules_want_nothing_but_the_base(asked: dict[str, list[str]]) -> None:
    for library, modules in asked.items():
        own = WANT_AT_ONCE.get(_EXTRAS[library], ())
        assert all(name.startswith(own) for name in modules), (library, modules)


def test_the_sample_is_scored_by_the_base_alone(tmp_path: Path) -> None:
    found = run_lacking(
        EXTRAS,
        f"""
        import json
        from ferstream import main

        try:
            main(["score", "sample", "--stride", "12", "--jsonl", {str(tmp_path / "rows.jsonl")!r}])
        except SystemExit as left:
            assert not left.code, left.code
        print("\\n" + json.dumps(sorted(set(LEFT_OUT) & set(sys.modules))))
        """,
    )
    assert found == []
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()]
    faces = [row["faces"] for row in rows if "frame" in row]
    # Whoever else the bundle's own networks see: she is one person, and there all the time.
    assert [seen[0]["id"] for seen in faces] == [1] * 9
