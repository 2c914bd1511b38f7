"""Templates: what is painted, read and written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anymark.detect.template import Template, load_template, template_of
from anymark.errors import AnymarkError

SQUARE = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0.0, 0.0]]


def test_a_template_comes_back_from_its_file(tmp_path: Path) -> None:
    template = Template.of("square", SQUARE, [[0, 1], [1, 2]])
    template.save(tmp_path / "t.json")
    read = load_template(tmp_path / "t.json")
    assert read.name == "square"
    np.testing.assert_allclose(read.points, template.points, atol=1e-5)
    np.testing.assert_array_equal(read.lines, template.lines)
    np.testing.assert_array_equal(read.springs, template.springs)


def test_springs_join_lines_and_neighbours_once() -> None:
    template = Template.of("square", SQUARE, [[2, 1]])
    pairs = {tuple(pair) for pair in template.springs.tolist()}
    assert (1, 2) in pairs
    assert len(pairs) == len(template.springs)
    assert all(a < b for a, b in pairs)
    assert {i for pair in pairs for i in pair} == set(range(5))
    assert not len(Template.of("loose", SQUARE, springs=[]).springs)


def test_points_that_swap_in_a_mirror_are_known() -> None:
    flip = Template.of("square", SQUARE, [[0, 1], [1, 2], [0, 3]]).flip
    assert flip is not None
    assert flip.tolist() == [1, 0, 3, 2, 4]
    assert Template.of("square", SQUARE, [[0, 1], [1, 2]]).flip is None  # a line on one side alone
    assert Template.of("askew", [*SQUARE, [0.3, 0.1]]).flip is None


def test_dots_are_the_points_of_no_line() -> None:
    assert Template.of("square", SQUARE, [[0, 1], [1, 2]]).dots.tolist() == [3, 4]
    assert Template.of("dots", SQUARE).dots.tolist() == [0, 1, 2, 3, 4]


def test_the_size_is_the_diagonal_of_the_box() -> None:
    assert Template.of("square", SQUARE).size == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1], "no template"),
        ({"points": []}, "no points"),
        ({"points": [[0, 1, 2]]}, "rows of 2"),
        ({"points": [[0, 1], [2]]}, "different lengths"),
        ({"points": [["a", "b"]]}, "rows of 2"),
        ({"points": [[0, float("nan")]]}, "not finite"),
        ({"points": [[0, 1.2]]}, r"point 0 at \(0, 1.2\) lies outside"),
        ({"points": SQUARE, "lines": [[0, 5]]}, "lines has an index outside 0..4"),
        ({"points": SQUARE, "springs": [[0, -1]]}, "springs has an index"),
        ({"points": SQUARE, "lines": [[0.5, 1.0]]}, "lines must be rows"),
        ({"points": SQUARE, "edges": [[0, 1]]}, "unknown key 'edges'"),
    ],
)
def test_what_is_no_template_is_refused(data: object, said: str) -> None:
    with pytest.raises(AnymarkError, match=said):
        template_of(data)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(AnymarkError, match=r"t\.json: cannot be read"):
        load_template(path)
    path.write_text("{")
    with pytest.raises(AnymarkError, match=r"t\.json: not a JSON file"):
        load_template(path)
    path.write_text(json.dumps({"points": [[3, 0]]}))
    with pytest.raises(AnymarkError, match=r"t\.json: .*outside"):
        load_template(path)
