"""Plans on disk: stale ones are told apart, and nothing half-written is ever read."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ferstream.engines.build import BuildOptions, Built, build_bundle
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.errors import (
    BuildFailed,
    BundleCorrupt,
    PlanMissing,
    PlanStale,
    PlanUnwritten,
)
from ferstream.engines.plan import fastest_precision, locked, machine_folder, read_plan, write_plan

from .conftest import GPU, MOST, VERSION
from .trt_world import World


def build(bundle: Bundle, precision: str = "fp32") -> list[Built]:
    return list(build_bundle(bundle, precision, BuildOptions(max_batch=MOST, opt_batch=4)))


def built_sidecar(bundle: Bundle) -> tuple[Path, bytes]:
    folder = machine_folder(bundle, GPU, VERSION)
    return folder, (folder / "temporal.fp32.plan").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpu": "NVIDIA T4", "capability": (7, 5)}, r"built for NVIDIA T4 .*7\.5.*, this is"),
        ({"tensorrt": "10.13.0.35"}, r"built with TensorRT 10\.13\.0\.35, not 10\.16"),
        ({"onnx_sha256": "0"}, "built from another temporal than the bundle's"),
        ({"plan_sha256": "0"}, r"not what its sidecar says \(cut short"),
        ({"schema": 2}, "sidecar of schema 2, this is 1"),
    ],
)
def test_stale_plans_are_told_apart(
    machine: World, built: Bundle, change: dict[str, object], said: str
) -> None:
    folder, data = built_sidecar(built)
    sidecar = read_plan(built, "temporal", "fp32", GPU, VERSION).sidecar
    write_plan(folder, data, replace(sidecar, **change))  # type: ignore[arg-type]
    with pytest.raises(PlanStale, match=f"{said}.*run `ferstream bundle build`"):
        open_engine(built, "temporal", backend="tensorrt")
    states = {r.network: r.state for r in build(built)}
    assert states == {"spatial": "current", "temporal": "built", "fusion": "current"}
    open_engine(built, "temporal", backend="tensorrt").close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1}'])
def test_a_sidecar_that_is_cut_short(machine: World, built: Bundle, content: bytes) -> None:
    (machine_folder(built, GPU, VERSION) / "temporal.fp32.json").write_bytes(content)
    with pytest.raises(PlanStale, match="cannot be read as a plan's sidecar"):
        read_plan(built, "temporal", "fp32", GPU, VERSION)
    assert [r.state for r in build(built)] == ["current", "built", "current"]


def test_plans_for_other_machines_are_named(machine: World, built: Bundle) -> None:
    with pytest.raises(
        PlanMissing, match=r"11\.4 \(there are plans for nvidia-double-1-sm89-trt10"
    ):
        read_plan(built, "spatial", "fp32", GPU, "11.4")
    with pytest.raises(PlanMissing, match="no TensorRT plan of spatial in fp32 for NVIDIA Double"):
        fastest_precision(built, "spatial", GPU, "11.4")


def test_the_fastest_plan_is_taken(machine: World, bundle: Bundle) -> None:
    build(bundle, "auto")
    folder = machine_folder(bundle, GPU, VERSION)
    for precision, time_ms in (("fp32", 2.0), ("int8", 1.0)):
        plan = read_plan(bundle, "spatial", precision, GPU, VERSION)
        write_plan(folder, plan.data, replace(plan.sidecar, median_ms=time_ms))
    assert fastest_precision(bundle, "spatial", GPU, VERSION) == "int8"
    (folder / "spatial.int8.json").unlink()
    assert fastest_precision(bundle, "spatial", GPU, VERSION) == "fp32"


def test_plans_lie_in_the_user_s_cache_and_never_in_the_bundle(
    machine: World, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where a folder `plans` in the bundle holds those that this very program built."""
    monkeypatch.delenv("FERSTREAM_PLANS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").write_bytes(b"")  # refuses folders below it, for root as well
    with pytest.raises(PlanUnwritten, match=r"set FERSTREAM_PLANS to a folder that may"):
        build(bundle)
    (tmp_path / "cache").unlink()
    assert {r.state for r in build(bundle)} == {"built"}
    open_engine(bundle, "spatial", backend="tensorrt").close()
    (made,) = (tmp_path / "cache" / "ferstream" / "plans").iterdir()
    shutil.move(made, bundle.path / "plans")
    with pytest.raises(PlanMissing):
        open_engine(bundle, "spatial", backend="tensorrt")
    with pytest.raises(BundleCorrupt, match="compiled elsewhere"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("suffix", ["plan", "json"])
@pytest.mark.parametrize("change", ["owner", "mode"])
def test_a_plan_that_others_may_have_written(
    machine: World, built: Bundle, suffix: str, change: str
) -> None:
    file = machine_folder(built, GPU, VERSION) / f"temporal.fp32.{suffix}"
    if change == "mode":
        file.chmod(0o664)
    elif os.geteuid():
        pytest.skip("needs root to give a file to somebody else")
    else:
        os.chown(file, 12345, 12345)
    with pytest.raises(PlanStale, match=r"another user's work .*remove it and run"):
        open_engine(built, "temporal", backend="tensorrt")
    file.unlink()
    assert "built" in {r.state for r in build(built)}
    open_engine(built, "temporal", backend="tensorrt").close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files may not grow beyond this, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_leaves_nothing_half_written(machine: World, bundle: Bundle) -> None:
    with (
        file_size_limit(2000),
        pytest.raises(PlanUnwritten, match=r"no space left for .*free some"),
    ):
        build(bundle)
    folder = machine_folder(bundle, GPU, VERSION)
    assert not [f.name for f in folder.iterdir() if f.suffix in (".plan", ".part")]
    assert {r.state for r in build(bundle)} == {"built"}


def test_two_builds_at_once(machine: World, bundle: Bundle) -> None:
    folder = machine_folder(bundle, GPU, VERSION)
    with locked(folder), pytest.raises(BuildFailed, match="another build is writing"):
        build(bundle)
    build(bundle)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_nothing_that_is_read(
    machine: World, built: Bundle, moment: str
) -> None:
    """Killed before the plan is on the disk, and between the plan and its sidecar."""
    folder, data = built_sidecar(built)
    (folder / "temporal.fp32.json").rename(folder / "kept")
    script = f"""
        import os, signal
        from pathlib import Path
        from ferstream.engines import plan
        calls = []
        name, owner = {moment!r}, (os if {moment!r} == "fsync" else Path)
        original = getattr(owner, name)
        def killed(*arguments):
            result = original(*arguments) if name == "replace" else None
            os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(owner, name, killed)
        sidecar = plan._ADAPTER.validate_json(Path({str(folder / "kept")!r}).read_bytes())
        plan.write_plan(Path({str(folder)!r}), b"half of a new plan", sidecar)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    (folder / "kept").rename(folder / "temporal.fp32.json")
    if moment == "replace":
        with pytest.raises(PlanStale, match="not what its sidecar says"):
            read_plan(built, "temporal", "fp32", GPU, VERSION)
    else:
        assert read_plan(built, "temporal", "fp32", GPU, VERSION).data == data
        assert list(folder.glob(".*.part"))
    build(built)
    assert not list(folder.glob(".*.part"))
    assert read_plan(built, "temporal", "fp32", GPU, VERSION).data == data
