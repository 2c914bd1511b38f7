"""COLMAP: one head as a sparse model in text, with a camera for each frame.

The world is the head's frame, in millimetres: the head stays and the camera moves about it. (0.5, 0.5) is the centre of
the top-left pixel, as with us.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymark.exports.conventions import plain, quaternions
from anymark.exports.shot import Shot, of_pictures
from anymark.files import atomic
from anymark.video.sequence import is_pattern, picture_name


def write_model(path: Path, shot: Shot) -> None:
    """cameras.txt, images.txt and points3D.txt. A point is where the head has it on the median of frames, as COLMAP's
    points do not move, with the mean error of that; seen from all frames in which it is not hidden.

    Raises:
        AnymarkError: a file cannot be written.
    """
    (head,) = shot.track.ids
    rows, (width, height) = shot.track.head(head), shot.track.size_px
    principal, focal, xy, rotations, places = (
        rows[name].astype(np.float64)
        for name in ("principal_px", "focal_px", "xy_px", "R_camera_head", "t_camera_head_mm")
    )
    turned = quaternions(rotations)
    seen = np.stack([shot.seen(rows, i)[rows["frame"]] for i in range(len(shot.point_names))], 1)
    still = np.median(rows["xyz_mm"].astype(np.float64), 0)
    before = np.einsum("rij,nj->rni", rotations, still) + places[:, None]
    drawn = principal[:, None] + focal[:, None, None] * before[..., :2] / before[..., 2:]
    errors = np.linalg.norm(drawn - xy, axis=2)

    cameras = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, f, cx, cy"]
    images = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for i, frame in enumerate(rows["frame"].tolist()):
        lens = " ".join(plain(value, 6) for value in (focal[i], *principal[i]))
        pose = " ".join(plain(value, 9) for value in (*turned[i], *places[i]))
        cameras.append(f"{i + 1} SIMPLE_PINHOLE {width} {height} {lens}")
        images.append(f"{i + 1} {pose} {i + 1} {_picture(shot, frame)}")
        images.append(
            " ".join(
                f"{plain(x)} {plain(y)} {point + 1 if seen[i, point] else -1}"
                for point, (x, y) in enumerate(xy[i].tolist())
            )
        )
    points = [
        "# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX); millimetres of the head's frame"
    ]
    for point in np.flatnonzero(seen.any(0)).tolist():
        where = " ".join(plain(value, 6) for value in still[point])
        track = " ".join(f"{i + 1} {point}" for i in np.flatnonzero(seen[:, point]).tolist())
        points.append(f"{point + 1} {where} 255 255 255 {plain(errors[seen[:, point], point].mean(), 6)} {track}")

    for name, lines in (("cameras.txt", cameras), ("images.txt", images), ("points3D.txt", points)):
        with atomic(path / name, "w") as file:
            file.write("\n".join(lines) + "\n")


def _picture(shot: Shot, frame: int) -> str:
    """The picture of a frame: of a sequence its own name, of a clip that of the picture that ffmpeg would make."""
    source = shot.track.video
    if not (of_pictures(shot.track) and is_pattern(source)):
        return f"{int(shot.frames[frame]):06d}.png"
    return picture_name(source, int(shot.track.pts[frame]))
