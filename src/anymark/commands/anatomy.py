"""`anymark anatomy`: skull, jaw, teeth and eyes as rigid bodies."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from anymark.apps.anatomy import BODIES, Anatomy, anatomy_layout, draw_anatomy, fit_anatomy
from anymark.canonical import Layout
from anymark.commands.following import progress
from anymark.commands.on_heads import Heads, OnHeads, Pixels, Place, naming
from anymark.commands.said import say
from anymark.detect.landmarks import Landmarks
from anymark.detect.write import write_image
from anymark.files import atomic, write_json
from anymark.video import Frame, Video
from anymark.video.write import check_drawing, write_video
from anymark.wavefront import write_obj

COLUMNS = (
    "frame", "time_s", "head", "jaw_opening_mm",
    "right_gaze_yaw_deg", "right_gaze_pitch_deg", "left_gaze_yaw_deg", "left_gaze_pitch_deg",
)  # fmt: skip


@dataclass(kw_only=True)
class AnatomyCommand(OnHeads):
    """Fit skull, mandible with the lower teeth, and eyeballs to each head: their poses, how far the jaw is open, and
    where the eyes look.

    Writes NAME.anymark.json (poses of all bodies in each frame), NAME.anymark.csv (jaw and gaze, a row a frame and
    head), a drawing, and the bodies at rest as NAME.headN.BODY.anymark.obj.
    """

    def layout(self) -> Layout:
        """What is asked for on each head."""
        return anatomy_layout()

    def photo(self, name: str, pixels: Pixels, heads: list[Landmarks], out: Place) -> None:
        """One frame of each head."""
        with naming(name):
            found = {number: fit_anatomy([head]) for number, head in enumerate(heads, 1)}
        drawn = pixels
        for head, anatomy in zip(heads, found.values(), strict=True):
            drawn = draw_anatomy(drawn, anatomy, 0, head.camera)
        write_image(out("anatomy", ".png"), Image.fromarray(drawn))
        self._write(out, found, {number: [0] for number in found}, [0.0])
        for number, each in found.items():
            say(f"{name}  face {number}  {_said(each, 0)}")

    def clip(self, video: Video, heads: Heads, out: Place) -> None:
        """All frames of each head together: bones do not grow."""
        check_drawing(out("anatomy", ".mp4"))
        track = heads.track
        rows = {number: np.flatnonzero(track.rows["head"] == number).tolist() for number in track.ids}
        with naming(video.name):
            found = {number: fit_anatomy([track.landmarks(row) for row in these]) for number, these in rows.items()}
        frames = {number: track.rows["frame"][these].tolist() for number, these in rows.items()}

        def drawn(frame: Frame, pixels: Pixels) -> Pixels:
            for number, anatomy in found.items():
                if frame.index in frames[number]:
                    at = frames[number].index(frame.index)
                    pixels = draw_anatomy(pixels, anatomy, at, track.landmarks(rows[number][at]).camera)
            return pixels

        with progress("drawn", 0, len(heads)) as show:
            write_video(out("anatomy", ".mp4"), video, len(heads), drawn, show)
        self._write(out, found, frames, track.time_s.tolist())
        for number, each in found.items():
            opening = each.jaw_opening_mm
            say(
                f"{video.name}  head {number}  {len(opening)} of {len(heads)} frames  "
                f"jaw open by {opening.min():.1f} to {opening.max():.1f} mm"
            )

    def _write(
        self, out: Place, found: dict[int, Anatomy], frames: dict[int, list[int]], time_s: Sequence[float]
    ) -> None:
        heads = [
            {
                "head": number,
                "bodies": [{"name": body.name, "scale": round(body.scale, 4)} for body in each.bodies],
                "frames": [_frame(each, i, at, float(time_s[at])) for i, at in enumerate(frames[number])],
            }
            for number, each in found.items()
        ]
        write_json(out("anatomy", ".json"), {"format": 1, "heads": heads})
        with atomic(out("anatomy", ".csv"), "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for number, each in found.items():
                gaze = each.gaze_yaw_pitch_deg().reshape(-1, 4)
                for i, frame in enumerate(frames[number]):
                    numbers = [each.jaw_opening_mm[i], *gaze[i]]
                    writer.writerow([frame, round(float(time_s[frame]), 6), number, *np.round(numbers, 3).tolist()])
        for number, each in found.items():
            for body in each.bodies:
                path = out(f"head{number}.{body.name.replace(' ', '-')}", ".obj")
                write_obj(path, body.vertices_mm, body.triangles, "anymark: head frame at rest, millimetres")


def _frame(anatomy: Anatomy, i: int, frame: int, time_s: float) -> dict[str, object]:
    turn, place = anatomy.R_camera_head[i], anatomy.t_camera_head_mm[i]
    gaze = anatomy.gaze_camera()[i]
    return {
        "frame": frame,
        "time_s": round(time_s, 6),
        "jaw_opening_mm": round(float(anatomy.jaw_opening_mm[i]), 3),
        "gaze_camera": {side: gaze[k].round(5).tolist() for k, side in enumerate(("right", "left"))},
        "bodies": {
            name: {
                "R_camera_body": (turn @ anatomy.R_head_body[i, b]).round(6).tolist(),
                "t_camera_body_mm": (turn @ anatomy.t_head_body_mm[i, b] + place).round(3).tolist(),
                "error_mm": round(float(anatomy.error_mm[i, b]), 3),
            }
            for b, name in enumerate(BODIES)
        },
    }


def _said(anatomy: Anatomy, i: int) -> str:
    (right, left) = anatomy.gaze_yaw_pitch_deg()[i].round(1).tolist()
    return f"jaw open by {anatomy.jaw_opening_mm[i]:.1f} mm  gaze right {right} left {left} deg"
