"""Paper 000 from triplets to top-10 on toy faces: each part takes what the one before it gives."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ferstream.training.networks.emo135 import (
    CorrelationNet,
    ExpressionEmbedding,
    FaceTrunk,
    embedded,
)
from ferstream.training.papers.emo135.embedding import (
    transformed_cross_entropy,
    triplet_accuracy,
    triplet_loss,
)
from ferstream.training.papers.emo135.labels import cleaned
from ferstream.training.papers.emo135.similarity import (
    expression_similarity,
    hausdorff_matrix,
    semantic_distances,
    word_matrix,
)
from ferstream.training.papers.emo135.triplets import draw_triplets, vote_distance

WORDS = 6
ALIKE = (np.kron(np.eye(2), np.full((3, 3), 0.5)) + np.eye(6) / 2).astype(np.float32)
"""Similarities of two families of three words."""
FACES = 360


def toy_faces(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Crops with a mouth whose bend says the family and brows whose height says the word."""
    rng = np.random.default_rng(seed)
    label = np.arange(FACES) % WORDS
    x = np.linspace(-1, 1, 32)
    crops = np.empty((FACES, 1, 32, 32), np.uint8)
    for row, word in enumerate(label):
        bend = (word // 3) * 10 - 5 + rng.normal(0, 0.4)
        brow = 4 + 4 * (word % 3) + rng.normal(0, 0.4)
        y = np.arange(32)[:, None]
        lines = np.exp(-((y - 23 + bend * x**2) ** 2)) + np.exp(-((y - brow) ** 2) + 0 * x)
        crops[row, 0] = np.clip(60 + 150 * lines + rng.normal(0, 8, (32, 32)), 0, 255)
    votes = ALIKE[label] + np.float32(0.02)
    return crops, votes / votes.sum(1, keepdims=True), np.asarray(label, np.int64)


def test_the_whole_way() -> None:
    torch.manual_seed(0)
    crops, votes, label = toy_faces(0)
    # Two of each word: more than K wrong ones alike would vouch for each other.
    wrong = np.arange(0, FACES, 31)
    found_under = label.copy()
    found_under[wrong] = (label[wrong] + 3) % WORDS
    network = ExpressionEmbedding(FaceTrunk(widths=(8, 16, 16), blocks=1))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    pixels = torch.from_numpy(crops)
    for step in range(40):
        drawn = draw_triplets(vote_distance(votes), label, 32, seed=(0, step))
        points = network.train()(pixels[torch.from_numpy(drawn.rows.T.reshape(-1))])
        loss = triplet_loss(*points.chunk(3), torch.from_numpy(drawn.margin))  # type: ignore[call-arg]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    points = embedded(network, crops)
    check = draw_triplets(vote_distance(votes), label, 500, seed=(1,)).rows.T
    a, b, odd = (torch.from_numpy(points[rows]) for rows in check)
    assert triplet_accuracy(a, b, odd).item() > 0.8

    kept = cleaned(points, found_under).keep
    assert kept[wrong].mean() < 0.3, "wrong words are found out"
    assert np.delete(kept, wrong).mean() > 0.8

    distance = hausdorff_matrix(points[kept], found_under[kept], WORDS)
    similarity = expression_similarity(distance)
    assert np.allclose(similarity.sum(axis=1), 1, atol=1e-5)

    word = torch.from_numpy(word_matrix(ALIKE))
    net = CorrelationNet(network, torch.from_numpy(similarity))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    target = torch.eye(WORDS)[torch.from_numpy(found_under[kept])]
    for _ in range(200):
        rows = torch.randperm(len(target))[:64]
        loss = transformed_cross_entropy(net.train()(pixels[kept][rows]), target[rows], word)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    fresh, _, truth = toy_faces(1)
    with torch.no_grad():
        scores = net.eval()(torch.from_numpy(fresh)).numpy()
    order = np.argsort(-scores, axis=1)
    assert (order[:, 0] == truth).mean() > 0.45
    assert (order[:, :3] // 3 == truth[:, None] // 3).mean() > 0.9, "like words come next"
    near, rest = semantic_distances(scores, truth, ALIKE, tops=(3,))["top3"]
    assert near < rest - 0.2
