"""One file per paper: networks, losses, stages and hyper-parameters put together."""

from __future__ import annotations

SYSTEMS = {
    "slfer": "Semantic learning (paper 002): parsing and component tasks beside the expression.",
}
"""The papers' systems by name, with the line that help shows; each is loaded when it is called."""
