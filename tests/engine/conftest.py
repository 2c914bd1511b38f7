"""What the engine's tests need of the machine and of the shared data."""

from __future__ import annotations

from pathlib import Path

import pytest

from anymark.canonical import CanonicalHead
from anymark.engine.texture import Atlas
from anymark.errors import AnymarkError
from tests.conftest import SHARED


@pytest.fixture(scope="session")
def gl() -> None:
    """Skips where nothing can be rendered."""
    from anymark.engine.render import Renderer

    try:
        Renderer((8, 8)).close()
    except AnymarkError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def head() -> CanonicalHead:
    return CanonicalHead.load()


@pytest.fixture(scope="session")
def atlas(head: CanonicalHead) -> Atlas:
    """Its skin, coarsely."""
    return Atlas(head, 192)


@pytest.fixture(scope="session")
def assets() -> Path:
    """Shared assets."""
    if not (SHARED / "assets" / "ict_facekit").is_dir():
        pytest.skip(f"needs the assets of DATA.md in {SHARED.name}/ beside the checkout, or ANYMARK_ASSETS")
    return SHARED / "assets"
