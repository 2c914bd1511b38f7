"""What the tests of run time share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.detect.synthetic import write_landmark_model, write_locator


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic models: basis, mlp, plain (without S), turned (whose S turns heads), locator, rolled."""
    folder = tmp_path_factory.mktemp("models")
    write_landmark_model(folder / "basis")
    write_landmark_model(folder / "mlp", "mlp")
    write_landmark_model(folder / "plain", turn=None)
    write_landmark_model(folder / "turned", turn=[[0.8, -0.6], [0.6, 0.8]])
    write_locator(folder / "locator")
    write_locator(folder / "rolled", roll=0.4)
    return folder
