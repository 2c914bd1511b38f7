"""Scores of marker models: known answers on drawn pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.detect.template import Template
from anymark.engine.marker_sets import Known, Truth, write_pictures
from anymark.errors import AnymarkError
from anymark.evaluate.painted import by_template, errors, jitter, nearest_blobs, read_known

SIZE = 96
TRUTH = np.array([[-0.5, -0.5], [0.5, -0.4], [0.1, 0.55]])


def dotted(points: np.ndarray) -> np.ndarray:
    """Blue dots on skin, at places between pixels."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    image = np.full((SIZE, SIZE, 3), (200, 160, 140), np.float64)
    for px, py in (points + 1) * (SIZE / 2):
        cover = np.clip(3.2 - np.hypot(x - px, y - py), 0, 1)[..., None]
        image = image * (1 - cover) + np.array([20, 30, 220]) * cover
    return image.astype(np.uint8)


def test_blobs_are_found_between_pixels() -> None:
    moved = TRUTH + np.array([0.013, -0.007])
    found = nearest_blobs(dotted(moved), TRUTH)
    np.testing.assert_allclose(found, moved, atol=0.006)
    lost = nearest_blobs(dotted(TRUTH[:2]), TRUTH)
    assert np.isnan(lost[2]).all()
    assert np.isnan(nearest_blobs(np.full((SIZE, SIZE, 3), 90, np.uint8), TRUTH)).all()


def test_errors_count_what_is_seen_over_the_templates_size() -> None:
    truth = Truth(TRUTH[None], np.array([[True, True, False]]), np.zeros(1, int))
    found = [TRUTH + np.array([0.3, 0.4])]
    said = errors(found, truth, 2.0)
    assert said["mean %"] == pytest.approx(25)
    assert said["found %"] == 100
    half = [np.where([[True], [False], [True]], TRUTH, np.nan)]
    assert errors(half, truth, 2.0)["found %"] == 50


def test_what_is_off_by_as_much_in_each_frame_does_not_jitter() -> None:
    path = np.stack([TRUTH + np.array([0.01 * i, 0]) for i in range(6)])
    truth = Truth(path, np.ones((6, 3), bool), np.zeros(6, int))
    assert jitter(list(path + 0.2), truth, 1.0) == pytest.approx(0, abs=1e-9)
    shaken = [at + (0.05 if i % 2 else -0.05) * np.array([1, 0]) for i, at in enumerate(path)]
    assert jitter(shaken, truth, 2.0) == pytest.approx(5.0)


def test_from_one_take_to_the_next_nothing_jitters() -> None:
    truth = Truth(np.stack([TRUTH] * 4), np.ones((4, 3), bool), np.array([7, 7, 9, 9]))
    jumps = [TRUTH, TRUTH, TRUTH + 0.3, TRUTH + 0.3]
    assert jitter(jumps, truth, 1.0) == 0
    assert jitter(jumps, truth._replace(take=np.zeros(4, int)), 1.0) > 10


def test_a_set_is_read_with_its_truth(tmp_path: Path) -> None:
    pictures = [Known(dotted(TRUTH), ((TRUTH + 1) * SIZE / 2).astype(np.float32), np.ones(3, bool)) for _ in range(2)]
    write_pictures(tmp_path / "s", pictures, truth=True)
    found, (points, visible, take) = read_known(tmp_path / "s")
    assert len(found) == 2
    np.testing.assert_allclose(points[0], TRUTH, atol=1e-6)
    assert visible.all()
    assert (take == take[0]).all()
    np.testing.assert_allclose(by_template(Template.of("t", TRUTH))(found[0]), TRUTH, atol=1e-6)
    (tmp_path / "s" / "000000.png").unlink()
    with pytest.raises(AnymarkError, match="1 pictures, and truth of 2"):
        read_known(tmp_path / "s")
    with pytest.raises(AnymarkError, match="no such folder"):
        read_known(tmp_path / "none")
