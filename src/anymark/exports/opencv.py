"""OpenCV: cameras and points, in JSON that `cv2.FileStorage` reads as matrices and everything else as plain JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.exports.conventions import centred, rotation_vectors
from anymark.exports.shot import Shot
from anymark.files import write_json


def write_cameras(path: Path, shot: Shot) -> None:
    """A view for each head and frame: K, R, rvec and t from the head's frame to the camera's, and its points.

    Whole pixels are their centres, as in OpenCV; millimetres.

    Raises:
        AnymarkError: the file cannot be written.
    """
    rows = shot.track.rows
    numbers = shot.frames[rows["frame"]].tolist()
    principal = centred(rows["principal_px"].astype(np.float64), 0)
    points = centred(rows["xy_px"].astype(np.float64), 0)
    vectors = rotation_vectors(rows["R_camera_head"].astype(np.float64))
    views: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        focal, (x, y) = float(row["focal_px"]), principal[i].tolist()
        views.append(
            {
                "frame": numbers[i],
                "head": int(row["head"]),
                "K": _matrix(np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])),
                "R": _matrix(row["R_camera_head"]),
                "rvec": _matrix(vectors[i, :, None]),
                "t": _matrix(row["t_camera_head_mm"][:, None]),
                "image_points": _matrix(points[i]),
                "object_points": _matrix(row["xyz_mm"]),
                "sigma_px": _matrix(row["sigma_px"][:, None]),
                "visible": _matrix(row["visible"][:, None]),
            }
        )
    about = {"image_width": shot.track.size_px[0], "image_height": shot.track.size_px[1], "fps": float(shot.rate)}
    write_json(path, {**about, "point_names": shot.point_names, "views": views})


def _matrix(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    rows, columns = values.shape
    data = [float(f"{value:.9g}") for value in values.ravel().tolist()]  # float32 as it was
    return {"type_id": "opencv-matrix", "rows": rows, "cols": columns, "dt": "d", "data": data}
