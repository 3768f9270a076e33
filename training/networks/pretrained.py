"""Weights that somebody else's training left, put into a backbone; nothing in the file is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from ..errors import CheckpointDamaged, CheckpointForeign

_NEW = ("excite.",)
"""Parts that a plain backbone's weights cannot have."""


def load_pretrained(backbone: nn.Module, path: Path) -> None:
    """Weights of a backbone by their usual names (conv1, bn1, layer1.0.conv1 ...).

    A "state_dict" within and a prefix "module." are taken off; a classifier (fc) is left out;
    what the usual network lacks, the excitation, stays as it is.

    Raises:
        CheckpointDamaged: the file cannot be read, or not safely.
        CheckpointForeign: these are another network's weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointDamaged(
            f"{path} cannot be read as weights ({reason}): save a plain state_dict"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    wanted = backbone.state_dict()
    given = {
        name.removeprefix("module."): value
        for name, value in content.items()
        if not name.removeprefix("module.").startswith("fc.")
    }
    missing = [
        name
        for name in wanted.keys() - given.keys()
        if not any(part in name for part in _NEW) and not name.endswith("num_batches_tracked")
    ]
    strange = sorted(given.keys() - wanted.keys())
    other = [n for n in given.keys() & wanted.keys() if given[n].shape != wanted[n].shape]
    for what, names in (("lacks", sorted(missing)), ("adds", strange), ("differs in", other)):
        if names:
            raise CheckpointForeign(
                f"{path} holds weights of another network than {type(backbone).__name__} (it "
                f"{what} {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''})"
            )
    backbone.load_state_dict(given, strict=False)
