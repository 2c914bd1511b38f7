"""What the engine's tests need of the machine and share."""

from __future__ import annotations

import pytest

from anymark.canonical import CanonicalHead
from anymark.engine.texture import Atlas
from anymark.errors import AnymarkError


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
