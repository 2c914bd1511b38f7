"""Boxes: what they must be, how far they overlap, which are kept."""

from __future__ import annotations

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.detect.boxes import check_box, check_boxes, iou, one_a_face, suppress


def test_overlap_is_the_shared_part_of_the_area_of_both() -> None:
    a = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], float)
    b = np.array([[1, 0, 3, 2], [2, 2, 3, 3], [0, 0, 2, 2]], float)
    np.testing.assert_allclose(iou(a, b), [[2 / 6, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(iou(b, a), iou(a, b).T)
    assert iou(a, np.zeros((0, 4))).shape == (2, 0)


def test_boxes_beside_each_other_do_not_overlap() -> None:
    # apart along both axes: the product of two negative sides is positive
    assert iou(np.array([[0, 0, 1, 1.0]]), np.array([[3, 3, 4, 4.0]])) == 0


def test_suppression_keeps_the_best_of_each_face() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 20]], float)
    assert suppress(boxes, np.array([0.5, 0.9, 0.7, 0.1]), 0.4) == [1, 2]
    assert suppress(boxes, np.array([0.5, 0.9, 0.7, 0.1]), 0.99) == [1, 2, 0, 3]
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.4) == []


def test_one_a_face_and_the_largest_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 40, 20]], float)
    assert one_a_face(boxes, np.array([0.5, 0.9, 0.7])) == [2, 1]
    assert one_a_face(np.zeros((0, 4)), np.zeros(0)) == []


@pytest.mark.parametrize(
    "box",
    [[1, 2, 3], [1, 2, 3, 4, 5], [[1, 2, 3, 4]], [1, 2, [3], 4], ["a", "b", "c", "d"], "abcd", 7, [3, 2, 1, 4],
     [1, 2, 3, 2], [0, 0, np.nan, 5], [0, 0, np.inf, 5], [0, 0, 10**400, 5]],
)  # fmt: skip
def test_what_is_no_box_is_named(box: object) -> None:
    with pytest.raises(AnymarkError, match=r"^box .* is not \[x0, y0, x1, y1\]") as error:
        check_box(box)
    assert len(str(error.value)) < 200


def test_boxes_come_out_one_by_one() -> None:
    assert [box.tolist() for box in check_boxes(np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert check_boxes([]) == check_boxes(np.zeros((0, 4))) == []


@pytest.mark.parametrize("boxes", [7, "abc", [1, 2, 3, 4], [[1, 2, 3, 4], [1, 2]]])
def test_what_are_no_boxes_is_named(boxes: object) -> None:
    with pytest.raises(AnymarkError, match=r"^box"):
        check_boxes(boxes)
