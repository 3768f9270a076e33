"""One file per system: networks, losses, stages and hyper-parameters put together.

To add one: its networks in training/networks/ with a `recognise(crop)`, a `head` and `features`,
and a line for each in tests/training/networks/test_paper_networks.py; here a file with a frozen
subclass of `Options` (its default values the paper's, `fast()` beside them), a `Learner` for each
stage whose `losses` are the paper's equations, a function that lists the stages, and a `SYSTEM`;
then its name below. Commands, checkpoints, logs, figures, report, comparison and bundle follow.
"""

from __future__ import annotations

SYSTEMS = {
    "default": "The default bundle, all of its networks, on FER+ photographs and judged faces.",
    "compact": "The default bundle's network (after paper 003) on any labelled faces.",
    "msau": "MSAU-Net (paper 003, images): regions, action units, a magnified second look.",
    "tmsau": "TMSAU-Net (paper 003, video): attention over frames, a stream of motion, fusion.",
    "emo135": "135 emotions (paper 000): embedding, cleaning, correlation layers and labels.",
    "f2ed": "Fa-Net and FaPE-GAN (paper 004): rare expressions, poses and people.",
    "neighborhood": "Semantic neighbourhoods (paper 001): unreliable pictures teach nothing.",
    "slfer": "Semantic learning (paper 002): parsing and component tasks beside the expression.",
}
"""Systems by name, with the line that help shows; each is loaded when it is called."""
