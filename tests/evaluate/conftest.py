"""The synthetic models, and files as 300-W has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate.synthetic import Tree, write_linear, write_locator, write_perspective


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_linear(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="session")
def perspective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_perspective(tmp_path_factory.mktemp("perspective"))


@pytest.fixture(scope="session")
def locator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locator(tmp_path_factory.mktemp("locator"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    from anymark.canonical import load_layout

    face = load_layout("ibug68").points_mm[:, :2].astype(float) * (1, -1) + (160, 165)
    return Tree(tmp_path / "300w", face)
