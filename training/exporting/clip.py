"""What a run of TMSAU-Net brings to its bundle.

spatial   the frames' network and the reduction to what the attention reads
temporal  the optical-flow stream: its leaves, and these shared out among the eight
fusion    the attention, the leaves, and late fusion of leaves at the run's weight

As in training the leaves' probabilities are fused; the fused ones are shared out among the eight
basic expressions and the words, so that motion moves both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from ferstream.engines import contract
from ferstream.engines.manifest import Manifest, Motion
from ferstream.stream.emotions import NEUTRAL

from ..datasets.label_lists import LabelLists, lists_for
from ..datasets.learning_clips import ClipSplits
from ..errors import OptionsWrong
from ..learning.run_folder import RunFolder
from ..learning.system import LabelledData, System, trained_network
from ..networks.clip_streams import (
    ClipFusion,
    ClipMotion,
    ClipNetwork,
    ClipSpatial,
    FlowStream,
    NoClipMotion,
)
from ..systems.tmsau_options import frames_px
from .export import Parts
from .image import FIELDS, MOTION_PX, manifest_of, on_faces, roll_up_of

GAP_S = 0.1
"""Between two motion fields at run time."""
FUSED = (
    "frames under attention and motion are fused in training's own labels, at the weight that "
    "stands in fusion"
)
NEVER_NEUTRAL = "neutral is never said, as no clip is labelled so"


def clip_parts(system: System, run: RunFolder, options: Any, data: LabelledData) -> Parts:
    """The run's streams and their fusion, calibrated and measured on the clips' key frames.

    Raises:
        RunUnfinished: the last stage was not trained to its end.
        OptionsWrong: a back end that live video cannot feed, or a taxonomy file that lacks a label.
    """
    if options.moves and options.back_end != "flow":
        raise OptionsWrong(
            f"{run.path} hears motion by {options.back_end}, which takes whole clips of frames; "
            "run time hands out motion fields: train with --back-end flow, or --variant nan for "
            "the frames alone"
        )
    assert isinstance(data, ClipSplits)
    network = trained_network(system, run, len(data.labels))
    assert isinstance(network, ClipNetwork)
    crop_px, weight = frames_px(options), float(run.metrics()["fusion"]["spatial_weight"])
    fields = options.fields if options.moves else 0
    lists = lists_for(data.labels, options.taxonomy)
    manifest = clip_manifest(system, run, lists, crop_px, fields, options.reduced, weight)
    about = data.about()
    name = (
        f"key frames of {about['name']} (fingerprint {about['fingerprint']}), "
        f"{len(data.test)} to test"
    )
    modules = clip_modules(network, lists, weight if fields else 1.0)
    return on_faces(manifest, modules, data.stills(1), lists, name)


def clip_modules(network: ClipNetwork, lists: LabelLists, weight: float) -> dict[str, nn.Module]:
    """The streams under the contracts of a bundle; ``weight`` is the spatial stream's."""
    roll_up = roll_up_of(lists)
    leaves, basic = lists.basic_KB.shape
    spatial, temporal = network.streams.spatial, network.streams.temporal
    return {
        "spatial": ClipSpatial(network.frames, spatial.reduce, roll_up),
        "temporal": ClipMotion(temporal, roll_up)
        if isinstance(temporal, FlowStream)
        else NoClipMotion(leaves, basic),
        "fusion": ClipFusion(spatial, roll_up, weight),
    }


def clip_manifest(
    system: System,
    run: RunFolder,
    lists: LabelLists,
    crop_px: int,
    fields: int,
    features: int,
    weight: float,
) -> Manifest:
    """What the bundle says of itself, before anything was measured."""
    manifest = manifest_of(system, run, lists, crop_px, features)
    own = {contract.OWN: len(lists.labels)}
    basic, words = len(lists.basic.labels), len(lists.words.labels)
    data, clips = run.about["data"], run.metrics()["test"]
    notes = {"basic8": FUSED, "emo135": FUSED} if fields else {}
    if NEUTRAL not in lists.labels:
        notes["basic8"] = "; ".join(filter(None, (notes.get("basic8"), NEVER_NEUTRAL)))
    heads = tuple(
        replace(head, note=f"{head.note}; {notes[head.name]}") if head.name in notes else head
        for head in manifest.heads
    )
    return replace(
        manifest,
        heads=heads,
        motion=Motion(MOTION_PX, fields or FIELDS, GAP_S),
        networks={
            **manifest.networks,
            "temporal": contract.temporal(fields or FIELDS, basic=basic, more=own),
            "fusion": contract.fusion(features, basic=basic, words=words, heard=own),
        },
        fusion={"spatial_weight": weight if fields else 1.0},
        training_data=f"{data['train']} of {data['name']}, fingerprint {data['fingerprint']}; "
        f"paper {system.paper}; whole clips in training's own labels: top-1 "
        f"{100 * clips['top1']:.1f} % of {clips['n']} test clips",
    )
