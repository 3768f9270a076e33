"""A changed bundle written in one step, or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.manifest import Manifest

from .errors import BundleUnwritten


def kept_files(bundle: Bundle) -> dict[str, bytes | Path]:
    """The bundle's networks, to be written again."""
    return {name: bundle.path / name for name in bundle.manifest.files}


def stored(place: Path, manifest: Manifest, files: dict[str, bytes | Path]) -> Bundle:
    """Writes a bundle; what was at the place stays whole until the new one is.

    Raises:
        BundleUnwritten: no right to write there, or no room.
    """
    # The old folder is gone when its files are read at last: read them first.
    held = {
        name: part if isinstance(part, bytes) else part.read_bytes() for name, part in files.items()
    }
    try:
        return write_bundle(place, manifest, held)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise  # one of the engines' own
        why = {
            errno.ENOSPC: "the disk is full: make room",
            errno.EDQUOT: "the quota is used up: make room",
            errno.EROFS: "the file system is read-only: name another folder with --out",
        }.get(error.errno or 0, f"{error.strerror or error}: name another folder with --out")
        raise BundleUnwritten(
            f"the bundle cannot be written to {place}, what was there is as it was: {why}"
        ) from error
