"""Photo sets fitted: good photos gain heads, poor ones are counted, and a second call is free."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, load_layout
from anymark.engine.fits import Fitter, eye_distance, fit_photos
from anymark.engine.heads import canonical_rig
from anymark.errors import AnymarkError
from anymark.fit import Rig
from anymark.photo_files import PhotoLabels, read_labels


@pytest.fixture(scope="module")
def fitter(assets: Path) -> Fitter:
    rig = Rig.load_ict(assets)
    return Fitter(rig, canonical_rig(rig, CanonicalHead.load()))


@pytest.fixture(scope="module")
def labels(shared: Path) -> PhotoLabels:
    return read_labels(shared / "photos" / "faker")


def test_the_canonical_head_rides_on_the_rig(fitter: Fitter) -> None:
    head = CanonicalHead.load()
    jaw = [*fitter.rig.expression_names].index("jawOpen")
    expression = np.zeros(len(fitter.rig.expression_names))
    expression[jaw] = 0.3  # the canonical head's rest
    rest = fitter.canonical.vertices_mm(np.zeros(len(fitter.rig.identity_mm)), expression)
    assert np.abs(rest - head.vertices_mm).max() < 0.05


def test_fits_are_close_and_the_labels_are_followed_closer(fitter: Fitter, labels: PhotoLabels) -> None:
    fitted = fit_photos(labels, "train", partial(fitter.solve, labels), limit=16)
    assert len(fitted) >= 14
    assert np.median(fitted.residual()) < 0.022
    points = labels.points_px[fitted.index]
    vertices = fitter.vertices_mm(fitted.fit, points)
    xy = fitter.vertices_px(fitted.fit, vertices, points)
    head = CanonicalHead.load()
    on_head = head.closest_point(load_layout("mediapipe478").points_mm[:468])
    face = np.einsum("nk,bnkd->bnd", on_head.barycentric, xy[:, head.triangles[on_head.triangles]])
    error = np.linalg.norm(face - points[:, :468], axis=2).mean(1) / eye_distance(labels)[fitted.index]
    assert np.median(error) < 0.6 * np.median(fitted.residual())
    # irises: the middle of each is where it was seen
    for side, eye in zip((468, 473), fitter.canonical.eyes or (), strict=True):
        seen = fitted.fit.project(vertices[:, eye.iris].mean(1)[:, None])[:, 0]
        off = np.linalg.norm(seen - points[:, side], axis=1) / eye_distance(labels)[fitted.index]
        assert np.median(off) < 0.01


def test_poor_photos_are_counted_and_left_out(fitter: Fitter, labels: PhotoLabels) -> None:
    chosen = labels.chosen("train", good=True)[:4]
    points, sd = labels.points_px.copy(), labels.label_sd.copy()
    points[chosen[0], :468] = points[chosen[0], np.random.default_rng(0).permutation(468)]  # no face at all
    points[chosen[1]] *= 0.05
    sd[chosen[2]] = 0.2
    split = np.full(len(labels.split), 2)
    split[chosen] = 0
    spoiled = replace(labels, points_px=points, label_sd=sd, split=split)
    fitted = fit_photos(spoiled, "train", partial(fitter.solve, spoiled))
    assert fitted.index.tolist() == [chosen[3]]
    assert fitted.dropped["labels too uncertain"] == 1
    assert fitted.dropped["face too small"] == 1
    assert sum(fitted.dropped.values()) == 3


def test_a_second_call_is_free(fitter: Fitter, labels: PhotoLabels, tmp_path: Path) -> None:
    first = fit_photos(labels, "train", partial(fitter.solve, labels), cache=tmp_path, limit=3)

    def never(_: object) -> list:
        raise AssertionError

    second = fit_photos(labels, "train", never, cache=tmp_path, limit=3)
    assert np.array_equal(first.index, second.index)
    assert np.allclose(first.fit.identity, second.fit.identity, atol=1e-6)
    moved = replace(labels, points_px=labels.points_px + 1)
    with pytest.raises(AssertionError):  # other labels are other fits
        fit_photos(moved, "train", never, cache=tmp_path, limit=3)


def test_other_layouts_are_refused(fitter: Fitter, labels: PhotoLabels) -> None:
    with pytest.raises(AnymarkError, match="fits need mediapipe478"):
        fit_photos(replace(labels, layout="ibug68"), "train", partial(fitter.solve, labels))
