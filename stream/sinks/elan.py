"""ELAN annotations (.eaf, format 3.0): tiers per face, the media linked.

| tier | holds |
|---|---|
| `expression@Face 1` | the word that fits or `neutral`, aligned with time |
| `basic@Face 1` | the basic expression, for each of those annotations |
| `family@Face 1` | the word's family |
| `probability@Face 1` | the word's mean probability |
| `intensity@`, `valence@`, `arousal@Face 1` | means; empty where the bundle has none |
| `certainty@Face 1` | `sure` or `uncertain` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .annotation import AnnotationSink, media_file, mime_type, relative_url
from .base import SinkInfo, SinkOptions, notice_lines
from .episodes import Episode

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPES = ("basic", "family", "probability", "intensity", "valence", "arousal", "certainty")
"""Tiers that say one thing each about an annotation of the tier `expression`."""
_EACH = 1 + len(_TYPES)
"""Annotations of an episode."""
_STEREOTYPES = {
    "Time_Subdivision": "parts of the parent's time that follow each other without gaps",
    "Symbolic_Subdivision": "parts of the parent in their order, without times",
    "Symbolic_Association": "one for each annotation of the parent",
    "Included_In": "within the parent's time, with gaps",
}
"""Every way in which ELAN lets one tier depend on another; some readers want the description."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class EafSink(AnnotationSink):
    """Writes an .eaf file, which links the source where that is a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _Eaf(path))


class _Eaf:
    def __init__(self, path: Path) -> None:
        self._path = path

    def text(self, info: SinkInfo, episodes: list[Episode], length_s: float) -> str:
        root = Element(
            "ANNOTATION_DOCUMENT",
            {
                "AUTHOR": "ferstream",
                "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
                "FORMAT": "3.0",
                "VERSION": "3.0",
                "xmlns:xsi": _XSI,
                "xsi:noNamespaceSchemaLocation": _SCHEMA,
            },
        )
        self._head(root, info, _EACH * len(episodes))
        _time_order(root, episodes)
        for face_id in sorted({episode.face_id for episode in episodes}):
            _tiers(root, face_id, list(_numbered(episodes, face_id)))
        _types(root)
        indent(root)
        text = tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'

    def _head(self, root: Element, info: SinkInfo, annotations: int) -> None:
        head = SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
        media = media_file(info)
        if media is not None:
            descriptor = {
                "MEDIA_URL": media.as_uri(),
                "MIME_TYPE": mime_type(media),
                "RELATIVE_MEDIA_URL": relative_url(media, self._path),
            }
            SubElement(head, "MEDIA_DESCRIPTOR", descriptor)
        for place, line in enumerate(notice_lines(info)):
            _text(SubElement(head, "PROPERTY", {"NAME": f"ferstream.notice.{place}"}), line)
        _text(SubElement(head, "PROPERTY", {"NAME": "lastUsedAnnotationId"}), str(annotations))


def _numbered(episodes: list[Episode], face_id: int) -> Iterator[tuple[int, Episode]]:
    """A face's episodes with their places among all."""
    return (pair for pair in enumerate(episodes) if pair[1].face_id == face_id)


def _time_order(root: Element, episodes: list[Episode]) -> None:
    """Two slots per episode, in the order of time."""
    slots = []
    for place, episode in enumerate(episodes):
        start_ms = round(1000 * episode.start_s)
        end_ms = max(round(1000 * episode.end_s), start_ms + 1)
        slots += [(start_ms, f"ts{2 * place + 1}"), (end_ms, f"ts{2 * place + 2}")]
    order = SubElement(root, "TIME_ORDER")
    for time_ms, name in sorted(slots, key=lambda slot: slot[0]):
        SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": str(time_ms)})


def _tiers(root: Element, face_id: int, episodes: list[tuple[int, Episode]]) -> None:
    """A face's tiers: its expressions, and one for each attribute of them."""
    person = f"Face {face_id}"
    common = {"ANNOTATOR": "ferstream", "PARTICIPANT": person}
    parent = f"expression@{person}"
    tier = SubElement(
        root, "TIER", {**common, "LINGUISTIC_TYPE_REF": "expression", "TIER_ID": parent}
    )
    for place, episode in episodes:
        slots = {
            "TIME_SLOT_REF1": f"ts{2 * place + 1}",
            "TIME_SLOT_REF2": f"ts{2 * place + 2}",
        }
        _annotation(tier, "ALIGNABLE_ANNOTATION", _EACH * place + 1, slots, episode.label)
    for number, kind in enumerate(_TYPES, start=2):
        references = {"LINGUISTIC_TYPE_REF": kind, "PARENT_REF": parent}
        tier = SubElement(root, "TIER", {**common, **references, "TIER_ID": f"{kind}@{person}"})
        for place, episode in episodes:
            reference = {"ANNOTATION_REF": f"a{_EACH * place + 1}"}
            value = _values(episode)[kind]
            _annotation(tier, "REF_ANNOTATION", _EACH * place + number, reference, value)


def _values(episode: Episode) -> dict[str, str]:
    affect = {"valence": episode.valence, "arousal": episode.arousal}
    return {
        "basic": episode.expression,
        "family": episode.family or "neutral",
        "probability": f"{episode.probability:.3f}",
        "intensity": f"{episode.intensity:.3f}",
        **{name: "" if value is None else f"{value:+.3f}" for name, value in affect.items()},
        "certainty": "uncertain" if episode.uncertain else "sure",
    }


def _annotation(
    tier: Element, kind: str, number: int, references: dict[str, str], value: str
) -> None:
    holder = SubElement(tier, "ANNOTATION")
    annotation = SubElement(holder, kind, {"ANNOTATION_ID": f"a{number}", **references})
    _text(SubElement(annotation, "ANNOTATION_VALUE"), value)


def _types(root: Element) -> None:
    """The kinds of tiers, and ELAN's own list of how tiers can depend on each other."""
    plain = {"GRAPHIC_REFERENCES": "false"}
    SubElement(
        root,
        "LINGUISTIC_TYPE",
        {**plain, "LINGUISTIC_TYPE_ID": "expression", "TIME_ALIGNABLE": "true"},
    )
    for kind in _TYPES:
        SubElement(
            root,
            "LINGUISTIC_TYPE",
            {
                "CONSTRAINTS": "Symbolic_Association",
                **plain,
                "LINGUISTIC_TYPE_ID": kind,
                "TIME_ALIGNABLE": "false",
            },
        )
    for stereotype, description in _STEREOTYPES.items():
        SubElement(root, "CONSTRAINT", {"DESCRIPTION": description, "STEREOTYPE": stereotype})


def _text(element: Element, text: str) -> None:
    """Text without the characters that XML cannot hold."""
    element.text = _NOT_XML.sub("", text)


def make(options: SinkOptions) -> EafSink:
    """For `stream.formats`."""
    return EafSink(options.path)
