"""`anymark data build` and `show` as a user runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.cli import main
from anymark.engine.samples import write_shard
from tests.engine.test_samples import drawn


def test_a_contact_sheet_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from anymark.canonical import CanonicalHead

    count = len(CanonicalHead.load().vertices_mm)
    rng = np.random.default_rng(0)
    sample = drawn("a")
    whole = type(sample)(
        "a",
        sample.image,
        rng.normal(0, 50, (count, 3)),
        sample.bones_mm,
        rng.uniform(0, 32, (count, 2)),
        np.ones(count, bool),
        sample.canonical_mm,
        sample.part,
        sample.covered,
        sample.places_mm,
        sample.record,
    )
    write_shard(tmp_path / "shard-00000.tar", [whole, replace(whole, key="b")])
    out = tmp_path / "sheet.png"
    assert main(["data", "show", str(tmp_path), "--out", str(out), "--columns", "1", "--tile", "64"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as sheet:
        assert sheet.size == (4 * 64, 2 * 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "{}/none"], "none: no such file"),
        (["show", "{}"], "no shards"),
        (["show", "{}", "--count", "0"], "--count"),
        (["show", "{}", "--out", "{}/sheet.txt"], "must end in .png or .jpg"),
        (["show", "{}/empty.toml"], "empty.toml: not a shard"),
        (["build", "{}/none.toml", "--out", "{}/out"], "none.toml: cannot be read"),
        (["build", "{}/empty.toml", "--out", "{}/out"], "names no sources"),
        (["build", "{}/empty.toml", "--out", "{}/out", "--processes", "0"], "--processes 0"),
        (["build", "{}/faker.toml", "--out", "{}/out", "--assets", "{}/none"], "none: no such folder"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "faker.toml").write_text("[sources]\nfaker = 1\n")
    assert main(["data", *(a.format(tmp_path) for a in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_a_missing_set_or_rig_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "faker.toml").write_text("[sources]\nfaker = 1\n")
    for name in ("assets", "photos"):
        (tmp_path / name).mkdir()
    places = ["--assets", str(tmp_path / "assets"), "--photos", str(tmp_path / "photos")]
    assert main(["data", "build", str(tmp_path / "faker.toml"), "--out", str(tmp_path / "out"), *places]) == 2
    assert "faker" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_data_set_is_built_and_shown(
    gl: None, assets: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faker.toml").write_text("size = 64\nviews = 2\n[sources]\nfaker = 2\n")
    places = ["--assets", str(assets), "--photos", str(shared / "photos"), "--processes", "1"]
    command = ["data", "build", str(tmp_path / "faker.toml"), "--out", str(tmp_path / "out"), *places]
    assert main(command) == 0
    assert "4 samples in 1 shards" in capsys.readouterr().out
    assert main(["data", "show", str(tmp_path / "out"), "--out", str(tmp_path / "sheet.png")]) == 0
