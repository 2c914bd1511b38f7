"""What a dense model's numbers mean beside a query model's: fitted on training data, and written on the card.

Renders say what is seen and where it is; photos that are set aside, where landmarks are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from anymark.canonical import load_layout
from anymark.canonical.files import HEAD
from anymark.detect.dense import DenseMap, DenseNetwork, RoundTrip
from anymark.detect.detector import Detector, dense_maps
from anymark.detect.image import open_photo
from anymark.detect.model import Model
from anymark.detect.round_trip import Refiner, features, gaps
from anymark.engine.samples import Sample, finished_shards, read_shards
from anymark.errors import AnymarkError
from anymark.evaluate.photo_sets import read_photos
from anymark.evaluate.samples import true_window
from anymark.evaluate.score import find_head
from anymark.spread import spread

RENDERS, PHOTOS = 240, 120
TRUSTS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 6.0, 9.0, 14.0)
"""What is tried for `RoundTrip.trust`."""

_STRIDE = 8  # of the head's vertices, one in so many tells enough
_MOST = 25.0  # squared errors over their sigmas count no more than this


def calibrate(folder: Path, shards: Sequence[str], photos: Path) -> dict[str, Any]:
    """The card's "sigma_scale" and "round_trip".

    Args:
        folder: of the exported model. shards: data sets that it learned from. photos: folder of photo sets.

    Raises:
        AnymarkError: something of these cannot be read.
    """
    network, detector = DenseNetwork(Model(folder, "dense")), Detector(looks=1)
    looked, squares, rows, labels = [], [], [], []
    for sample in _renders(shards):
        (head,) = detector.encode(sample.image, [true_window(sample, detector)])
        (dense,) = dense_maps(network, open_photo(sample.image), [head])
        looked.append((sample, head, dense))
        seen = np.flatnonzero(sample.visible)[::_STRIDE]
        at = dense.at(sample.xy_px[seen])
        away = np.linalg.norm(at.points_mm - load_layout(HEAD).points_mm[seen], axis=1)
        squares.append(np.minimum(away**2 / (3 * at.sigma_mm**2), _MOST))
    scale = float(np.sqrt(np.concatenate(squares).mean())) if squares else 1.0
    for sample, head, dense in looked:
        found = head.query(HEAD)
        canonical = found.layout.points_mm
        over, _, shown = gaps(found, canonical, _scaled(dense, scale))
        own = found.surface is None or found.surface.visible(canonical, found.xyz_mm) > 0.5
        some = np.flatnonzero(np.broadcast_to(own, len(canonical)))[::_STRIDE]
        rows.append(features(found.uncovered, shown, over)[some])
        labels.append(sample.visible[some])
    out: dict[str, Any] = {}
    weights = RoundTrip()
    if squares:
        out["sigma_scale"] = round(scale, 4)
        seen_weights = logistic(np.concatenate(rows), np.concatenate(labels))
        weights = RoundTrip(weights.trust, seen_weights)
    trust = _best_trust(network, detector, photos, weights, scale)
    out["round_trip"] = {"trust": trust, "visible": [round(w, 4) for w in weights.visible]}
    return out


def logistic(rows: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The weights (4,) of features (N, 4) that make labels (N,) most likely."""

    def cost(w: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logit = rows @ w
        loss = np.logaddexp(0, logit) - labels * logit
        return float(loss.mean()), rows.T @ (expit(logit) - labels) / len(rows)

    a, b, c, d = minimize(cost, np.array(RoundTrip().visible), jac=True).x
    return float(a), float(b), float(c), float(d)


def _best_trust(
    network: DenseNetwork, detector: Detector, photos: Path, weights: RoundTrip, sigma_scale: float
) -> float:
    """What moves the landmarks of photos set aside nearest to their labels; that of `weights` if there are none."""
    try:
        benchmark = read_photos(photos, "calibration")
    except AnymarkError:  # none are set aside
        return weights.trust
    layout = benchmark.layout
    assert layout is not None
    errors = np.zeros(len(TRUSTS))
    for i in spread(len(benchmark.faces), PHOTOS):
        face = benchmark.faces[i]
        pixels = face.load()
        head = find_head(detector, pixels, face, "gt")
        if head is None:
            continue
        (dense,) = dense_maps(network, open_photo(pixels), [head])
        dense = _scaled(dense, sigma_scale)
        for k, trust in enumerate(TRUSTS):
            asked = Refiner(dense, RoundTrip(trust, weights.visible))
            found = replace(head, refiner=asked).query(layout)
            away = np.linalg.norm(found.xy_px - face.points_px, axis=1)
            errors[k] += away.mean() / face.lengths_px[benchmark.normalisers[0]]
    return TRUSTS[int(errors.argmin())]


def _scaled(dense: DenseMap, scale: float) -> DenseMap:
    """A map as the finished model, whose card says the scale, will give it."""
    return replace(dense, sigma_mm=(scale * dense.sigma_mm).astype(np.float32))


def _renders(shards: Sequence[str]) -> list[Sample]:
    """Samples whose labels are exact, spread over the data sets."""
    out: list[Sample] = []
    for folder in shards:
        paths = finished_shards(Path(folder))
        each = -(-RENDERS // len(paths))
        for path in paths:
            samples = [s for s in read_shards([path]) if s.sd_mm is None]
            out += [samples[i] for i in spread(len(samples), each)]
    return out[:: max(1, len(out) // RENDERS)][:RENDERS]
