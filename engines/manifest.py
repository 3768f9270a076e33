"""What a bundle says of itself: labels, crops, motion, networks, figures; as read, checked.

It may come from a stranger: every value is checked before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from .calibrator import Calibrator, Finite, PredictionSets
from .calibrator import temperature as by_temperature
from .contract import (
    MORE_HEADS,
    OWN,
    NetworkSpec,
    TensorSpec,
    detector,
    fusion,
    hold,
    landmarks,
    spatial,
    temporal,
)
from .errors import BundleCorrupt, BundleMissing, BundleTooNew, ContractMismatch

MANIFEST = "manifest.json"
"""The file's name in every bundle."""
SCHEMA = 3
"""Schema 1 knew exclusive labels only: its heads are read as such. Schema 2 knew no networks that
find faces."""
NETWORKS = ("spatial", "temporal", "fusion")
FACE_NETWORKS = ("detector", "landmarks")
"""Those that find faces: a bundle has both or neither, each in any precision."""

Supervision = Literal["trained", "machine-judged", "weakly supervised", "derived"]
"""Where a head's knowledge is from: people's labels; a model's judgement of each face; labels made
from others, or another network's estimates; other heads' probabilities."""
Kind = Literal["exclusive", "independent", "scale"]
"""One label of all is right; each label is right or not on its own; numbers on scales."""

Positive = Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
Pixels = Annotated[int, Field(ge=1, le=1024)]
Count = Annotated[int, Field(ge=1, le=4096)]

_MOST_BYTES, _MOST_DEPTH, _LONGEST_TEXT, _LONGEST_LABEL = 4 * 2**20, 16, 20_000, 100


@dataclass(frozen=True)
class Head:
    """One list of labels that the networks score."""

    name: str
    labels: tuple[str, ...]
    """K names in the order of the tensor of this name."""
    families: tuple[str, ...]
    """The family of each label, "" for none; empty where families make no sense."""
    supervision: Supervision
    temperature: Positive
    """Logits are divided by it before the softmax, unless there is a `calibrator`."""
    note: str = ""
    """What a reader of the probabilities should know."""
    calibrator: Calibrator | None = None
    """How logits become probabilities where one temperature was not the best."""
    kind: Kind = "exclusive"

    def probabilities(self, logits_NK: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Rows of this head's logits to rows of probabilities, (N, K); a scale's values stay."""
        if self.kind == "scale":
            return np.asarray(logits_NK, np.float32)
        if self.kind == "independent" and self.calibrator is None:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits_NK / self.temperature)), np.float32)
        return (self.calibrator or by_temperature(self.temperature)).probabilities(logits_NK)


@dataclass(frozen=True)
class Crop:
    """The picture of a face that the networks were trained on."""

    px: Pixels
    colour: Literal["grey", "rgb"]
    template: str
    """The name of the alignment that makes it."""


@dataclass(frozen=True)
class Motion:
    """The stack of motion fields that the temporal network takes."""

    px: Pixels
    fields: Annotated[int, Field(ge=1, le=128)]
    gap_s: Positive
    """Time between two fields, seconds."""
    still: NotNegative = 0.012
    """Up to this mean speed, face widths per second, a face is still and its motion not heard."""
    moving: Positive = 0.024
    """From this mean speed on its motion is heard in full."""


@dataclass(frozen=True)
class FaceNetworks:
    """What the bundle's networks that find faces are like."""

    points: Count
    """That the landmark network gives."""
    crop_px: Pixels
    """Side of the grey crops that it takes."""
    measured: dict[str, Any]
    """How well they find faces and points, with the data named."""
    least_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the detector, from which on it has seen a face: chosen on validation data."""
    short_of: tuple[str, ...] = ()
    """Where they are not as good yet as they are wanted: while there is anything, another front end
    that is installed comes first."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself."""

    name: Annotated[str, Field(pattern=r"^[\w][\w .+-]{0,99}$")]
    """Also part of folders' names."""
    version: str
    heads: tuple[Head, ...]
    crop: Crop
    clip_duration_s: Positive
    """How far back the clip's attention reaches, seconds."""
    clip_frames: Count
    """T: the most frames a clip keeps."""
    motion: Motion
    networks: dict[str, NetworkSpec]
    fusion: dict[str, Finite]
    """Weights of the two streams, as measured best."""
    measured: dict[str, Any]
    """Accuracy and calibration, with the data named."""
    training_data: str
    licence: str
    colours: dict[str, Colour] = field(default_factory=dict)
    """Of families or labels that have one of their own."""
    sets: PredictionSets | None = None
    """Which of the basic expressions to name together, so that the right one is among them."""
    clip_recency_s: NotNegative = 0.0
    """A frame this much older than the moment read counts by a factor e less; 0: all alike."""
    mirrored: bool = False
    """Whether crops are also read mirrored (`engines.views`). False where the spatial network does
    so itself, or left and right differ for it."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """How lower precisions were made and what the gate measured, by precision and network."""
    faces: FaceNetworks | None = None
    """None where the bundle has no networks that find faces."""
    commit: str = ""
    created: str = ""
    """Date and time, ISO 8601."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of each file by its path in the bundle; write_bundle fills it."""
    schema: Annotated[int, Field(ge=1)] = SCHEMA

    def head(self, name: str) -> Head:
        """The head of this name; ContractMismatch where there is none."""
        for head in self.heads:
            if head.name == name:
                return head
        raise ContractMismatch(
            f"bundle {self.name} has no head {name!r}; it has "
            f"{', '.join(head.name for head in self.heads)}"
        )

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the networks that this bundle has."""
        return NETWORKS if self.faces is None else (*NETWORKS, *FACE_NETWORKS)

    @property
    def more_heads(self) -> tuple[Head, ...]:
        """Those beside basic8 and emo135 that the networks score; a derived one is added up."""
        return tuple(
            head for head in self.heads if head.name in MORE_HEADS and head.kind != "exclusive"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain types, as they stand in manifest.json."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return {"schema": document.pop("schema"), **document}


_ADAPTER = TypeAdapter(Manifest)


def read_manifest(file: Path) -> Manifest:
    """A manifest from its file.

    Raises BundleCorrupt for what is none, BundleTooNew for one of a newer schema.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        text = file.read_text("utf-8")
        document = json.loads(text)
        schema = document["schema"]
        _check_values(document)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleCorrupt(
            f"{file} is no manifest ({error}); take the bundle anew from where it came"
        ) from error
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleTooNew(
            f"{file} has schema {schema}, this program reads up to {SCHEMA}: update ferstream"
        )
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleCorrupt(
            f"{file}, field {where}: {first['msg']}; take the bundle anew from where it came"
        ) from error


def _check_values(value: Any, depth: int = 0) -> None:
    """Raise ValueError for what no manifest needs: numbers that are none or count nothing, text
    that would steer a terminal, and endless nesting."""
    if depth > _MOST_DEPTH:
        raise ValueError(f"it is nested more than {_MOST_DEPTH} deep")
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT or not value.replace("\n", " ").isprintable():
            raise ValueError(f"it holds text that cannot be shown: {value[:80]!a}")
    elif isinstance(value, int | float):
        if not abs(value) < 2**53:  # neither does NaN
            raise ValueError(f"it holds the number {str(value)[:40]}")
    elif isinstance(value, Mapping):
        for key, below in value.items():
            _check_values(key, depth)
            _check_values(below, depth + 1)
    elif isinstance(value, list):
        for below in value:
            _check_values(below, depth + 1)


def verify_contract(manifest: Manifest) -> None:
    """Raise ContractMismatch where its parts do not go together, BundleMissing where it lacks a
    network."""
    for network in NETWORKS:
        if network not in manifest.networks:
            raise ContractMismatch(f"bundle {manifest.name} describes no network {network!r}")
        if f"{network}.onnx" not in manifest.files:
            raise BundleMissing(f"bundle {manifest.name} lists no {network}.onnx; export it anew")
    _verify_faces(manifest)
    for wanted in _contract(manifest):
        hold(f"{MANIFEST}, {wanted.name}", manifest.networks[wanted.name], wanted)
    names = [head.name for head in manifest.heads]
    if len(set(names)) < len(names):
        raise ContractMismatch(f"bundle {manifest.name} has two heads of one name")
    if manifest.sets is not None and manifest.sets.head not in names:
        raise ContractMismatch(f"its prediction sets are of {manifest.sets.head!r}, no head's name")
    if not manifest.motion.still < manifest.motion.moving:
        raise ContractMismatch(
            f"a face is still up to {manifest.motion.still:g} and moves from "
            f"{manifest.motion.moving:g}: the second has to be the greater"
        )
    odd = [
        name
        for name, value in manifest.fusion.items()
        if name.endswith("weight") and not 0 <= value <= 1
    ]
    if odd:
        raise ContractMismatch(f"its fusion's {odd[0][:80]!r} is not between 0 and 1")
    for head in manifest.heads:
        _verify_labels(head)
        if head.families and len(head.families) != len(head.labels):
            raise ContractMismatch(
                f"head {head.name} has {len(head.labels)} labels, {len(head.families)} families"
            )
        if head.calibrator is not None and not head.calibrator.fits(len(head.labels)):
            raise ContractMismatch(
                f"the {head.calibrator.kind} calibrator of head {head.name} is not one for "
                f"{len(head.labels)} labels"
            )


def _verify_faces(manifest: Manifest) -> None:
    """Both networks that find faces are there, or neither is."""
    files = {name.partition(".")[0] for name in manifest.files}
    for network in FACE_NETWORKS:
        described, listed = network in manifest.networks, network in files
        if manifest.faces is None and (described or listed):
            raise ContractMismatch(
                f"bundle {manifest.name} has a network {network!r} and says nothing of `faces`"
            )
        if manifest.faces is not None and not described:
            raise ContractMismatch(f"bundle {manifest.name} describes no network {network!r}")
        if manifest.faces is not None and not listed:
            raise BundleMissing(
                f"bundle {manifest.name} lists no {network}.onnx and no other form of it; put it "
                "in anew"
            )


def _verify_labels(head: Head) -> None:
    if len(set(head.labels)) < len(head.labels):
        raise ContractMismatch(f"head {head.name} has one of its labels twice")
    for label in (*head.labels, *head.families):
        if len(label) > _LONGEST_LABEL or "\n" in label:
            raise ContractMismatch(f"head {head.name} has the label {label[:80]!r}, too long a one")


def _contract(manifest: Manifest) -> tuple[NetworkSpec, ...]:
    """The networks that go with the manifest's sizes and label lists."""
    fed = _last_sizes(manifest.networks["fusion"].inputs)
    features = fed.get("feature")
    if not isinstance(features, int):
        raise ContractMismatch(f"bundle {manifest.name}: fusion takes no feature of a fixed size")
    basic, words, units = (len(manifest.head(name).labels) for name in ("basic8", "emo135", "au"))
    crop, motion = manifest.crop, manifest.motion
    channels = 1 if crop.colour == "grey" else 3
    more = {head.name: len(head.labels) for head in manifest.more_heads}
    told = _last_sizes(manifest.networks["temporal"].outputs)
    heard = {name: size for name, size in {"emo135": words, **more}.items() if name in told}
    if isinstance(own := told.get(OWN), int):
        heard[OWN] = own
    faces = manifest.faces
    return (
        *(() if faces is None else (detector(), landmarks(faces.points, crop_px=faces.crop_px))),
        spatial(
            features,
            crop_px=crop.px,
            channels=channels,
            basic=basic,
            words=words,
            units=units,
            more=more,
        ),
        temporal(motion.fields, motion_px=motion.px, basic=basic, more=heard),
        fusion(features, basic=basic, words=words, more=more, heard=heard),
    )


def _last_sizes(tensors: Iterable[TensorSpec]) -> dict[str, int | str]:
    return {tensor.name: tensor.shape[-1] for tensor in tensors if tensor.shape}
