"""A folder at an address that fsspec knows: an object store's, or a file server's.

Stores raise all kinds of errors; what they refuse is a `SinkError` here, of one line and without
passwords. Objects are read and written whole.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SinkError
from ..sources.base import with_variables, without_password

SERVERS = ("hdfs", "webhdfs", "sftp", "ftp", "smb")
"""Schemes of addresses of file servers, whose folders have to be made."""
STORES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "oss", *SERVERS)
"""Schemes of all addresses that hold files. Object stores have no folders, and a bucket is not made
unasked."""
NEW = ".new"
"""Ends the name of an object that is to take the place of the one beside it."""


def is_remote(target: str) -> bool:
    """Whether a place of results is a file at such an address; a path that was made of one too."""
    return re.match(rf"({'|'.join(STORES)}):/", target, re.IGNORECASE) is not None


def address_of(target: str) -> str:
    """A target as an address, with both of its slashes, which a path loses."""
    return with_variables(re.sub(r"^(\w+):/+", r"\1://", target))


class Store:
    """The folder, with a connection of its own. It belongs to one thread at a time.

    Raises `SinkError` where it cannot be reached, or a package is missing.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            import fsspec
        except ModuleNotFoundError:
            raise SinkError(f"{self.name} needs fsspec: pip install 'ferstream[remote]'") from None
        try:
            self._files, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        except ImportError as error:
            raise SinkError(f"{self.name}: {self._why(error)}") from None
        except Exception as error:
            raise SinkError(f"{self.name} cannot be reached: {self._why(error)}") from None
        self._root = root.rstrip("/")

    @property
    def name(self) -> str:
        """The address in messages, without passwords."""
        return without_password(self._address)

    def put(self, path: Path, name: str) -> None:
        """Send a file."""
        self._files.put_file(str(path), self._at(name))

    def get(self, name: str, path: Path) -> None:
        """Fetch an object into a file."""
        self._files.get_file(self._at(self._there(name)), str(path))

    def add(self, name: str, content: bytes) -> None:
        """Write an object that is not there yet."""
        self._files.pipe_file(self._at(name), content)

    def write(self, name: str, content: bytes) -> None:
        """Write an object that is whole at any moment: under its name, or the new one beside it."""
        self.add(name + NEW, content)
        self.move(name)

    def move(self, name: str) -> None:
        """Put the new object in the place of the old one. Not every server moves over another."""
        self.remove(name)
        self._files.mv(self._at(name + NEW), self._at(name))

    def read(self, name: str, cut_off: bool = False) -> dict[str, Any]:
        """A JSON object; empty where there is none, or where it may have been `cut_off`."""
        with self.told("cannot be read"):
            try:
                found = json.loads(self._files.cat_file(self._at(self._there(name))))
            except FileNotFoundError:
                return {}
            except ValueError:
                found = {} if cut_off else None
        if not isinstance(found, dict):
            raise SinkError(f"{self.name}/{name} is not of a batch: delete it, or write elsewhere")
        return found

    def has(self, name: str) -> bool:
        """Whether an object or a folder is there."""
        self._files.invalidate_cache()
        return bool(self._files.exists(self._at(name)))

    def names(self, folder: str) -> list[str]:
        """Names of what lies in a folder; none where there is no such folder."""
        if not self.has(folder):
            return []
        paths: list[str] = self._files.ls(self._at(folder), detail=False)
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    def remove(self, name: str) -> None:
        """Delete an object, or a folder with all that is in it, if it is there."""
        if self.has(name):
            self._files.rm(self._at(name), recursive=self._files.isdir(self._at(name)))

    def make_folder(self, name: str = "") -> None:
        """Make a folder, where folders have to be made."""
        if self._address.partition(":")[0].lower() in SERVERS:
            self._files.makedirs(self._at(name).rstrip("/"), exist_ok=True)

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what the store raises into one line, which says `what` of its name."""
        try:
            yield
        except SinkError:
            raise
        except Exception as error:
            raise SinkError(f"{self.name} {what}: {self._why(error)}") from None

    def _there(self, name: str) -> str:
        """The name of an object, or of the new one where a run was killed as it took its place."""
        return name if self.has(name) or not self.has(name + NEW) else name + NEW

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _why(self, error: Exception) -> str:
        """The first line of an error, without what is secret in the address."""
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        user = re.match(r"\w+://([^/@]*)@", self._address)
        secret = user[1].partition(":")[2] if user else ""
        return without_password(text.replace(secret, "***") if secret else text)[:300]
