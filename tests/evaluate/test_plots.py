"""Plots of the report, from the measurements that are committed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.cli import main
from tests.evaluate.test_prose import BENCHMARKS

pytest.importorskip("matplotlib")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks")
    return tmp_path / "benchmarks"


def test_every_plot_is_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--plots", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("errors", "groups", "mediapipe", "learning"):
        path = tmp_path / f"report-{name}.png"
        assert f"{path}  written" in said
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_plots_without_their_measurements_are_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "learning-small.json").unlink()
    main(["report", str(folder), "--plots", str(tmp_path)])
    assert not (tmp_path / "report-learning.png").exists()
    assert (tmp_path / "report-errors.png").exists()


def test_what_a_plot_lacks_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "photos-gt.json"
    content = json.loads(place.read_text())
    del content["faces"]
    place.write_text(json.dumps(content))
    assert main(["report", str(folder), "--plots", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "report-errors" in line
    assert "faces" in line
    assert main(["report", str(folder), "--plots", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
