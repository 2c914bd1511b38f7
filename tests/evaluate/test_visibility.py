"""`anymark eval visibility`: ranking and calibration of the probability of being seen."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.cli import main
from anymark.engine.samples import Sample, write_shard
from anymark.engine.shots import turned
from anymark.evaluate.visibility import calibration_error, read_visibility, reliability, roc_auc
from tests.evaluate.synthetic import LOGIT
from tests.samples import finish, grey_sample

SIDE, FOCAL, AWAY = 96, 200.0, 900.0


def test_auc_counts_pairs() -> None:
    probability, seen = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert roc_auc(probability, seen) == 0.75
    assert roc_auc(seen, seen) == 1
    assert roc_auc(~seen, seen) == 0
    assert roc_auc(np.ones(4), seen) == 0.5  # equals count half
    assert math.isnan(roc_auc(probability, np.ones(4, bool)))


def test_auc_does_not_change_with_what_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(500).round(2)
    seen = rng.random(500) < p
    pairs = np.sign(p[seen][:, None] - p[~seen][None]) / 2 + 0.5
    assert roc_auc(p, seen) == pytest.approx(pairs.mean())
    assert roc_auc(np.log(p + 1e-3), seen) == pytest.approx(roc_auc(p, seen))
    assert roc_auc(-p, seen) == pytest.approx(1 - roc_auc(p, seen))


def test_reliability_by_hand() -> None:
    bins = reliability(np.array([0.0, 0.04, 0.5, 0.55, 1.0, 1.0]), np.array([0, 1, 1, 1, 1, 0], bool))
    assert [b.count for b in bins] == [2, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert (bins[0].predicted, bins[0].observed) == pytest.approx((0.02, 0.5))
    assert (bins[5].low, bins[5].high) == (0.5, 0.6)
    assert (bins[9].predicted, bins[9].observed) == (1, 0.5)
    assert math.isnan(bins[1].predicted)
    assert calibration_error(bins) == pytest.approx((0.48 + 0.475 + 0.5) / 3)


def test_probabilities_that_come_true_are_calibrated() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(200_000)
    seen = rng.random(200_000) < p
    assert calibration_error(reliability(p, seen)) < 0.01
    assert calibration_error(reliability(p**3, seen)) > 0.15


def sample(key: str, hidden: slice, things: Sequence[str] = ()) -> Sample:
    made = grey_sample(key, turned(0, 0, 0), np.array([0.0, 0.0, AWAY]), SIDE, FOCAL)
    visible = made.visible.copy()
    visible[hidden] = False
    return replace(made, visible=visible, record={**made.record, "things": list(things)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "views"
    path.mkdir()
    samples = [
        sample("a", slice(1000, None)),
        sample("b", slice(500, None), ["glasses", "lenses"]),
        sample("c", slice(0, 0), ["hand"]),
    ]
    write_shard(path / "shard-00000.tar", samples)
    finish(path)
    return path


def test_rows_are_what_is_before_the_face(folder: Path) -> None:
    benchmark = read_visibility(folder)
    rows = {row: [benchmark.faces[i].name for i in benchmark.row(row)] for row in benchmark.rows}
    assert rows == {
        "no occluder": ["a"],
        "occluder": ["b", "c"],
        "glasses": ["b"],
        "hand": ["c"],
        "all": ["a", "b", "c"],
    }
    assert list(rows)[-1] == "all"
    truth = benchmark.faces[0].truth["visible"]
    assert truth[:-468].sum() == 1000
    assert set(truth.tolist()) == {0, 1}
    assert 0 < truth[-468:].mean() < 1  # follows the vertices around each point
    assert benchmark.faces[2].truth["visible"].all()


def test_numbers_from_shards_to_last_line(
    folder: Path, linear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model says the same of all points, so all that ranks them is what the head hides."""
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "numbers.json", tmp_path / "plot.png"
    given = ["eval", "visibility", str(folder), "--model", str(linear), "--json", str(out), "--plot", str(plot)]
    assert main(given) == 0
    numbers = json.loads(out.read_text())
    vertices = numbers["details"]["AUC of being seen, vertices, %"]
    assert vertices["all"]["n"] == 3
    assert vertices["all"]["learned"] == 0.5
    assert vertices["all"]["visible"] == pytest.approx(vertices["all"]["geometric"], abs=1e-3)
    assert 0.5 < vertices["no occluder"]["geometric"] < 1
    assert vertices["hand"]["visible"] is None  # all are seen
    bins = numbers["reliability"]["vertices"]
    said = 1 / (1 + math.exp(-LOGIT))
    assert sum(b["count"] for b in bins) == 3 * 4451
    assert max(b["predicted"] for b in bins if b["count"]) <= said + 1e-6
    mean = sum(b["count"] * b["observed"] for b in bins if b["count"]) / (3 * 4451)
    assert mean == pytest.approx((1000 + 500 + 4451) / (3 * 4451), abs=1e-5)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"AUC {100 * vertices['all']['visible']:.2f} %, ")
    assert last.endswith("(n=3)")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_photos_do_not_say_what_is_seen(tmp_path: Path, linear: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = sample("a", slice(0, 9))
    write_shard(tmp_path / "shard-00000.tar", [replace(photo, sd_mm=np.ones(len(photo.xy_px)))])
    finish(tmp_path)
    assert main(["eval", "visibility", str(tmp_path), "--model", str(linear)]) == 2
    assert "sample a: a photo" in capsys.readouterr().err
