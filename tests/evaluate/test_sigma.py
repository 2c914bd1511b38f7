"""`anymark eval sigma`: errors against what sigma says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.canonical import Layout
from anymark.cli import main
from anymark.evaluate.benchmark import Benchmark, Face
from anymark.evaluate.score import Scores
from anymark.evaluate.sigma import errors_over_sigma, normalised_error, sigma_details

N = 400
LAYOUT = Layout("many", np.random.default_rng(0).uniform(-50, 50, (N, 3)), regions={"half": np.arange(N // 2)})


def scores(errors_px: np.ndarray, sigma_px: np.ndarray) -> Scores:
    """Errors (M, N, 2) and sigmas (M, N) of M faces, the last one missed."""
    labels = np.zeros((N, 2))
    faces = tuple(
        Face(
            str(i),
            "a" if i % 2 else "b",
            labels,
            np.array([0.0, 0, 9, 9]),
            {"eyes": 1.0},
            lambda: np.zeros(0, np.uint8),
        )
        for i in range(len(errors_px))
    )
    rows = {"a": ("a",), "b": ("b",), "all": ("a", "b")}
    benchmark = Benchmark("many", LAYOUT, faces, (), rows, ("eyes",), 0.1)
    nme = np.linalg.norm(errors_px, axis=2).mean(1)
    nme[-1] = np.inf
    found, sigma = errors_px.copy(), sigma_px.copy()
    found[-1], sigma[-1] = np.nan, np.nan
    return Scores(benchmark, LAYOUT, found, sigma, {"eyes": nme}, ())


@pytest.fixture
def gaussian() -> Scores:
    rng = np.random.default_rng(2)
    sigma = rng.uniform(0.5, 5, (41, N))
    return scores(rng.normal(0, 1, (41, N, 2)) * sigma[..., None], sigma)


def test_gaussian_errors_are_as_sigma_says(gaussian: Scores) -> None:
    overall, regions = sigma_details(gaussian)
    law = overall.rows["a Gaussian"]
    for row in ("a", "b", "all"):
        numbers = overall.rows[row]
        assert numbers["normalised error"] == pytest.approx(1, abs=0.02)
        assert numbers["median photo"] == pytest.approx(1, abs=0.03)
        for column in ("within 1 sigma", "within 2 sigma"):
            assert numbers[column] == pytest.approx(law[column], abs=0.01)
    assert [overall.rows[row]["n"] for row in ("a", "b", "all")] == [20, 20, 40]
    assert regions.rows["half"]["normalised error"] == pytest.approx(1, abs=0.02)
    assert (law["within 1 sigma"], law["within 2 sigma"]) == pytest.approx((0.3935, 0.8647), abs=1e-4)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_errors_larger_than_said_are_told_by_their_factor(gaussian: Scores, factor: float) -> None:
    over_sigma = errors_over_sigma(gaussian)[:-1]
    smaller = errors_over_sigma(replace(gaussian, sigma_px=gaussian.sigma_px / factor))[:-1]
    assert normalised_error(smaller) == pytest.approx(factor * normalised_error(over_sigma))


def test_photos_weigh_alike_whatever_their_size() -> None:
    sigma = np.ones((3, N))
    errors = np.zeros((3, N, 2))
    errors[0, :, 0], errors[1, :, 0] = 2.0, 1.0
    overall, _ = sigma_details(scores(errors, sigma))
    assert overall.rows["all"]["normalised error"] == pytest.approx(np.sqrt((4 + 1) / 2 / 2))
    assert overall.rows["all"]["median photo"] == pytest.approx((2 + 1) / np.sqrt(2) / 2)
    assert overall.rows["all"]["within 1 sigma"] == 0.5


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, linear, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--root", tmp_path / "none"], "none: no such folder"),
        (["--root", tmp_path], "none of the photo sets"),
    ):
        assert main(["eval", "sigma", *map(str, arguments), "--model", str(linear)]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.strip().splitlines()) == 1
