"""A batch in shards, each scored by a run of its own, on machines that share a folder.

Beside the outputs lies a folder (`all.parquet.shards`): `batch.json` says of what batch it is, with
all of its clips in order, and is there from one moment to the next, by whichever run came first;
each shard has a ledger there. Parts of shared tables lie together, whichever shard they are of.
Once all shards have ended a run without a shard takes their ledgers over and makes the tables.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PartInvalid, SinkError
from ..sinks.base import make_folder, write_failure
from .ledger import VERSION, Ledger, check_options

_BATCH = "batch.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many shards, counted from 1."""

    number: int
    count: int

    @property
    def share(self) -> slice:
        """Its clips among all; neighbours go to different shards."""
        return slice(self.number - 1, None, self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard_of(text: str) -> Shard:
    """The shard that a text such as "2/3" means. Raises PartInvalid."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise PartInvalid(f"shard {text}: I/N, as 1/3, 2/3 and 3/3 are the shards of three")
    return shard


class Shards:
    """What the shards of one batch have in common.

    Args:
        folder: where it is, or is to be.

    Raises `SinkError` for one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._batch: Mapping[str, Any] = {}
        self._read()

    @property
    def begun(self) -> bool:
        """Whether a shard has begun."""
        return bool(self._batch)

    @property
    def clips(self) -> list[str]:
        """All clips of the batch, in order."""
        return list(self._batch["clips"])

    @property
    def _numbers(self) -> range:
        return range(1, self._batch["shards"] + 1)

    def check(self, shard: Shard) -> None:
        """Raise `SinkError` where the batch has another number of shards."""
        count = self._batch["shards"]
        if count != shard.count:
            raise SinkError(
                f"{self.folder} is of a batch in {count} shards, not {shard.count}: say "
                f"--shard 1/{count} to {count}/{count}, or write elsewhere"
            )

    def join_in(self, shard: Shard, clips: Sequence[str], options: Mapping[str, Any]) -> None:
        """Begin the batch, or make sure that it is this one. Raises `SinkError`."""
        if not self.begun:
            self._begin(shard, clips, options)
            self._read()
        self.check(shard)
        check_options(self.folder, self._batch["options"], options)
        if self.clips != list(clips):
            raise SinkError(f"{self.folder} was just begun with other clips: start this shard anew")

    def ledger(self, number: int, options: Mapping[str, Any]) -> Ledger:
        """A shard's ledger, gone on with where it is there. Raises `SinkError`."""
        return Ledger(self.path_of(number), options, resume=True)

    def path_of(self, number: int) -> Path:
        """Where a shard's ledger is."""
        return self.folder / f"{number}.ledger"

    def check_ended(self, clips: Sequence[str], options: Mapping[str, Any]) -> None:
        """Raise `SinkError` where a shard has not ended, or the clips have other names."""
        check_options(self.folder, self._batch["options"], options)
        known, asked = set(self.clips), set(clips)
        gone, new = known - asked, asked - known
        if gone and new:
            raise SinkError(
                f"{self.folder} is of other clips ({min(gone)}, not {min(new)}): name them as the "
                "shards did"
            )
        for number in self._numbers:
            ended = False
            if self.path_of(number).is_file():
                with self.ledger(number, options) as ledger:
                    ended = ledger.ended
            if not ended:
                shard = Shard(number, self._batch["shards"])
                raise SinkError(
                    f"shard {shard} has not ended: --shard {shard} --resume goes on with it"
                )

    def hand_over(self, whole: Ledger, options: Mapping[str, Any]) -> None:
        """Write down in the ledger of all what the shards' have. Raises `SinkError`."""
        for number in self._numbers:
            with self.ledger(number, options) as ledger:
                whole.take_over(ledger)

    def remove(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        path = self.folder / _BATCH
        try:
            batch = json.loads(path.read_bytes())
            if batch["ledger"] != VERSION:
                raise ValueError(f"its version is {batch['ledger']}")
            batch["shards"], batch["options"], batch["clips"]
        except FileNotFoundError:
            return
        except OSError as error:
            raise SinkError(f"cannot read {path}: {(error.strerror or '').lower()}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SinkError(
                f"{path} is of no batch in shards ({error}): delete its folder, or write elsewhere"
            ) from None
        self._batch = batch

    def _begin(self, shard: Shard, clips: Sequence[str], options: Mapping[str, Any]) -> None:
        """Write down what the batch is, unless another shard was faster."""
        make_folder(self.folder.parent)
        batch = {
            "ledger": VERSION,
            "shards": shard.count,
            "options": dict(options),
            "clips": list(clips),
        }
        beside = self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex}")
        try:
            beside.mkdir()
            try:
                with (beside / _BATCH).open("w", encoding="ascii") as file:
                    json.dump(batch, file, ensure_ascii=True)
                    file.flush()
                    os.fsync(file.fileno())
                # A folder takes the place of an empty one alone: who comes second fails.
                beside.rename(self.folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        except OSError as error:
            if not (self.folder / _BATCH).is_file():
                raise write_failure(self.folder, error) from error
