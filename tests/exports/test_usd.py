"""USD scenes, read by Pixar's own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.exports import export
from anymark.video import Track
from tests.exports.tracks import FOUND, FRAMES, LAYOUT, SIZE, track

pytest.importorskip("pxr", reason="USD files are read by usd-core")
from pxr import Gf, Usd, UsdGeom, UsdValidation


def written(shot: Track, path: Path, **options: Any) -> Usd.Stage:
    export(shot, path, **options)
    return Usd.Stage.Open(str(path))


def drawn(stage: Usd.Stage, head: int, code: int, what: str = "points") -> np.ndarray:
    """(N, 2) pixels at which USD's camera sees the points: its frustum's own matrices, and its film as the picture."""
    camera = UsdGeom.Camera(stage.GetPrimAtPath(f"/anymark/head{head}/camera")).GetCamera(code)
    frustum = camera.frustum
    points = UsdGeom.PointBased(stage.GetPrimAtPath(f"/anymark/head{head}/head/{what}"))
    world = UsdGeom.Xformable(points).ComputeLocalToWorldTransform(code)
    to_film = world * frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
    film = np.array([to_film.Transform(Gf.Vec3d(*map(float, point))) for point in points.GetPointsAttr().Get(code)])
    assert (np.abs(film[:, 2]) < 1).all()  # between the near plane and the far one
    return np.column_stack([(1 + film[:, 0]) / 2 * SIZE[0], (1 - film[:, 1]) / 2 * SIZE[1]])


@pytest.mark.parametrize(("video", "codes"), [("clip.mp4", range(1, 10)), ("s.%04d.png", track("s.%04d.png").pts)])
def test_the_camera_sees_the_points_where_they_are(tmp_path: Path, video: str, codes: Any) -> None:
    shot = track(video)
    stage = written(shot, tmp_path / "a.usda")
    for row in shot.rows:
        seen = drawn(stage, int(row["head"]), int(codes[row["frame"]]))
        assert np.abs(seen - row["xy_px"]).max() < 0.01


def test_time_units_and_axes(tmp_path: Path) -> None:
    stage = written(track(), tmp_path / "a.usda", first=1001)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (1001, 1009)
    assert (stage.GetTimeCodesPerSecond(), stage.GetFramesPerSecond()) == (25, 25)
    assert UsdGeom.GetStageMetersPerUnit(stage) == 0.01
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert stage.GetDefaultPrim().GetPath() == "/anymark"


def test_the_head_is_centimetres_before_the_camera(tmp_path: Path) -> None:
    shot = track()
    stage = written(shot, tmp_path / "a.usda")
    row = shot.head(2)[1]
    head = UsdGeom.Xformable(stage.GetPrimAtPath("/anymark/head2/head"))
    place = head.ComputeLocalToWorldTransform(int(row["frame"]) + 1).ExtractTranslation()
    np.testing.assert_allclose(place, row["t_camera_head_mm"] * [0.1, -0.1, -0.1], rtol=1e-6)
    film = UsdGeom.Camera(stage.GetPrimAtPath("/anymark/head2/camera")).GetCamera(5)
    assert film.horizontalAperture == 36
    assert film.focalLength / 36 * 640 == pytest.approx(float(row["focal_px"]))


def test_points_have_names_and_how_sure_they_are(tmp_path: Path) -> None:
    shot = track()
    stage = written(shot, tmp_path / "a.usda", points=["lip", 0])
    primvars = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/anymark/head1/head/points"))
    assert list(primvars.GetPrimvar("name").Get()) == ["lip", "left_eye"]
    for name, values in (("visible", shot.head(1)["visible"]), ("sigma_px", shot.head(1)["sigma_px"])):
        primvar = primvars.GetPrimvar(name)
        assert primvar.GetInterpolation() == "vertex"
        np.testing.assert_allclose(primvar.Get(5), values[3, [5, 0]], atol=1e-4)


def test_heads_are_invisible_where_they_were_not_found(tmp_path: Path) -> None:
    stage = written(track(), tmp_path / "a.usda")
    for head in (1, 2):
        prim = UsdGeom.Imageable(stage.GetPrimAtPath(f"/anymark/head{head}/head"))
        shown = [prim.ComputeVisibility(frame + 1) == "inherited" for frame in range(FRAMES)]
        assert shown == [frame in FOUND[head] for frame in range(FRAMES)]


def test_a_mesh_where_one_is_asked_for(tmp_path: Path) -> None:
    shot = track()
    stage = written(shot, tmp_path / "a.usda", mesh=True)
    assert np.abs(drawn(stage, 1, 5, "mesh") - shot.head(1)["xy_px"][3]).max() < 0.01
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/anymark/head1/head/mesh"))
    assert LAYOUT.triangles is not None
    np.testing.assert_array_equal(np.reshape(mesh.GetFaceVertexIndicesAttr().Get(), (-1, 3)), LAYOUT.triangles)
    assert not written(shot, tmp_path / "b.usda").GetPrimAtPath("/anymark/head1/head/mesh")
    with pytest.raises(AnymarkError, match="layout 'six' has no triangles"):
        export(shot, tmp_path / "c.usda", points=["eyes"], mesh=True)


def test_usd_finds_no_fault(tmp_path: Path) -> None:
    stage = written(track(), tmp_path / "a.usda", mesh=True)
    checks = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(checks) > 10
    faults = UsdValidation.ValidationContext(checks).Validate(stage)
    assert [fault.GetMessage() for fault in faults] == []
