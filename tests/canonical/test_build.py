"""The committed data are what the committed script makes of the assets."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("ANYMARK_ASSETS", ROOT.parent / "shared" / "assets"))


@pytest.mark.skipif(not (ASSETS / "ict_facekit").is_dir(), reason=f"no assets in {ASSETS}; set ANYMARK_ASSETS")
def test_rebuilding_gives_the_shipped_data(tmp_path: Path):
    pytest.importorskip("scipy")
    script = ROOT / "scripts" / "build_canonical.py"
    subprocess.run([sys.executable, script, "--assets", ASSETS, "--out", tmp_path], check=True, capture_output=True)
    data = resources.files("anymark.canonical") / "data"
    built = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.npz"))
    assert len(built) == 11
    for path in built:
        with np.load(tmp_path / path) as new, (data / str(path)).open("rb") as file, np.load(file) as shipped:
            assert new.files == shipped.files, path
            for key in new.files:
                assert new[key].dtype == shipped[key].dtype, (path, key)
                if new[key].dtype.kind == "f":  # the last bits may differ between machines
                    np.testing.assert_allclose(new[key], shipped[key], atol=1e-4, err_msg=f"{path} {key}")
                else:
                    np.testing.assert_array_equal(new[key], shipped[key], err_msg=f"{path} {key}")


def test_without_assets_the_script_says_what_is_missing(tmp_path: Path):
    pytest.importorskip("scipy")
    script = ROOT / "scripts" / "build_canonical.py"
    done = subprocess.run(
        [sys.executable, script, "--assets", tmp_path, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} has no folder ict_facekit; pass --assets or set ANYMARK_ASSETS\n"
