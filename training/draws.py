"""Which face is shown when, and with which chance: decided by seed and epoch alone.

A draw carries the key of every random choice about its showing, so that a picture is the same
whoever prepares it: one process or several, before or after a stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .errors import OptionsWrong
from .selective import selective_batches

_KEYS = 2**63 - 1


class Draw(NamedTuple):
    """One showing of one face."""

    row: int
    key: int
    """Seeds `numpy.random.default_rng` for all that is chance about it."""
    counts: bool = True
    """False for one that only fills up the last batch of a validation."""

    def rng(self) -> np.random.Generator:
        """The generator for all that is chance about this showing."""
        return np.random.default_rng(self.key)


class DrawnSet(Protocol):
    """A dataset that is asked by `Draw`; its items hold "counts", the draw's, as a float."""

    weights: torch.Tensor | None
    """(N,) how often each is drawn in training; None: each once an epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]: ...


def sampling_weights(votes: npt.NDArray[np.float32], balance: float) -> torch.Tensor:
    """How often each photograph is shown, (N,): the rarer its emotions, the more often; ``balance``
    0 shows them as they are, 1 shows every emotion as often."""
    share = votes.mean(axis=0)
    per_class = (1 / np.maximum(share, 1e-6)) ** balance
    return torch.from_numpy(votes @ per_class).double()


class DrawBatches(Sampler[list[Draw]]):
    """Batches of draws for one of `processes`; all of them together make up each whole batch.

    Training leaves out what does not fill a last batch; validation fills it with draws that do
    not count, so that every process has as many batches.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        *,
        seed: int,
        training: bool,
        weights: torch.Tensor | None = None,
        alike: npt.NDArray[np.int64] | None = None,
        parts: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """``parts``: of a process's share of a batch, as gradients are accumulated; ``alike``:
        classes (count,) of which every batch of training holds as many.

        Raises:
            OptionsWrong: the batch cannot be shared out, or there are too few faces for one.
        """
        if batch % (parts * processes):
            raise OptionsWrong(
                f"a batch of {batch} cannot be shared by {processes} processes in {parts} parts: "
                "choose another --batch or --accumulate"
            )
        if training and count < batch:
            raise OptionsWrong(
                f"{count} training faces do not fill one batch of {batch}: choose a smaller "
                "--batch or take more faces"
            )
        if not count:
            raise OptionsWrong("there are no faces to validate on: take more with --limit")
        self.count, self.batch, self.seed, self.training = count, batch, seed, training
        self.alike = alike if training else None
        if self.alike is not None:
            self._alike(0)
        self.weights, self.parts, self.rank, self.processes = weights, parts, rank, processes
        self.epoch = self.start = 0
        self.sampler = self
        """Where Lightning looks for set_epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes; a resumed one begins where it was left."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        whole = self.count // self.batch if self.training else -(-self.count // self.batch)
        return whole * self.parts

    def __iter__(self) -> Iterator[list[Draw]]:
        draws, share = self._draws(), self.batch // self.processes
        part = share // self.parts
        for number in range(self.start, len(self)):
            whole, piece = divmod(number, self.parts)
            low = whole * self.batch + self.rank * share + piece * part
            yield draws[low : low + part]
        self.start = 0

    def _draws(self) -> list[Draw]:
        size = len(self) // self.parts * self.batch
        if not self.training:
            return [Draw(at % self.count, at, at < self.count) for at in range(size)]
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.alike is not None:
            order = self._alike(self.epoch).ravel()
        elif self.weights is None:
            order = rng.permutation(self.count)[:size]
        else:
            weight = self.weights.numpy().astype(np.float64)
            order = rng.choice(self.count, size, p=weight / weight.sum())
        keys = rng.integers(0, _KEYS, size)
        return [Draw(i, key) for i, key in zip(order.tolist(), keys.tolist(), strict=True)]

    def _alike(self, epoch: int) -> npt.NDArray[np.int64]:
        """Rows (batches, batch) of an epoch, as many of every class in each batch."""
        assert self.alike is not None
        classes = int(self.alike.max()) + 1
        return selective_batches(self.alike, classes, self.batch, seed=self.seed, epoch=epoch)


class DrawLoader(DataLoader[Any]):
    """A loader that a checkpoint can take up in the middle of an epoch."""

    def __init__(self, dataset: DrawnSet, batches: DrawBatches, workers: int = 0) -> None:
        assert isinstance(dataset, Dataset)
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
        )
        self.batches = batches
        self.place = (0, 0)
        """Epoch, and batches of it that the optimizer has seen; the checkpoint's writer sets it."""

    def state_dict(self) -> dict[str, int]:
        """Where training is."""
        return {"epoch": self.place[0], "batch": self.place[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there."""
        self.place = (state["epoch"], state["batch"])
        self.batches.epoch, self.batches.start = self.place
