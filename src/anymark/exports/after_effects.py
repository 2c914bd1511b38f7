"""After Effects: keyframes as its clipboard has them, text that is pasted onto layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymark.exports.conventions import plain
from anymark.exports.shot import Shot
from anymark.files import atomic


def write_keyframes(path: Path, shot: Shot) -> None:
    """Positions: a block for each head and point, after a line `Layer` if there are several. Keys where the head was
    found, whether the point is seen or not: there are none for that.

    Raises:
        AnymarkError: the file cannot be written.
    """
    width, height = shot.track.size_px
    lines = [
        "Adobe After Effects 8.0 Keyframe Data",
        "",
        f"\tUnits Per Second\t{float(shot.rate):.6g}",
        f"\tSource Width\t{width}",
        f"\tSource Height\t{height}",
        "\tSource Pixel Aspect Ratio\t1",
        "\tComp Pixel Aspect Ratio\t1",
        "",
    ]
    layers = len(shot.track.ids) * len(shot.point_names) > 1
    for head in shot.track.ids:
        rows = shot.track.head(head)
        numbers = shot.frames[rows["frame"]].tolist()
        xy = rows["xy_px"].astype(np.float64)
        for i in range(len(shot.point_names)):
            lines += ["Layer"] if layers else []
            lines += ["Transform\tPosition", "\tFrame\tX pixels\tY pixels\tZ pixels\t"]
            lines += [
                f"\t{number}\t{plain(x)}\t{plain(y)}\t0\t"
                for number, (x, y) in zip(numbers, xy[:, i].tolist(), strict=True)
            ]
            lines.append("")
    with atomic(path, "w") as file:
        file.write("\n".join([*lines, "", "End of Keyframe Data"]) + "\n")
