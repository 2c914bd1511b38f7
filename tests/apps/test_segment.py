"""Regions of the head in pictures: named or painted, soft at their edges, hidden where they are covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.partition import PARSING, Partition, palette
from anymark.apps.segment import segment
from anymark.canonical import CanonicalHead
from anymark.errors import AnymarkError
from tests.apps.heads import SIZE, camera, landmarks


def test_parsing_has_the_usual_twelve_classes_where_they_belong() -> None:
    partition = Partition.of_regions()
    assert len(partition.names) == len(PARSING) == 12
    labels = segment([landmarks(camera())], SIZE, partition).labels
    middle = {name: np.argwhere(labels == i).mean(0) for i, name in enumerate(partition.names) if (labels == i).any()}
    assert set(middle) == set(partition.names)
    # the subject's right is on the left of a picture that faces it
    for part in ("eye", "brow", "ear"):
        assert middle[f"right {part}"][1] < middle["nose"][1] < middle[f"left {part}"][1]
    order = ["left brow", "left eye", "nose", "upper lip", "inner mouth", "lower lip", "neck"]
    heights = [middle[name][0] for name in order]
    assert heights == sorted(heights)


def test_masks_are_soft_at_edges_and_never_more_than_one() -> None:
    found = segment([landmarks(camera(20))], SIZE, Partition.of_regions(["left cheek", "skin = face"]))
    total = found.masks.sum(0)
    assert total.max() <= 1 + 1e-5
    cheek = found.masks[0]
    assert ((cheek > 0.05) & (cheek < 0.95)).sum() > 20
    assert ((cheek > 0.99).sum()) > 100
    # the area of a soft mask is that of the region's triangles in the picture
    head = CanonicalHead.load()
    xy = camera(20).project(head.vertices_mm)[head.triangles[head.regions["left cheek"]]]
    a, b, c = np.moveaxis(xy, 1, 0)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert cheek.sum() == pytest.approx(-area[area < 0].sum() / 2, rel=0.02)


def test_what_is_covered_is_no_region() -> None:
    head = CanonicalHead.load()
    covered = np.ones(len(head.vertices_mm), np.float32)
    covered[head.vertices_mm[:, 0] > 0] = 0.02
    found = segment([landmarks(camera(), uncovered=covered)], SIZE, Partition.of_regions(["right cheek", "left cheek"]))
    assert (found.labels == 0).sum() > 100
    assert (found.labels == 1).sum() == 0


def test_nearer_heads_lie_over_farther_ones() -> None:
    partition = Partition.of_regions(["all = face + scalp + neck + shoulders"])
    near, far = camera(), camera(0, shift_mm=(60.0, 20.0))
    far = type(far)(far.focal_px, far.principal_px, far.R_camera_head, far.t_camera_head_mm + np.array([0, 0, 400]))
    both = segment([landmarks(near), landmarks(far)], SIZE, partition)
    alone = segment([landmarks(near)], SIZE, partition)
    assert both.masks.max() <= 1 + 1e-5
    assert both.masks.sum() > alone.masks.sum()
    np.testing.assert_allclose(both.masks[0][alone.masks[0] > 0.999], 1, atol=1e-5)


def test_the_mouth_s_gap_is_a_region() -> None:
    labels = {}
    for text in ("mouth = gums + tongue", "mouth = gums + tongue + gap"):
        labels[text] = int((segment([landmarks(camera(45))], SIZE, Partition.of_regions([text])).labels == 0).sum())
    closed, open_ = labels.values()
    assert open_ > closed


def test_a_painted_partition(tmp_path: Path) -> None:
    """The right half of the face's tile in one colour, the left in another: the subject's right and left."""
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, :32] = 200, 0, 0, 255
    picture[:, 32:] = 0, 0, 200, 255
    Image.fromarray(picture).save(tmp_path / "halves.png")
    partition = Partition.of_picture(tmp_path / "halves.png")
    assert partition.names == ("#0000c8", "#c80000")
    labels = segment([landmarks(camera())], SIZE, partition).labels
    columns = [np.argwhere(labels == i)[:, 1].mean() for i in (0, 1)]
    assert columns[1] < SIZE[0] / 2 < columns[0]


def test_the_label_picture_and_the_drawing() -> None:
    found = segment([landmarks(camera())], SIZE, Partition.of_regions(["nose"]))
    picture = found.picture()
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), found.labels + 1)
    photo = np.full((SIZE[1], SIZE[0], 3), 100, np.uint8)
    drawn = np.asarray(found.over(photo))
    assert (drawn[found.masks[0] == 0] == 100).all()
    inside = found.masks[0] > 0.999
    expected = np.rint(45 + 0.55 * found.partition.colours[0])
    np.testing.assert_allclose(drawn[inside], np.tile(expected, (inside.sum(), 1)), atol=1)


def test_bad_regions(tmp_path: Path) -> None:
    for regions, said in (
        (["nosee"], "no region named 'nosee'; did you mean nose"),
        (["lips = upper lip + lowr lip"], "no region named 'lowr lip'; did you mean lower lip"),
        (["nose", "nose = face"], "a name given twice"),
        ([" = nose"], "no name"),
        ([], "0 regions"),
    ):
        with pytest.raises(AnymarkError, match=said):
            Partition.of_regions(regions)
    Image.new("RGBA", (64, 64)).save(tmp_path / "empty.png")
    with pytest.raises(AnymarkError, match="nothing is painted on it"):
        Partition.of_picture(tmp_path / "empty.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "soft.png")
    with pytest.raises(AnymarkError, match="colours; 254 regions can be told apart: paint with a hard brush"):
        Partition.of_picture(tmp_path / "soft.png")


def test_colours_are_different() -> None:
    for count in (1, 12, 40):
        assert len(np.unique(palette(count), axis=0)) == count


def test_a_nearer_head_hides_more_than_its_regions() -> None:
    """The far nose behind the near cheek, of which nothing was asked."""
    partition = Partition.of_regions(["nose"])
    near, far = camera(), camera(0, shift_mm=(-45.0, 20.0))
    far = type(far)(far.focal_px, far.principal_px, far.R_camera_head, far.t_camera_head_mm + np.array([0, 0, 400.0]))
    alone = segment([landmarks(far)], SIZE, partition).masks[0]
    both = segment([landmarks(far), landmarks(near)], SIZE, partition).masks[0]
    own = segment([landmarks(near)], SIZE, partition).masks[0]
    assert alone.sum() > 50
    np.testing.assert_allclose(both[own == 0], 0, atol=0.05)
