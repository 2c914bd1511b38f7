"""`anymark headtrack`: a rig fitted to the dense map of each frame of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from anymark.apps.capture import View, capture
from anymark.apps.headtrack import seen_in, tracked_points
from anymark.apps.rigs import RigOnHead, ict_on_head, load_rig
from anymark.canonical import Layout, load_layout
from anymark.commands.capture import FitsRig, drawing_of, lens_of, longest
from anymark.commands.following import progress
from anymark.commands.on_heads import Place
from anymark.commands.said import say
from anymark.detect.dense import DENSE
from anymark.detect.embed import Dense
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.files import check_file, make_folder, shared_folder
from anymark.fit import Rig
from anymark.video import Track, Video
from anymark.video.sequence import plain_stem
from anymark.video.write import check_drawing, write_video


@dataclass(kw_only=True)
class HeadTrack(FitsRig):
    """Track a head with a rig: pose, identity and expressions fitted to the dense map of each frame of a clip.

    Writes NAME.headtrack.anymark.npz, the weights as NAME.headtrack.anymark.csv, and NAME.headtrack.anymark.mp4, the
    rig over the clip.
    """

    clip: Positional[Annotated[str, arg(metavar="CLIP")]]
    """A video file, an image sequence (shot.%04d.png) or a folder of pictures."""
    rig: Annotated[Path | None, arg(metavar="FILE.npz|FILE.pkl|DIR")] = None
    """A rig of yours: an .npz, a folder of .obj shapes, or FLAME's .pkl with --landmarks; ICT-FaceKit of --assets
    unless given."""
    assets: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds ict_facekit/; ../shared/assets or $ANYMARK_ASSETS by default."""
    dense: Annotated[str, arg(metavar="NAME|DIR")] = DENSE
    """Dense model."""

    def work(self) -> int:
        """See `Following`."""
        self.check_numbers()
        place = Place(self.out, plain_stem(self.clip))
        drawing = place("headtrack", ".mp4")
        check_drawing(drawing, made=self.out)
        check_file(place("headtrack", ".npz"), made=self.out)
        video = self.open(self.clip)
        rig = self._rig()
        points, asked = tracked_points(rig)
        detector = self.detector()
        dense = Dense(self.dense, detector, threads=self.threads)
        dense.load()
        make_folder(self.out)
        with self.followed(video, load_layout("ibug68"), detector, place("headtrack", ".npz")) as track:
            head = longest(video, track)
            view = self._view(video, head, dense, asked)
            found = capture(rig.rig, points, [view])
            self.write("headtrack", place, rig, found, track, video)
            with progress("drawn", 0, len(track.pts)) as show:
                write_video(drawing, video, len(track.pts), drawing_of(rig, found, view), show)
        seen = np.isfinite(found.residual_px)
        say(
            f"{self.clip}  {int(seen.sum())} of {len(seen)} frames  {len(asked)} points  "
            f"residual {np.nanmean(found.residual_px):.2f} px"
        )
        return 0

    def _rig(self) -> RigOnHead:
        if self.rig is not None:
            return load_rig(self.rig, self.unit_mm, self.landmarks)
        assets = shared_folder(self.assets, "assets", "--rig FILE, or --assets DIR with ICT-FaceKit")
        return ict_on_head(Rig.load_ict(assets))

    def _view(self, video: Video, track: Track, dense: Dense, layout: Layout) -> View:
        """What the dense maps of a head's frames say."""
        count = len(track.pts)
        xy, sigma = np.full((count, len(layout), 2), np.nan), np.full((count, len(layout)), np.inf)
        windows: dict[int, Window] = {}
        for i, row in enumerate(track.rows):
            landmarks = track.landmarks(i)
            windows[int(row["frame"])] = dense.network.window_of(landmarks.box_px, landmarks.crop.roll_rad)
        with progress("mapped", 0, count) as show:
            for frame in video:
                if frame.index >= count:
                    break
                if frame.pixels is not None and frame.index in windows:
                    try:
                        (found,) = dense.encode(frame.pixels, [windows[frame.index]])
                    except AnymarkError as error:
                        raise AnymarkError(f"{video.name}: frame {frame.index}: {error}") from None
                    xy[frame.index], sigma[frame.index] = seen_in(found, layout)
                show(frame.index + 1)
        return View.alone(xy, sigma, *lens_of(track, self.focal))
