"""Plans on disk: what was built for one GPU and one TensorRT, each with a sidecar that says so.

    ~/.cache/ferstream/plans/default-0123456789ab/nvidia-l4-sm89-trt10.16.1.11/
        spatial.int8.plan     what TensorRT gave, byte for byte
        spatial.int8.json     this module's Sidecar: what it was built from, and for what
        timing.cache          TensorRT's own measurements, which make the next build short

A file is written beside its place, forced to the disk and moved in, the sidecar last; it holds the
plan's hash. So a plan whose writing was cut short has no sidecar that fits, and is never read.

A plan is code. Those of a bundle that comes from a stranger would be a stranger's: they lie apart
from it, in a folder of this user's, and are read only if nobody else could have written them.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .bundle import PRECISIONS, Bundle
from .cuda import Gpu
from .errors import BuildFailed, PlanMissing, PlanStale, PlanUnwritten
from .files import written_whole

SCHEMA = 1
PLANS_VARIABLE = "FERSTREAM_PLANS"
"""A folder for plans, in place of the user's cache."""

BUILD_HINT = "run `ferstream bundle build`"

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TOO_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Sidecar:
    """What a plan is: for which machine, from what, and what came of it."""

    network: str
    precision: str
    gpu: str
    capability: tuple[int, int]
    tensorrt: str
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    options: dict[str, int]
    """max_batch, opt_batch, max_frames, workspace_mb."""
    profile: dict[str, list[list[int]]]
    """Least, best and greatest shape of each input."""
    activation_bytes: int
    """Device memory that a context works in."""
    difference: float
    """Greatest absolute difference to ONNX Runtime on the same file, over the examples tried."""
    median_ms: float
    """One run at the best batch, copies included, as measured when it was built."""
    build_s: float
    log: dict[str, Any]
    """Builder's messages: how many of each severity, and the first of them."""
    layer_precisions: dict[str, int]
    """How many layers compute in which type."""
    layers: list[dict[str, str]]
    """Name and type of each layer, as far as TensorRT tells."""
    built: str
    """Date and time, ISO 8601."""
    schema: int = SCHEMA


@dataclass(frozen=True)
class Plan:
    """A plan that fits this machine and this bundle."""

    data: bytes
    sidecar: Sidecar
    where: str
    """What messages call it."""


_ADAPTER = TypeAdapter(Sidecar)


def plans_folder(bundle: Bundle) -> Path:
    """Where the plans of a bundle of this content lie, which is never in the bundle."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get(PLANS_VARIABLE) or home / "ferstream" / "plans")
    files = json.dumps(bundle.manifest.files, sort_keys=True).encode()
    return place / f"{bundle.manifest.name}-{hashlib.sha256(files).hexdigest()[:12]}"


def machine_folder(bundle: Bundle, gpu: Gpu, tensorrt: str) -> Path:
    """Where plans for this GPU and this TensorRT lie."""
    return plans_folder(bundle) / f"{gpu.slug}-trt{tensorrt}"


def onnx_hash(bundle: Bundle, network: str, precision: str) -> str | None:
    """The hash of the network's file, as the manifest has it; None where there is no such form."""
    file = bundle.network_file(network, precision)
    return None if file is None else bundle.manifest.files[file.name]


def read_sidecar(bundle: Bundle, network: str, precision: str, gpu: Gpu, tensorrt: str) -> Sidecar:
    """The sidecar of a plan that may be used here; the plan itself is not opened.

    Raises PlanMissing, or PlanStale for one that was built for something else.
    """
    folder = machine_folder(bundle, gpu, tensorrt)
    file = folder / f"{network}.{precision}.json"
    try:
        sidecar = _ADAPTER.validate_json(_own_bytes(file))
    except FileNotFoundError as error:
        others = sorted(p.name for p in plans_folder(bundle).glob("*-trt*") if p != folder)
        there = f" (there are plans for {', '.join(others)})" if others else ""
        raise PlanMissing(
            f"no TensorRT plan of {network} in {precision} for {gpu.name} with TensorRT "
            f"{tensorrt}{there}: {BUILD_HINT}"
        ) from error
    except (OSError, ValidationError) as error:
        raise PlanStale(f"{file} cannot be read as a plan's sidecar: {BUILD_HINT}") from error
    made_for = f"{sidecar.gpu} (compute capability {_dotted(sidecar.capability)})"
    here = f"{gpu.name} ({_dotted(gpu.capability)})"
    wanted = onnx_hash(bundle, network, precision)
    for got, expected, what in (
        (sidecar.schema, SCHEMA, f"has a sidecar of schema {sidecar.schema}, this is {SCHEMA}"),
        (
            (sidecar.gpu, sidecar.capability),
            (gpu.name, gpu.capability),
            f"was built for {made_for}, this is {here}",
        ),
        (sidecar.tensorrt, tensorrt, f"was built with TensorRT {sidecar.tensorrt}, not {tensorrt}"),
        (sidecar.onnx_sha256, wanted, f"was built from another {network} than the bundle's"),
    ):
        if got != expected:
            raise PlanStale(f"{file.with_suffix('.plan')} {what}: {BUILD_HINT}")
    return sidecar


def read_plan(bundle: Bundle, network: str, precision: str, gpu: Gpu, tensorrt: str) -> Plan:
    """A plan with its sidecar, both verified. Raises PlanMissing or PlanStale."""
    sidecar = read_sidecar(bundle, network, precision, gpu, tensorrt)
    file = machine_folder(bundle, gpu, tensorrt) / f"{network}.{precision}.plan"
    try:
        data = _own_bytes(file)
    except OSError as error:
        raise PlanStale(f"{file} cannot be read beside its sidecar: {BUILD_HINT}") from error
    if hashlib.sha256(data).hexdigest() != sidecar.plan_sha256:
        raise PlanStale(f"{file} is not what its sidecar says (cut short?): {BUILD_HINT}")
    return Plan(data, sidecar, str(file))


def _own_bytes(file: Path) -> bytes:
    """What this user or root wrote; PlanStale for a file that others could have written."""
    with file.open("rb") as opened:
        about = os.fstat(opened.fileno())
        if about.st_uid not in (os.geteuid(), 0) or about.st_mode & _BY_OTHERS:
            raise PlanStale(
                f"{file} may be another user's work (owner {about.st_uid}, mode "
                f"{stat.S_IMODE(about.st_mode):04o}): remove it and {BUILD_HINT}"
            )
        return opened.read()


def fastest_precision(bundle: Bundle, network: str, gpu: Gpu, tensorrt: str) -> str:
    """The precision whose plan ran fastest when it was built.

    Raises the first precision's PlanMissing or PlanStale where no plan can be used.
    """
    times: dict[str, float] = {}
    problems: list[PlanMissing | PlanStale] = []
    for precision in PRECISIONS:
        if bundle.network_file(network, precision) is None:
            continue
        try:
            times[precision] = read_sidecar(bundle, network, precision, gpu, tensorrt).median_ms
        except (PlanMissing, PlanStale) as problem:
            problems.append(problem)
    if not times:
        stale = [problem for problem in problems if isinstance(problem, PlanStale)]
        raise (stale or problems)[0]
    return min(times, key=times.__getitem__)


def write_plan(folder: Path, data: bytes, sidecar: Sidecar) -> None:
    """Puts a plan and its sidecar in place. Raises PlanUnwritten."""
    stem = f"{sidecar.network}.{sidecar.precision}"
    text = json.dumps(_ADAPTER.dump_python(sidecar, mode="json"), indent=1) + "\n"
    write_whole(folder / f"{stem}.plan", data)
    write_whole(folder / f"{stem}.json", text.encode())


def write_whole(file: Path, content: bytes) -> None:
    """Writes all of a file or nothing, for this user alone.

    Raises PlanUnwritten for a full disk and a folder that is read-only.
    """
    try:
        with written_whole(file) as part, part.open("wb") as out:
            os.fchmod(out.fileno(), os.fstat(out.fileno()).st_mode & ~_BY_OTHERS)
            out.write(content)
    except OSError as error:
        raise unwritten(file, error, len(content)) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a machine's folder for one build; what a killed one left is removed first.

    Raises PlanUnwritten where nothing may be written, BuildFailed while another build runs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise unwritten(folder, error, 0) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BuildFailed(f"another build is writing to {folder}: wait for it") from error
        except OSError as error:
            raise unwritten(folder, error, 0) from error
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def unwritten(file: Path, error: OSError, size: int) -> PlanUnwritten:
    """What to do about a file that could not be written."""
    if error.errno in _TOO_FULL:
        return PlanUnwritten(
            f"no space left for {file} ({size / 1e6:.1f} MB): free some, or set {PLANS_VARIABLE} "
            "to a folder on another disk"
        )
    return PlanUnwritten(
        f"{file} cannot be written ({error.strerror}): set {PLANS_VARIABLE} to a folder that may "
        "be written"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
