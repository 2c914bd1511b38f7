"""Files for programs of one's own: one JSON of all there is, and .pts as of 300-W."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from anymark.exports.conventions import centred
from anymark.exports.shot import Shot
from anymark.files import atomic

FORMAT = 1


def write_whole(path: Path, shot: Shot) -> None:
    """One JSON object, a line a frame; pixels, axes and units are ours.

    Frames have their number as `frame`, `pts`, `time_s`, `decoded` and `heads`, each of these what
    `Landmarks.to_dict` has, and its `head`.

    Raises:
        AnymarkError: the file cannot be written.
    """
    track = shot.track
    layout = track.layout
    about = {
        "format": FORMAT,
        "video": track.video,
        "size": list(track.size_px),
        "fps": float(shot.rate),
        "smooth": track.smooth,
        "layout": layout.name,
        "names": None if layout.names is None else list(layout.names),
        "edges": None if layout.edges is None else layout.edges.tolist(),
        "triangles": None if layout.triangles is None else layout.triangles.tolist(),
    }
    starts = np.searchsorted(track.rows["frame"], np.arange(len(track.pts) + 1)).tolist()
    with atomic(path, "w") as file:
        file.write(f'{json.dumps(about)[:-1]}, "frames": [')
        for i, number in enumerate(shot.frames.tolist()):
            heads = [
                {"head": int(track.rows["head"][row])} | track.landmarks(row).to_dict()
                for row in range(starts[i], starts[i + 1])
            ]
            frame = {
                "frame": number,
                "pts": int(track.pts[i]),
                "time_s": round(float(track.time_s[i]), 6),
                "decoded": bool(track.decoded[i]),
                "heads": heads,
            }
            file.write((",\n" if i else "\n") + json.dumps(frame, allow_nan=False))
        file.write("\n]}\n")


def write_pts(path: Path, shot: Shot) -> None:
    """A file for each head and frame, `FRAME_headN.pts`; whole pixels are their centres and count from 1, as in 300-W.

    Raises:
        AnymarkError: a file cannot be written.
    """
    numbers = shot.frames[shot.track.rows["frame"]].tolist()
    for number, row in zip(numbers, shot.track.rows, strict=True):
        xy = centred(row["xy_px"].astype(np.float64), 1)
        lines = [
            "version: 1",
            f"n_points: {len(xy)}",
            "{",
            *("{:.4f} {:.4f}".format(*point) for point in xy.tolist()),
            "}",
        ]
        with atomic(path / f"{number:06d}_head{row['head']}.pts", "w") as file:
            file.write("\n".join(lines) + "\n")
