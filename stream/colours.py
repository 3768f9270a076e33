"""Colours of labels: a family's, the same wherever it is shown.

The bundle's own colours come first, then those of the well-known families; families that have
none get one of a palette in their order, and what has no family is grey.
"""

from __future__ import annotations

from ferstream.engines.labels import BUILT_IN, Labels

Colour = tuple[int, int, int]
"""Red, green, blue; 0..255 each."""

GREY: Colour = (196, 202, 208)

KNOWN: dict[str, Colour] = {
    "love": (255, 120, 170),
    "joy": (255, 200, 70),
    "surprise": (80, 210, 250),
    "anger": (255, 92, 82),
    "sadness": (105, 150, 255),
    "fear": (186, 125, 255),
    "disgust": (140, 205, 90),
    "contempt": (226, 146, 82),
    "neutral": GREY,
}
"""Families, and the labels that have a colour of their own."""

_PALETTE: tuple[Colour, ...] = (
    (90, 200, 190),
    (240, 160, 70),
    (150, 160, 250),
    (230, 120, 200),
    (170, 200, 80),
    (250, 130, 120),
    (110, 190, 240),
    (210, 180, 110),
)


def colour_of(label: str, labels: Labels = BUILT_IN) -> Colour:
    """The colour of a label, word or family; grey for neutral and what is unknown."""
    family = labels.family(label) or label
    for name in (label, family):
        if name in labels.colours:
            return _from_hex(labels.colours[name])
        if name in KNOWN:
            return KNOWN[name]
    families = groups(labels)
    return _PALETTE[families.index(family) % len(_PALETTE)] if family in families else GREY


def own_colours(labels: Labels) -> dict[str, str]:
    """#rrggbb of families and labels whose colour a page does not know."""
    names = dict.fromkeys((*groups(labels), *labels.colours))
    return {name: to_hex(colour_of(name, labels)) for name in names}


def groups(labels: Labels) -> tuple[str, ...]:
    """What has a colour: families, and basic expressions that belong to none."""
    lonely = (name for name in labels.basic.labels if not labels.family(name))
    names = (*labels.words.families, *labels.basic.families, *lonely)
    return tuple(dict.fromkeys(name for name in names if name not in KNOWN))


def to_hex(colour: Colour) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _from_hex(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
