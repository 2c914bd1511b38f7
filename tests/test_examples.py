"""Every example runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("[01]*.py")))
def test_it_runs_and_makes_its_picture(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / name],
        env=os.environ | {"ANYMARK_EXAMPLES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if not name.startswith("08"):  # which has files of other programs to show, and no picture
        with Image.open(tmp_path / name.replace(".py", ".jpg")) as picture:
            assert picture.width > picture.height > 200
