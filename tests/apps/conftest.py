"""Models with known answers: the evaluation's two, whose heads never turn before their camera, and one whose do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.synthetic import write_turning
from tests.evaluate.synthetic import write_linear, write_locator, write_perspective


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_linear(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="session")
def perspective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_perspective(tmp_path_factory.mktemp("perspective"))


@pytest.fixture(scope="session")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_turning(tmp_path_factory.mktemp("models") / "turning")


@pytest.fixture(scope="session")
def locator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locator(tmp_path_factory.mktemp("locator"))
