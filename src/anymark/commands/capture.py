"""`anymark capture`: a rig of the user's fitted to a clip."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from tyro.conf import Positional, arg

from anymark.apps.capture import Capture, View, capture
from anymark.apps.look import over, shaded
from anymark.apps.rigs import RigOnHead, load_rig
from anymark.canonical import Layout
from anymark.commands.detect import DEFAULT_OUT
from anymark.commands.following import Following, complain_of_frames, progress
from anymark.commands.on_heads import Pixels, Place
from anymark.commands.said import complain, say
from anymark.detect.camera import Camera
from anymark.detect.detector import Detector
from anymark.detect.files import MARK
from anymark.detect.points import as_layout
from anymark.errors import AnymarkError
from anymark.files import atomic, check_file, make_folder, reading
from anymark.video import Frame, Track, Video
from anymark.video.sequence import ImageSequence, plain_stem
from anymark.video.write import check_drawing, write_video
from anymark.wavefront import write_obj

_SKIN = (0.75, 0.78, 0.85)
_OPACITY = 0.7


@dataclass(kw_only=True)
class FitsRig(Following):
    """The options of commands that fit a rig to clips, and what they write."""

    landmarks: Annotated[Path | None, arg(metavar="FILE")] = None
    """The rig's vertices of the 68 landmarks, from 0, in a text or JSON; if the rig does not say."""
    unit_mm: Annotated[float, arg(metavar="MM")] = 10.0
    """Millimetres of one unit of the rig: 10 for centimetres."""
    focal: Annotated[float | None, arg(metavar="PX")] = None
    """Focal length in pixels, the optical axis through the picture's middle; the model's own guess unless given."""
    meshes: bool = False
    """Write the rig of each frame as an .obj file, too, in a folder."""
    out: Annotated[Path, arg(metavar="DIR")] = DEFAULT_OUT
    """Folder for what is written."""

    def check_numbers(self) -> None:
        """See `Following`."""
        super().check_numbers()
        if self.focal is not None and not self.focal > 0:
            raise AnymarkError(f"--focal {self.focal:g}: must be above 0")

    def write(self, what: str, place: Place, rig: RigOnHead, found: Capture, track: Track, video: Video) -> None:
        """NAME.WHAT.anymark.npz and .csv, and the meshes if they are wanted."""
        names = rig.rig.expression_names
        with atomic(place(what, ".npz"), "wb") as file:
            np.savez_compressed(
                file,
                identity=found.identity,
                expression=found.expression,
                expression_names=np.array(names),
                R_world_head=found.R_world_head,
                t_world_head_mm=found.t_world_head_mm,
                residual_px=found.residual_px,
                time_s=track.time_s[: len(found.expression)],
            )
        with atomic(place(what, ".csv"), "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["frame", "time_s", "residual_px", *names])
            for i, weights in enumerate(found.expression):
                residual = found.residual_px[i]
                said = "" if np.isnan(residual) else round(float(residual), 3)
                writer.writerow([i, round(float(track.time_s[i]), 6), said, *np.round(weights, 4).tolist()])
        if self.meshes:
            folder = place.frames(f"{what}.meshes", ".obj", video)
            for i in range(len(found.expression)):
                path = folder.of(i, int(track.pts[i]))
                write_obj(path, found.vertices_mm(rig.rig, i), rig.rig.triangles, "anymark: head frame, millimetres")


@dataclass(kw_only=True)
class CaptureCommand(FitsRig):
    """Fit a rig of yours to a clip, or to several of one performance from calibrated cameras: expression weights and
    the pose of the head in each frame, one identity for all.

    Writes NAME.capture.anymark.npz, the weights as NAME.capture.anymark.csv, and NAME.capture.anymark.mp4, the rig over
    the first clip.
    """

    clips: Positional[Annotated[tuple[str, ...], arg(metavar="CLIPS...", help_behavior_hint="(one or more)")]]
    """Video files, image sequences (shot.%04d.png) or folders of pictures; several start at once and need --cameras."""
    rig: Annotated[Path, arg(metavar="FILE.npz|DIR")]
    """The rig: an .npz, or a folder of .obj shapes, one called neutral, identities, and expressions by their names."""
    layout: Annotated[str, arg(metavar="NAME|FILE")] = "dense-5k"
    """Landmarks that it is fitted to."""
    cameras: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Calibrated cameras, one a clip: a list of objects with focal_px, principal_px, R_camera_world and
    t_camera_world_mm (x right, y down, z forward)."""

    def work(self) -> int:
        """See `Following`."""
        self.check_numbers()
        if not self.clips:
            raise AnymarkError("no clips given: anymark capture CLIPS... --rig RIG")
        if self.focal is not None and self.cameras is not None:
            raise AnymarkError("--focal and --cameras: the cameras have focal lengths of their own")
        cameras = None if self.cameras is None else read_cameras(self.cameras, len(self.clips))
        if len(self.clips) > 1 and cameras is None:
            raise AnymarkError(f"{len(self.clips)} clips: --cameras must say where they stand")
        first = str(next(iter(self.clips)))
        place = Place(self.out, plain_stem(first))
        drawing = place("capture", ".mp4")
        check_drawing(drawing, made=self.out)
        check_file(place("capture", ".npz"), made=self.out)
        rig = load_rig(self.rig, self.unit_mm, self.landmarks)
        layout = replace(as_layout(self.layout), code=None, model=None, slides_mm=None)  # where points say they lie
        points, on = rig.points_of(layout)
        some = Layout("captured", layout.points_mm[on])
        videos = [self.open(name) for name in self.clips]
        detector = self.detector()
        make_folder(self.out)
        with ExitStack() as stack:  # what was tracked is kept until all is written
            tracks = [stack.enter_context(self._tracked(video, some, detector, i)) for i, video in enumerate(videos)]
            heads = [longest(video, track) for video, track in zip(videos, tracks, strict=True)]
            count = min(len(track.pts) for track in tracks)
            _check_together(videos, tracks, count)
            views = [
                view_of_track(track, self.focal, None if cameras is None else cameras[i], count)
                for i, track in enumerate(heads)
            ]
            found = capture(rig.rig, points, views)
            self.write("capture", place, rig, found, tracks[0], videos[0])
            with progress("drawn", 0, count) as show:
                write_video(drawing, videos[0], count, drawing_of(rig, found, views[0]), show)
        seen = np.isfinite(found.residual_px)
        say(
            f"{first}  {int(seen.sum())} of {len(seen)} frames  {len(on)} landmarks  "
            f"residual {np.nanmean(found.residual_px):.2f} px"
        )
        return 0

    def _tracked(self, video: Video, layout: Layout, detector: Detector, i: int) -> AbstractContextManager[Track]:
        """One clip's; see `followed`."""
        return self.followed(video, layout, detector, self.out / f"{plain_stem(video.name)}.{i}{MARK}.npz")


def read_cameras(path: Path, count: int, of: str = "clips") -> list[Camera]:
    """The cameras of several clips or photos; `R_camera_head` and `t_camera_head_mm` are those of the world.

    Raises:
        AnymarkError: the file cannot be read, or does not hold so many cameras.
    """
    with reading(path, "a list of cameras"):
        listed = json.loads(path.read_text("utf-8"))
        cameras = [
            Camera(
                float(each["focal_px"]),
                *(np.array(each[key], np.float64) for key in ("principal_px", "R_camera_world", "t_camera_world_mm")),
            )
            for each in listed
        ]
    if len(cameras) != count:
        raise AnymarkError(f"{path}: {len(cameras)} cameras for {count} {of}")
    return cameras


def view_of_track(track: Track, focal: float | None, camera: Camera | None, count: int) -> View:
    """What one clip saw, in its first `count` frames."""
    rows = track.rows[track.rows["frame"] < count]
    n = len(track.layout)
    xy, sigma = np.full((count, n, 2), np.nan), np.full((count, n), np.nan)
    xy[rows["frame"]], sigma[rows["frame"]] = rows["xy_px"], rows["sigma_px"]
    if camera is not None:
        lens = np.full(count, camera.focal_px), np.tile(camera.principal_px, (count, 1))
        return View(xy, sigma, *lens, camera.R_camera_head, camera.t_camera_head_mm)
    return View.alone(xy, sigma, *lens_of(track, focal))


def lens_of(track: Track, focal: float | None) -> tuple[float, npt.NDArray[np.float64]]:
    """A clip's focal length, the model's own guess unless given, and its principal point, the picture's middle."""
    middle = np.array(track.size_px) / 2
    if focal is None:
        focal = float(np.median([track.landmarks(i).camera.about(middle).focal_px for i in range(len(track.rows))]))
    return focal, middle


def longest(video: Video, track: Track) -> Track:
    """The head that is seen longest, alone.

    Raises:
        AnymarkError: there is none.
    """
    complain_of_frames(video, track)
    if not track.ids:
        raise AnymarkError(f"{video.name}: no face in {len(track.pts)} frames")
    head = max(track.ids, key=lambda each: len(track.head(each)))
    if len(track.ids) > 1:
        complain(f"{video.name}: {len(track.ids)} heads; number {head}, seen longest, is captured")
    return replace(track, rows=track.head(head))


def _check_together(videos: Sequence[Video], tracks: Sequence[Track], count: int) -> None:
    """That frames of several clips belong together by their place.

    Raises:
        AnymarkError: pictures of two sequences have other numbers.
    """
    if any(len(track.pts) != count for track in tracks):
        complain(f"clips of {', '.join(str(len(track.pts)) for track in tracks)} frames: the shortest counts")
    numbers = [
        (video.name, np.diff(track.pts[:count]))
        for video, track in zip(videos, tracks, strict=True)
        if isinstance(video, ImageSequence)
    ]
    for name, steps in numbers[1:]:
        if not np.array_equal(steps, numbers[0][1]):
            raise AnymarkError(f"{name}: its pictures lack other numbers than those of {numbers[0][0]}")


def drawing_of(rig: RigOnHead, found: Capture, view: View) -> Callable[[Frame, Pixels], Pixels]:
    """Draws the rig over the frames of a view."""
    triangles = rig.triangles
    colours = np.tile(_SKIN, (len(triangles), 1))

    def drawn(frame: Frame, pixels: Pixels) -> Pixels:
        i = frame.index
        if np.isnan(found.residual_px[i]):
            return pixels
        world = found.vertices_mm(rig.rig, i) @ found.R_world_head[i].T + found.t_world_head_mm[i]
        seen = world @ view.R_view_world.T + view.t_view_world_mm
        xy = view.principal_px[i] + view.focal_px[i] * seen[:, :2] / seen[:, 2:]
        size = pixels.shape[1], pixels.shape[0]
        return over(pixels, shaded(seen, triangles, xy, size, colours), _OPACITY)

    return drawn
