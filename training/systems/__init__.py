"""One file per paper: networks, losses, stages and hyper-parameters put together.

To add one: its networks in training/networks/ with a `recognise(crop)`, a `head` and `features`,
and a line for each in tests/training/test_paper_networks.py; here a file with a frozen subclass of
`Options` (its default values the paper's, `fast()` beside them), a `Learner` for each stage whose
`losses` are the paper's equations, a function that lists the stages, and a `SYSTEM`; then its name
below. Commands, checkpoints, logs, figures, report, comparison and bundle follow.
"""

from __future__ import annotations

SYSTEMS = {
    "slfer": "Semantic learning (paper 002): parsing and component tasks beside the expression.",
}
"""The papers' systems by name, with the line that help shows; each is loaded when it is called."""
