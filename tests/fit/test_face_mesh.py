"""Where MediaPipe's points lie on ICT-FaceKit."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, load_layout
from anymark.fit import Rig, fit
from anymark.fit.rig import face_mesh_on_ict

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
EARS = ROOT / "scripts" / "face_mesh" / "ears.csv"

UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)


@pytest.fixture(scope="module")
def ict() -> Rig:
    if not (SHARED / "assets" / "ict_facekit").is_dir():
        pytest.skip("needs ../shared/assets/ict_facekit")
    return Rig.load_ict(SHARED / "assets")


def test_points_lie_within_triangles_of_the_outer_skin() -> None:
    points = face_mesh_on_ict()
    assert len(points) == 468
    assert points.vertices.max() < 11248  # what follows is inside of the mouth and the eyes
    assert (points.barycentric >= -1e-6).all()
    assert np.allclose(points.barycentric.sum(1), 1, atol=1e-6)


def test_halves_mirror_each_other(ict: Rig) -> None:
    on = face_mesh_on_ict().on(ict.neutral_mm)
    flip = load_layout("mediapipe478").flip
    assert flip is not None
    assert np.abs(on - on[flip[:468]] * (-1, 1, 1)).max() < 1


def test_an_opening_jaw_parts_the_lips_points(ict: Rig) -> None:
    down = -face_mesh_on_ict().on(ict.expression_mm[ict.expression_names.index("jawOpen")])[:, 1]
    apart = down[list(LOWER_LIP)] - down[list(UPPER_LIP)]
    assert (apart > 0).all()
    assert (apart[1:-1] > 10).all()  # all but those at the corners


def test_layout_lies_where_the_rig_has_the_points(ict: Rig) -> None:
    layout = load_layout("mediapipe478").points_mm[:468]
    away = np.linalg.norm(layout - face_mesh_on_ict().on(ict.neutral_mm), axis=1)
    still = np.setdiff1d(np.arange(468), [*UPPER_LIP, *LOWER_LIP])
    assert np.median(away[still]) < 2  # the canonical head's jaw is a little open
    assert away.max() < 15


def test_fits_of_faces_have_their_ears_where_they_are_seen(ict: Rig) -> None:
    """Of photos that place_face_mesh.py took the inclination of heads from: what it found is in the fit."""
    from anymark.engine.heads import canonical_rig
    from anymark.photo_files import read_labels

    if not (SHARED / "photos").is_dir():
        pytest.skip("needs ../shared/photos")
    scipy_spatial = pytest.importorskip("scipy.spatial")
    head = CanonicalHead.load()
    ears = scipy_spatial.cKDTree(head.vertices_mm).query(load_layout("ears").points_mm)[1].reshape(2, -1)
    posed = canonical_rig(ict, head)
    marks = defaultdict(list)
    with EARS.open() as file:
        for row in csv.DictReader(file):
            marks[row["set"], row["photo"]].append(row)
    off = []
    of_sets = {name: read_labels(SHARED / "photos" / name) for name in {name for name, _ in marks}}
    for (name, photo), rows in marks.items():
        labels = of_sets[name]
        i = labels.names.index(photo)
        found = fit(ict, face_mesh_on_ict(), labels.points_px[[i], :468], depth_px=labels.depth_px[[i], :468])
        projected = found.project(posed.vertices_mm(found.identity, found.expression))[0]
        px_per_mm = found.camera.focal_px[0] / found.t_camera_head_mm[0, 2]
        for row in rows:
            y = projected[ears[int(row["ear"] == "left")], 1]
            end = y.min() if row["end"] == "top" else y.max()
            off.append((end - float(row["y_px"])) / px_per_mm)
    assert abs(np.median(off)) < 2.5
    assert np.std(off) < 8
