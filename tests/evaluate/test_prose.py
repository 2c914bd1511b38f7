"""The report: numbers in prose come from the files beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anymark.cli import main
from anymark.errors import AnymarkError
from anymark.evaluate.prose import fill, find

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CONTENT = {
    "host": {"commit": "abc"},
    "details": {
        "pose: mean errors, degrees": {"all": {"n": 9, "rotation": 3.815}, "yaw 0-30": {"n": 4, "rotation": 2.0}},
        "share": {"ours": 0.02144, "ours, slow": 0.5, "theirs": 0.1},
    },
    "per face": [1, 2, 3],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pose.json").write_text(json.dumps(CONTENT))
    return tmp_path


def written(folder: Path, text: str) -> str:
    (folder / "report.md").write_text(text)
    return fill(folder)


def test_numbers_come_from_their_files(folder: Path) -> None:
    assert written(folder, "off by {{pose > all > rotation : .2f}} ({{pose > all > n : d}})") == "off by 3.81 (9)"
    assert written(folder, "{{pose > share > ours : .2f%}} % at {{pose > commit : s}}") == "2.14 % at abc"
    assert written(folder, "no numbers, {one} brace") == "no numbers, {one} brace"


def test_keys_to_the_letter_come_before_parts_of_keys() -> None:
    assert find(CONTENT, ["share", "ours"]) == 0.02144
    assert find(CONTENT, ["slow"]) == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{pose > rotation : .2f}}", "2 numbers answer: details > pose"),
        ("{{pose > nothing : .2f}}", "0 numbers answer"),
        ("{{pose > per face : d}}", "0 numbers answer"),
        ("{{pose > all > n : .q}}", "Format specifier missing precision"),
        ("{{pose : d}}", "FILE > KEY"),
        ("{{gone > n : d}}", r"gone\.json: no such file"),
    ],
)
def test_what_is_not_answered_by_one_number_is_named(folder: Path, text: str, said: str) -> None:
    with pytest.raises(AnymarkError, match=said):
        written(folder, text)


def test_the_command_writes_and_checks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "report.md").write_text("{{pose > all > n : d}} heads\n")
    assert main(["report", str(folder), "--check"]) == 1
    assert main(["report", str(folder)]) == 0
    assert (folder / "README.md").read_text() == "9 heads\n"
    assert main(["report", str(folder), "--check"]) == 0
    (folder / "README.md").write_text("10 heads\n")
    assert main(["report", str(folder), "--check"]) == 1
    assert (folder / "README.md").read_text() == "10 heads\n"
    (folder / "report.md").unlink()
    capsys.readouterr()
    assert main(["report", str(folder)]) == 2
    assert "report.md: no such file" in capsys.readouterr().err


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the checkout's benchmarks are not here")
def test_our_own_report_is_what_was_measured() -> None:
    assert (BENCHMARKS / "README.md").read_text("utf-8") == fill(BENCHMARKS)
