"""What commands that do something with whole heads have in common: photos and clips in, each done by itself."""

from __future__ import annotations

import glob
import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from tyro.conf import Positional, arg

from anymark.canonical import Layout, load_layout
from anymark.canonical.files import HEAD
from anymark.commands.detect import DEFAULT_OUT, expand
from anymark.commands.following import Following, complain_of_frames
from anymark.commands.said import complain
from anymark.detect.detector import Detector
from anymark.detect.files import MARK, SUFFIXES, unique
from anymark.detect.image import identified, load_image
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError
from anymark.files import make_folder
from anymark.video import Frame, Track, Video
from anymark.video.sequence import ImageSequence, is_pattern, plain_stem
from anymark.video.smoothing import Smoothing

Pixels = npt.NDArray[np.uint8]

_MAY_MOVE = (".gif",)  # suffixes of pictures that may be clips


@dataclass(kw_only=True)
class OnHeads(Following):
    """Files in, and a folder out."""

    files: Positional[Annotated[tuple[str, ...], arg(metavar="FILES...", help_behavior_hint="(one or more)")]]
    """Photos, folders of photos and globs; and clips: video files, GIFs that move, and sequences as shot.%04d.png or
    shot.####.exr."""
    out: Annotated[Path, arg(metavar="DIR")] = DEFAULT_OUT
    """Folder for what is written."""
    smooth: Smoothing = "offline"
    """How clips are made steadier; see anymark track."""

    @abstractmethod
    def photo(self, name: str, pixels: Pixels, heads: list[Landmarks], out: Place) -> None:
        """What is to be done with a photo (H, W, 3) and the layout of its heads, the largest first."""

    @abstractmethod
    def clip(self, video: Video, heads: Heads, out: Place) -> None:
        """What is to be done with a video and its heads."""

    def prepare(self) -> None:
        """What is checked and read before the models are."""

    def layout(self) -> Layout:
        """What is asked for on each head."""
        return load_layout(HEAD)

    def work(self) -> int:
        """See `Following`."""
        self.check_numbers()
        if not self.files:
            raise AnymarkError("no files given: photos or clips")
        self.prepare()
        videos = [name for name in self.files if is_video(name)]
        photos, problems = expand([name for name in self.files if name not in videos])
        places = [Place(self.out, stem) for stem in unique(plain_stem(str(name)) for name in (*photos, *videos))]
        detector = self.detector()
        make_folder(self.out)
        for problem in problems:
            complain(problem)
        failed = len(problems)
        for path, place in zip([*photos, *videos], places, strict=True):
            try:
                self._one(str(path), path in videos, detector, place)
            except AnymarkError as error:
                failed += 1
                complain(error)
        return 2 if failed else 0

    def _one(self, name: str, is_clip: bool, detector: Detector, place: Place) -> None:
        if not is_clip:
            pixels = load_image(name)
            heads = [head.query(self.layout()) for head in detector.encode(pixels)[: self.max_heads]]
            if not heads:
                raise AnymarkError(f"{name}: no face")
            self.photo(name, pixels, heads, place)
            return
        video = self.open(name)
        with self.followed(video, self.layout(), detector, place("", ".npz")) as track:
            complain_of_frames(video, track)
            frames, found = len(track.pts), bool(track.ids)
            if found:
                self.clip(video, Heads(track), place)
        if not found:  # the run is over all the same
            raise AnymarkError(f"{name}: no face in {frames} frames")


@dataclass(frozen=True, eq=False)
class Place:
    """Where what is made of one file goes."""

    folder: Path
    stem: str

    def __call__(self, what: str, suffix: str) -> Path:
        """The path of one product; `what` tells it from the others, "" is the main one."""
        return self.folder / f"{self.stem}{'.' + what if what else ''}{MARK}{suffix}"

    def frames(self, what: str, suffix: str, video: Video) -> Frames:
        """A folder of one product's frames of a video.

        Raises:
            AnymarkError: it cannot be made.
        """
        folder = self(what, "")
        make_folder(folder)
        return Frames(folder, suffix, isinstance(video, ImageSequence))


@dataclass(frozen=True)
class Frames:
    """A folder of numbered pictures: those of a sequence keep their numbers, frames of a clip count from 0."""

    folder: Path
    suffix: str
    of_sequence: bool

    def __getitem__(self, frame: Frame) -> Path:
        return self.of(frame.index, frame.pts)

    def of(self, index: int, pts: int) -> Path:
        """The path of a frame with this index and time stamp."""
        return self.folder / f"{pts if self.of_sequence else index:06d}{self.suffix}"


class Heads:
    """The heads of a clip by frame."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self._starts = np.searchsorted(track.rows["frame"], np.arange(len(track.pts) + 1))

    def __len__(self) -> int:
        return len(self.track.pts)

    def of(self, frame: Frame, number: int | None = None) -> list[Landmarks]:
        """Those of one frame; with a number, that head alone, if it is there."""
        rows = range(*self._starts[frame.index : frame.index + 2])
        return [self.track.landmarks(row) for row in rows if number in (None, int(self.track.rows["head"][row]))]


@contextmanager
def naming(name: str) -> Iterator[None]:
    """What goes wrong within is said of a file."""
    try:
        yield
    except AnymarkError as error:
        raise AnymarkError(f"{name}: {error}") from None


def is_video(name: str) -> bool:
    """Whether an argument means a clip rather than photos."""
    if is_pattern(name) and not os.path.exists(name):
        return True
    path = Path(name)
    if path.suffix.lower() in _MAY_MOVE:
        return path.is_file() and _moves(path)
    if path.is_dir() or (glob.has_magic(name) and not path.exists()):
        return False
    return bool(path.suffix) and path.suffix.lower() not in SUFFIXES


def _moves(path: Path) -> bool:
    """Whether a picture has several frames; what is wrong with it is said when it is opened."""
    try:
        with path.open("rb") as file, identified(file) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # Pillow's readers raise whatever they stumble over
        return False
