"""What all tests share: where the data lies, if it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core runs tests, and each would take all cores

from pathlib import Path

import pytest

SHARED = (
    Path(os.environ["ANYMARK_ASSETS"]).parent
    if "ANYMARK_ASSETS" in os.environ
    else Path(__file__).parents[2] / "shared"
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is not in the repository; skips the test where it is absent."""
    if not (SHARED / "photos").is_dir():
        pytest.skip(f"needs the photos of docs/training.md in {SHARED.name}/ beside the checkout, or ANYMARK_ASSETS")
    return SHARED


@pytest.fixture(scope="session")
def assets() -> Path:
    """Shared assets."""
    if not (SHARED / "assets" / "ict_facekit").is_dir():
        pytest.skip(f"needs the assets of docs/data.md in {SHARED.name}/ beside the checkout, or ANYMARK_ASSETS")
    return SHARED / "assets"


@pytest.fixture(scope="session", autouse=True)
def one_look() -> Iterator[None]:
    """Most networks of tests know nothing of mirrored heads: where looks are not what is tested, there is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anymark.detect.detector.PHOTO_LOOKS", 1)
        yield
