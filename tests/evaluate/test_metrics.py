"""Metrics on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.evaluate import metrics


def test_distances_are_euclidean():
    assert metrics.point_distances([[0, 0], [3, 4]], [[0, 0], [0, 0]]).tolist() == [0, 5]


def test_lengths_of_a_face():
    points = np.array([[0, 0], [2, 0], [10, 0], [12, 6]], float)
    assert metrics.point_pair_distance(points, 0, 2) == 10
    assert metrics.mean_pair_distance(points, [0, 1], [2, 3]) == pytest.approx(np.hypot(10, 3))
    assert metrics.box_size(points) == pytest.approx(np.sqrt(12 * 6))


def test_a_length_in_3d_counts_depth():
    assert metrics.point_pair_distance([[0, 0, 0], [3, 0, 4]], 0, 1) == 5


def test_mean_and_quantiles_leave_missed_heads_out():
    errors = [0.02, 0.04, metrics.MISSED]
    assert metrics.mean_error(errors) == pytest.approx(0.03)
    assert metrics.quantile(errors, 0.5) == pytest.approx(0.03)


def test_missed_heads_are_failures():
    errors = [0.02, 0.08, 0.081, metrics.MISSED]
    assert metrics.failure_rate(errors, 0.08) == 0.5
    assert metrics.auc(errors, 0.08) == pytest.approx((0.75 + 0 + 0 + 0) / 4)


def test_auc_is_the_area_under_the_cumulative_curve():
    errors = np.random.default_rng(0).gamma(4, 0.015, 200)
    at = np.linspace(0, 0.1, 10_001)
    assert metrics.auc(errors, 0.1) == pytest.approx(np.trapezoid(metrics.cumulative(errors, at), at) / 0.1, abs=1e-4)


@pytest.mark.parametrize(("errors", "auc"), [([0.0, 0.0], 1.0), ([0.1], 0.0), ([np.inf], 0.0)])
def test_auc_ends_at_0_and_1(errors: list[float], auc: float):
    assert metrics.auc(errors, 0.1) == auc


def test_cumulative_counts_errors_at_the_threshold_and_never_the_missed():
    assert metrics.cumulative([0.1, 0.2, np.inf], [0.05, 0.1, 0.2, 9.0]).tolist() == pytest.approx(
        [0, 1 / 3, 2 / 3, 2 / 3]
    )


def test_all_missed_has_no_mean():
    assert np.isnan(metrics.mean_error([np.inf]))
    assert np.isnan(metrics.quantile([np.inf], 0.9))
    assert metrics.failure_rate([np.inf], 0.1) == 1


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.mean_error([0.1, np.nan])
