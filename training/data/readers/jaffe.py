"""JAFFE (Lyons et al. 1998, kasrl.org/jaffe.html): 213 pictures of ten women, seven expressions.

One folder of files such as KA.AN1.39.tiff: person, expression (AN anger, DI disgust, FE fear,
HA happiness, NE neutral, SA sadness, SU surprise) and number of the take, number of the picture.
Confirmed in public readers. There is no official split: use `FaceSet.person_folds`.
"""

from __future__ import annotations

import re
from pathlib import Path

from .folders import media
from .layout import Found, Layout
from .names import BASIC7
from .pixels import PICTURES

_NAME = re.compile(r"(?P<who>[A-Z]{2})\.(?P<what>[A-Z]{2})\d?\.\d*\.?\w+$")
_CODES = {
    "NE": "neutral",
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
}


def _folder(root: Path) -> Path | None:
    for place in (root, root / "jaffe", root / "jaffedbase"):
        if place.is_dir():
            names = [_NAME.match(path.name) for path in media(place, PICTURES)[:20]]
            if sum(bool(n and n["what"] in _CODES) for n in names) > len(names) / 2:
                return place
    return None


def _read(found: Found) -> None:
    place = _folder(found.root)
    if place is None:
        raise found.missing("KA.AN1.39.tiff and the like")
    found.labels = BASIC7
    for path in media(place, PICTURES):
        match = _NAME.match(path.name)
        if match is None or match["what"] not in _CODES:
            found.wrong("label", path, "no name such as KA.AN1.39.tiff")
        else:
            label = BASIC7.index(_CODES[match["what"]])
            found.add(path, "all", label, subject=match["who"])


JAFFE = Layout(
    "jaffe",
    "JAFFE",
    "files such as KA.AN1.39.tiff (person, expression, number)",
    lambda root: _folder(root) is not None,
    _read,
)
