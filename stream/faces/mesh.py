"""The face mesh of a given region: 468 landmarks and the belief that a face is there.

MediaPipe's landmark network in a graph of its own. The ready-made `FaceMesh` solution keeps one
face's region inside it, hides the presence score and wants the whole frame; here the region is an
argument, so that one small graph serves every face of every source and sees 192 x 192 pixels.
"""

from __future__ import annotations

import math
import os
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..process import hold, start_here
from .graphs import load_mediapipe, quiet

LANDMARKS = 468
PATCH_PX = 192
"""Side of the network's input."""
_REGION_PER_FACE = 1.5
_MIN_PRESENCE = 0.5
_EYE_RIGHT, _EYE_LEFT = 33, 263  # outer corners, right and left of the person

# It runs in the thread that waits for it: handing over to one of its own and back takes longer
# than that thread could save.
_GRAPH = """
input_stream: "patch"
output_stream: "mesh"
output_stream: "presence"
executor {{ name: "" type: "ApplicationThreadExecutor" }}
node {{
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:patch"
  output_stream: "TENSORS:input"
  options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
    output_tensor_width: {side} output_tensor_height: {side}
    output_tensor_float_range {{ min: 0 max: 1 }} }} }}
}}
node {{
  calculator: "InferenceCalculatorCpu"
  input_stream: "TENSORS:input"
  output_stream: "TENSORS:output"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
    model_path: "{model}" delegate {{ xnnpack {{ num_threads: 1 }} }} }} }}
}}
node {{
  calculator: "SplitTensorVectorCalculator"
  input_stream: "output"
  output_stream: "mesh_tensor"
  output_stream: "presence_tensor"
  options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{
    ranges {{ begin: 0 end: 1 }} ranges {{ begin: 1 end: 2 }} }} }}
}}
node {{
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:mesh_tensor"
  output_stream: "FLOATS:mesh"
}}
node {{
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:presence_tensor"
  output_stream: "FLOAT:presence"
  options {{ [mediapipe.TensorsToFloatsCalculatorOptions.ext] {{ activation: SIGMOID }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Region:
    """A square of the frame, turned so that the face in it stands upright."""

    x: float
    """Centre, pixels of the frame."""
    y: float
    side_px: float
    roll_rad: float
    """Angle of the line between the eyes, clockwise in the picture."""

    @classmethod
    def around(cls, landmarks_xy: NDArray[np.float32]) -> Region:
        """The region in which the network expects the face with these landmarks (468, 2)."""
        eyes = landmarks_xy[_EYE_LEFT] - landmarks_xy[_EYE_RIGHT]
        roll = math.atan2(float(eyes[1]), float(eyes[0]))
        turn = _upright(roll)
        upright_xy = landmarks_xy @ turn.T
        low, high = upright_xy.min(0), upright_xy.max(0)
        centre = (low + high) / 2 @ turn
        side = _REGION_PER_FACE * float((high - low).max())
        return cls(float(centre[0]), float(centre[1]), side, roll)

    def moved(self, dx: float, dy: float) -> Region:
        """The same square elsewhere."""
        return Region(self.x + dx, self.y + dy, self.side_px, self.roll_rad)

    def flipped(self) -> Region:
        """The same square turned by half."""
        return Region(self.x, self.y, self.side_px, self.roll_rad + math.pi)

    def matrix(self) -> NDArray[np.float64]:
        """(2, 3) frame pixels to patch pixels."""
        linear = _upright(self.roll_rad) * (PATCH_PX / self.side_px)
        shift = PATCH_PX / 2 - linear @ np.array([self.x, self.y])
        return np.column_stack([linear, shift])


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the network makes of a region, whether a face is in it or not."""

    landmarks: NDArray[np.float32]
    """(468, 3) x, y in pixels of the frame; z, depth in the same unit, grows away from the
    camera."""
    presence: float
    """0..1."""
    posed: bool = False
    """Whether the mean head stands in, posed by a detector, as the network sees no face."""

    @property
    def shows_face(self) -> bool:
        """Whether a face is there, as one of the networks says."""
        return self.posed or self.presence >= _MIN_PRESENCE

    @property
    def xy(self) -> NDArray[np.float32]:
        """(468, 2) pixels of the frame."""
        return self.landmarks[:, :2]


class FaceMesh:
    """Landmarks for any number of regions of a frame; safe to call from several threads.

    Args:
        workers: graphs that may run side by side; None: as many as there are cores, at most 4.
            Each is made when first needed and takes some 15 MB.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or min(os.cpu_count() or 1, 4)
        self._idle: queue.LifoQueue[_Graph | None] = queue.LifoQueue()
        for _ in range(self._workers):
            self._idle.put(None)  # a graph yet to be made
        first = self._borrow()
        self._idle.put(first)
        self._pool: ThreadPoolExecutor | None = None

    def run(self, rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Mesh]:
        """One mesh per region of a frame (H, W, 3), in order."""
        return self.run_many([(rgb, regions)])[0]

    def run_many(
        self, wanted: Sequence[tuple[NDArray[np.uint8], Sequence[Region]]]
    ) -> list[list[Mesh]]:
        """The same of several frames, side by side."""
        each = [(rgb, region) for rgb, regions in wanted for region in regions]
        if len(each) < 2 or self._workers == 1:
            found = iter([self._one(*one) for one in each])
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mesh")
            found = iter(list(self._pool.map(lambda one: self._one(*one), each)))
        return [[next(found) for _ in regions] for _, regions in wanted]

    def close(self) -> None:
        """Stop the graphs; the object is of no use afterwards."""
        if self._pool is not None:
            self._pool.shutdown()
        for _ in range(self._workers):
            graph = self._idle.get()
            if graph is not None:
                graph.close()

    def _one(self, rgb: NDArray[np.uint8], region: Region) -> Mesh:
        """Cut the patch, run a graph on it, carry its landmarks back into the frame."""
        matrix = region.matrix()
        patch = cv2.warpAffine(rgb, matrix, (PATCH_PX, PATCH_PX), borderMode=cv2.BORDER_REPLICATE)
        graph = self._borrow()
        try:
            landmarks, presence = graph.run(np.asarray(patch, np.uint8))
        finally:
            self._idle.put(graph)
        scale = region.side_px / PATCH_PX
        landmarks[:, :2] -= PATCH_PX / 2
        landmarks *= scale
        landmarks[:, :2] = landmarks[:, :2] @ _upright(region.roll_rad).astype(np.float32)
        landmarks[:, :2] += np.array([region.x, region.y], np.float32)
        return Mesh(landmarks, presence)

    def _borrow(self) -> _Graph:
        """An idle graph: one in use before where there is one, so that few are ever made."""
        return self._idle.get() or _Graph()


class _Graph:
    """One running MediaPipe graph: a patch in, landmarks and presence out."""

    def __init__(self) -> None:
        start_here()
        mp = load_mediapipe()
        with quiet():
            from google.protobuf import text_format
            from mediapipe.calculators.core import split_vector_calculator_pb2  # noqa: F401
            from mediapipe.calculators.tensor import (
                image_to_tensor_calculator_pb2,  # noqa: F401
                inference_calculator_pb2,  # noqa: F401
                tensors_to_floats_calculator_pb2,  # noqa: F401
            )
            from mediapipe.framework import calculator_pb2

            model = Path(mp.__file__).parent / "modules/face_landmark/face_landmark.tflite"
            config = text_format.Parse(
                _GRAPH.format(side=PATCH_PX, model=model.as_posix()),
                calculator_pb2.CalculatorGraphConfig(),
            )
            self._mp = mp
            self._graph = mp.CalculatorGraph(graph_config=config)
            self._outputs: dict[str, Any] = {}
            for name in ("mesh", "presence"):
                self._graph.observe_output_stream(name, self._outputs.__setitem__)
            self._graph.start_run()
            self._runs = 0
            self.run(np.zeros((PATCH_PX, PATCH_PX, 3), np.uint8))  # the network logs at first use
        hold(self)

    def run(self, patch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Landmarks (468, 3) in pixels of the patch, and presence 0..1."""
        mp = self._mp
        self._runs += 1
        packet = mp.packet_creator.create_image_frame(patch, image_format=mp.ImageFormat.SRGB)
        self._graph.add_packet_to_input_stream("patch", packet.at(self._runs))
        self._graph.wait_until_idle()
        flat = mp.packet_getter.get_float_list(self._outputs["mesh"])
        presence = mp.packet_getter.get_float(self._outputs["presence"])
        return np.array(flat, np.float32).reshape(LANDMARKS, 3), float(presence)

    def close(self) -> None:
        self._graph.close()


def _upright(roll_rad: float) -> NDArray[np.float64]:
    """(2, 2) rotation that turns a line at this angle level; its transpose turns back."""
    cos, sin = math.cos(roll_rad), math.sin(roll_rad)
    return np.array([[cos, sin], [-sin, cos]])
