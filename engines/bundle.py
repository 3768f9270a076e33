"""The bundle: a folder with the networks and all that run time knows of them.

    manifest.json                 see `manifest.py`
    spatial.onnx  temporal.onnx  fusion.onnx
    spatial.int8.onnx ...         other precisions of the same networks, optional
    detector.onnx  landmarks.onnx what finds faces, optional, in any precision

Nothing else may lie there, and nothing is ever unpickled. Plans that were built for a GPU are code:
each machine keeps its own elsewhere (`plan.py`). A bundle may come from a stranger: what its
manifest says is checked in `manifest.py`, what its networks hold in `screen.py`, before a runtime
is given them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from .errors import BundleCorrupt, BundleMissing
from .graph import screen
from .manifest import (
    FACE_NETWORKS,
    MANIFEST,
    NETWORKS,
    SCHEMA,
    Manifest,
    read_manifest,
    verify_contract,
)

PRECISIONS = ("fp32", "fp16", "int8", "fp8")
DEFAULT = Path(__file__).parent / "bundles" / "default"

Precision = Literal["fp32", "fp16", "int8", "fp8"]
_NAMES = frozenset(
    f"{network}{form}.onnx"
    for network in (*NETWORKS, *FACE_NETWORKS)
    for form in ("", *(f".{precision}" for precision in PRECISIONS[1:]))
)
_PLANS = "plans"

# Of Linux's renameat2: paths from the working folder on, and both swapped in one step.
_HERE, _EXCHANGE = -100, 2


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    def network_file(self, network: str, precision: str = "fp32") -> Path | None:
        """The network's file in this precision, or None."""
        name = f"{network}.onnx" if precision == "fp32" else f"{network}.{precision}.onnx"
        return self.path / name if name in self.manifest.files else None

    def precisions(self, network: str) -> tuple[str, ...]:
        """The precisions this network is there in: fp32, fp16, int8, fp8 in this order."""
        return tuple(p for p in PRECISIONS if self.network_file(network, p))

    def suits_gpu(self, network: str) -> bool:
        """Whether there is more of it than the INT8 form, which is made for CPUs."""
        return set(self.precisions(network)) != {"int8"}

    @property
    def size_bytes(self) -> int:
        """The manifest and the files it lists."""
        names = [MANIFEST, *self.manifest.files]
        return sum((self.path / name).stat().st_size for name in names)


def load_bundle(bundle: str | os.PathLike[str] = "default") -> Bundle:
    """Opens a bundle by path, or the one that came with the program, and verifies all of it.

    Raises BundleMissing, BundleTooNew (newer schema), BundleCorrupt (manifest, hashes, stray
    files, networks that hold what `screen` refuses) or ContractMismatch (tensor names, sizes that
    do not go together).
    """
    path = DEFAULT if str(bundle) == "default" else Path(bundle)
    if not (path / MANIFEST).is_file():
        what = "no default bundle in this installation" if path == DEFAULT else "no bundle"
        raise BundleMissing(
            f"{what}: {path / MANIFEST} is not there; name a folder with a {MANIFEST}, "
            "or make one with `ferstream train default` and `ferstream export`"
        )
    manifest = read_manifest(path / MANIFEST)
    _verify_files(path, manifest)
    verify_contract(manifest)
    for name in manifest.files:
        screen(path / name)
    return Bundle(path, manifest)


def write_bundle(
    path: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, bytes | Path]
) -> Bundle:
    """Writes a bundle beside its place, verifies it there and moves it in; all or nothing.

    `files` maps the path within the bundle to its bytes or to a file to copy. An older bundle at
    the place is replaced. Raises what load_bundle raises, and OSError.
    """
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as work:
        fresh = Path(work) / "new"
        hashes = {}
        for name, content in sorted(files.items()):
            target = fresh / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
            hashes[name] = _sha256(target)
        document = replace(manifest, files=hashes, schema=SCHEMA).to_json()
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        (fresh / MANIFEST).write_text(text, "utf-8")
        load_bundle(fresh)
        if not (place.exists() and _exchanged(fresh, place)):
            if place.exists():
                place.rename(Path(work) / "old")
            fresh.rename(place)
    return load_bundle(place)


def _exchanged(fresh: Path, place: Path) -> bool:
    """Swaps two folders in one step, so that no kill finds the place empty; False where the
    system cannot."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(swap(_HERE, os.fsencode(fresh), _HERE, os.fsencode(place), _EXCHANGE) == 0)


def _verify_files(path: Path, manifest: Manifest) -> None:
    listed = manifest.files
    for name, wanted in listed.items():
        file = path / _inside(name)
        if not file.is_file():
            raise BundleMissing(f"{file} is listed in {MANIFEST} but not there; copy it again")
        got = _sha256(file)
        if got != wanted:
            raise BundleCorrupt(
                f"{file} has sha256 {got[:12]}..., {MANIFEST} says {wanted[:12]}...: "
                "the file is damaged or was changed; copy it again"
            )
    for found in sorted(path.rglob("*")):
        name = found.relative_to(path).as_posix()
        if found.is_dir() or name == MANIFEST or name in listed:
            continue
        if name.startswith(f"{_PLANS}/"):
            raise BundleCorrupt(
                f"{found} was compiled elsewhere, and is code that nobody vouches for: remove "
                f"{path / _PLANS}; `ferstream bundle build` makes this machine's own"
            )
        raise BundleCorrupt(
            f"{found} is not listed in {MANIFEST}, so nothing vouches for it: remove it"
        )


def _inside(name: str) -> str:
    """The name, if it leads to a plain place in the bundle; BundleCorrupt otherwise."""
    parts = PurePosixPath(name).parts
    if name != PurePosixPath(name).as_posix() or ".." in parts or name.startswith(("/", ".")):
        raise BundleCorrupt(f"file name {name!r} leads out of the bundle or is hidden")
    if not name.endswith(".onnx"):
        raise BundleCorrupt(f"{name!r} is no .onnx file; a bundle holds no others")
    if name not in _NAMES:
        raise BundleCorrupt(
            f"{name!r} is the name of no network: {', '.join((*NETWORKS, *FACE_NETWORKS))} are"
        )
    return name


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(2**20):
            digest.update(part)
    return digest.hexdigest()
