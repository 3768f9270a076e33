"""Training that begins with a bundle: it computes what the bundle does, also while it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ferstream.engines.bundle import load_bundle
from ferstream.engines.engine import open_engine
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.from_bundles import start_from_bundle
from ferstream.training.networks.compact_msau import CompactMSAU
from tests.engines import tiny as tiny_networks
from tests.training.conftest import Exported


@pytest.fixture(scope="module")
def faces(judged_dir: Path) -> LearningFaces:
    return load_splits("fer2013plus", judged_dir).train


@pytest.mark.parametrize("which", ["default", "exported"])
def test_the_network_computes_what_the_bundle_does(
    which: str, faces: LearningFaces, exported: Exported
) -> None:
    """Folded normalisations are taken apart again; action units and features come out the same."""
    bundle = load_bundle(which) if which == "default" else exported[0]
    torch.manual_seed(0)
    network = CompactMSAU(judged=True)
    start_from_bundle(network, str(bundle.path), faces)
    assert network.training, "ready to learn"
    crops = faces.crops(48)[:32]
    engine = open_engine(bundle, "spatial", backend="onnxruntime", precision="fp32")
    wanted = engine.run({"crop": crops})
    engine.close()
    network.eval()
    with torch.no_grad():
        out = network(torch.from_numpy(crops))
    np.testing.assert_allclose(out.feature.numpy(), wanted["feature"], atol=2e-3)
    units = torch.sigmoid(out.blendshapes).numpy()
    np.testing.assert_allclose(units, wanted["au"], atol=2e-3)


def test_normalisations_learn_on_from_what_they_see(faces: LearningFaces) -> None:
    """In training mode, where a batch's own statistics count, the scores stay close."""
    network = CompactMSAU(judged=True, dropout=0.0)
    start_from_bundle(network, "default", faces)
    crops = torch.from_numpy(faces.crops(48)[:64])
    with torch.no_grad():
        learning = network.train()(crops).logits
        deployed = network.eval()(crops).logits
    agree = (learning.argmax(1) == deployed.argmax(1)).float().mean()
    assert agree > 0.8


def test_another_network_is_refused(faces: LearningFaces, tmp_path: Path) -> None:
    other = tiny_networks.bundle(tmp_path / "tiny")
    with pytest.raises(OptionsWrong, match="is not the one that `ferstream train compact` makes"):
        start_from_bundle(CompactMSAU(judged=True), str(other.path), faces)
