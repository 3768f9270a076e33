"""A finished run of TMSAU-Net as a bundle that `score`, `live` and the page play.

spatial   the frames' network and the reduction to what the attention reads
temporal  the optical-flow stream: its leaves, and these shared out among the eight
fusion    the attention, the leaves, and late fusion of leaves at the run's weight

As in training the leaves' probabilities are fused; the fused ones are shared out among the eight
basic expressions and the words, so that motion moves both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.manifest import Manifest, Motion
from ferstream.stream.emotions import NEUTRAL
from ferstream.stream.flow import MOTION_FIELD_PX

from .clip_frames import frames_px
from .data.clip_splits import ClipSplits
from .errors import OptionsWrong, RunMismatch
from .image_bundle import FIELDS, MOTION_PX, finished_bundle, manifest_of
from .label_lists import LabelLists, lists_for
from .networks.clip_graphs import ClipFusion, ClipMotion, ClipSpatial, NoClipMotion
from .networks.clip_streams import ClipNetwork, FlowStream
from .networks.image_stream import LabelRollUp
from .onnx import onnx_from_module
from .run_folder import RunFolder
from .system import System, finished_run, trained_network

GAP_S = 0.1
"""Between two motion fields at run time."""
FUSED = (
    "frames under attention and motion are fused in training's own labels, at the weight that "
    "stands in fusion"
)
NEVER_NEUTRAL = "neutral is never said, as no clip is labelled so"


def bundle_from_clips(path: Path, out: Path, folder: str | None) -> tuple[Bundle, dict[str, Any]]:
    """Write a finished run as a bundle: ONNX, INT8, calibrated, measured on frames.

    Returns the bundle, its figures on the test clips' key frames, and what the gate says of INT8.

    Raises:
        RunUnfinished: the run was not trained to its end.
        RunMismatch: the data is not what it was trained on.
        OptionsWrong: a back end that live video cannot feed, or a taxonomy file that lacks one.
    """
    system, run = finished_run(path)
    options: Any = system.options.from_json(run.about["options"])
    if options.moves and options.back_end != "flow":
        raise OptionsWrong(
            f"{path} hears motion by {options.back_end}, which takes whole clips of frames; run "
            "time hands out motion fields: train with --back-end flow, or --variant nan for the "
            "frames alone"
        )
    data = system.data(options, folder)
    assert isinstance(data, ClipSplits)
    if (now := data.about()["fingerprint"]) != (was := run.about["data"]["fingerprint"]):
        raise RunMismatch(
            f"{path} was trained on data with the fingerprint {was}, {options.faces} here has "
            f"{now}: name the folder it was trained on with --data"
        )
    network = trained_network(system, run, len(data.labels))
    assert isinstance(network, ClipNetwork)
    crop_px, weight = frames_px(options), float(run.metrics()["fusion"]["spatial_weight"])
    fields = options.fields if options.moves else 0
    onnx = run.path / "onnx"
    lists = lists_for(data.labels, options.taxonomy)
    write_clip_networks(network, lists, crop_px, fields, weight, onnx)
    manifest = clip_manifest(system, run, lists, crop_px, fields, options.reduced, weight)
    files = {file.name: file for file in sorted(onnx.glob("*.onnx"))}
    name = f"key frames of {data.about()['name']} (fingerprint {now}), {len(data.test)} to test"
    return finished_bundle(write_bundle(out, manifest, files), data.stills(1), lists, crop_px, name)


def write_clip_networks(
    network: ClipNetwork,
    lists: LabelLists,
    crop_px: int,
    fields: int,
    weight: float,
    folder: Path,
) -> None:
    """The three ONNX files in float; ``fields`` 0 is a run without a stream of motion."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        old.unlink()
    roll_up = LabelRollUp(torch.from_numpy(lists.basic_KB), torch.from_numpy(lists.words_KW))
    leaves, basic = lists.basic_KB.shape
    spatial, temporal = network.streams.spatial, network.streams.temporal
    onnx_from_module(
        ClipSpatial(network.frames, spatial.reduce, roll_up),
        {"crop": torch.randint(0, 255, (2, 1, crop_px, crop_px), dtype=torch.uint8)},
        ("feature", "basic8", "emo135", "au", "zoom"),
        folder / "spatial.onnx",
        free={"crop": {0: "B"}},
    )
    heard = (
        ClipMotion(temporal, roll_up)
        if isinstance(temporal, FlowStream)
        else NoClipMotion(leaves, basic)
    )
    onnx_from_module(
        heard,
        {"motion": torch.randn(2, 2 * (fields or FIELDS), MOTION_FIELD_PX, MOTION_FIELD_PX)},
        ("basic8", contract.OWN),
        folder / "temporal.onnx",
        free={"motion": {0: "B"}},
    )
    onnx_from_module(
        ClipFusion(spatial, roll_up, weight if fields else 1.0),
        {
            "feature": torch.randn(2, 5, spatial.reduce.out_features),
            "mask": torch.ones(2, 5),
            "temporal": torch.randn(2, basic),
            "has_motion": torch.ones(2, 1),
            contract.heard_input(contract.OWN): torch.randn(2, leaves),
        },
        ("basic8", "emo135", "attention"),
        folder / "fusion.onnx",
        free={
            "feature": {0: "B", 1: "T"},
            "mask": {0: "B", 1: "T"},
            "temporal": {0: "B"},
            "has_motion": {0: "B"},
            contract.heard_input(contract.OWN): {0: "B"},
        },
    )


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
