"""What every output says of itself: what it is, what it is not, what made it and what for."""

from __future__ import annotations

from .base import SinkInfo

NOTICE = (
    "Estimated facial expressions: how a face would read to people who see it, "
    "not what anybody feels."
)
"""One line; the least that goes with every reading."""
SHORT_NOTICE = "Estimated expressions, not feelings"
"""For where a line must be short."""


def notice_lines(info: SinkInfo) -> list[str]:
    """Lines for the head of an output: notice, source, bundle, supervision, purpose."""
    lines = [NOTICE, f"Source: {info.source}"]
    bundle = info.about.get("bundle")
    if bundle:
        lines.append(" ".join(["Bundle:", *(str(value) for value in bundle.values())]))
    heads = info.about.get("heads") or {}
    if heads:
        taught = ", ".join(f"{name} {head['supervision']}" for name, head in heads.items())
        lines.append(f"How the labels were learned: {taught}")
    purpose = info.about.get("purpose")
    if purpose:
        lines.append(f"Purpose: {purpose}")
    return [" ".join(line.split()) for line in lines]
