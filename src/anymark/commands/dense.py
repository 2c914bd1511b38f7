"""`anymark dense`: where on the head every pixel of a photo lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from PIL import Image
from tyro.conf import Positional, UseAppendAction, arg

from anymark.apps.correspond import FAR_MM, Finder, in_ball, in_cube, in_volume, reference_point
from anymark.apps.maps import coloured, rgba_of, save_maps
from anymark.commands.detect import DEFAULT_OUT, expand, show_progress
from anymark.commands.on_heads import Place
from anymark.commands.on_pairs import WithDense, largest_head
from anymark.commands.said import complain, say
from anymark.detect.dense import LEAST_HEAD, DenseMap
from anymark.detect.embed import Dense
from anymark.detect.files import unique
from anymark.detect.image import load_image
from anymark.detect.write import write_image
from anymark.errors import AnymarkError
from anymark.files import make_folder, reading
from anymark.signals import stopped_by_sigterm
from anymark.video.exr import check_openexr, write_exr
from anymark.video.sequence import plain_stem

Bools = npt.NDArray[np.bool_]
Clicked = tuple[Path, tuple[float, float]]
"""A photo and a pixel of it."""


@dataclass(kw_only=True)
class DenseCommand(WithDense):
    """Say of every pixel of photos where on the head it lies.

    Writes NAME.dense.anymark.png, the map as colours over the photo, and NAME.dense.anymark.npz: of each head points_mm
    (S, S, 3), head (S, S), sigma_mm (S, S) and the square (2, 3) that takes -1..1 to pixels of the photo. A photo
    without a head gives one map of all of it, whose head says so.
    """

    files: Positional[Annotated[tuple[str, ...], arg(metavar="FILES...", help_behavior_hint="(one or more)")]]
    """Photos, folders of photos and globs."""
    click: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="FILE@X,Y")]] = ()
    """A pixel of a reference photo: where the same point is in each of FILES is printed. Give it several times, on
    several references, for a point that is the mean of them."""
    ball: Annotated[tuple[float, float, float, float] | None, arg(metavar="X Y Z R")] = None
    """Write a mask of what lies within R millimetres of a canonical point, NAME.region.anymark.png."""
    volume: Annotated[Path | None, arg(metavar="FILE.npy")] = None
    """The same of a painted volume of the unit cube: booleans (N, N, N), axes u, v, w."""
    exr: bool = False
    """Write NAME.dense.anymark.exr, too: uvw as R, G, B for each pixel of the photo and the head as A, 32 bits."""
    out: Annotated[Path, arg(metavar="DIR")] = DEFAULT_OUT
    """Folder for what is written."""

    def run(self) -> int:
        """Do it; returns the exit code: 0, or 2 where a file was bad.

        Raises:
            AnymarkError: nothing can be done at all.
        """
        with stopped_by_sigterm():
            return self._run()

    def _run(self) -> int:
        if not self.files:
            raise AnymarkError("no photos given: anymark dense FILES...")
        if self.ball is not None and not self.ball[3] > 0:
            raise AnymarkError(f"--ball: a radius of {self.ball[3]:g} mm; must be above 0")
        if self.ball is not None and not in_cube(self.ball[:3], self.ball[3]):
            raise AnymarkError("--ball: lies beside the canonical head and all that is near it")
        if self.ball is not None and self.volume is not None:
            raise AnymarkError("--ball and --volume: one region is asked for")
        volume = None if self.volume is None else _read_volume(self.volume)
        if self.exr:
            check_openexr(self.out / "NAME.dense.anymark.exr")
        clicks = [_parse_click(text) for text in self.click]
        paths, problems = expand(self.files)
        dense = self.load()
        asked = self._asked(dense, clicks)
        make_folder(self.out)
        for problem in problems:
            complain(problem)
        failed = len(problems)
        places = [Place(self.out, stem) for stem in unique(plain_stem(str(path)) for path in paths)]
        for i, (path, place) in enumerate(zip(paths, places, strict=True)):
            show_progress(i, len(paths))
            try:
                self._one(dense, path, place, asked, volume)
            except AnymarkError as error:
                failed += 1
                complain(error)
        show_progress(len(paths), len(paths))
        return 2 if failed else 0

    def _asked(
        self, dense: Dense, clicks: Sequence[tuple[Path, tuple[float, float]]]
    ) -> npt.NDArray[np.float32] | None:
        if not clicks:
            return None
        maps = {path: largest_head(dense, path)[1] for path in dict.fromkeys(path for path, _ in clicks)}
        try:
            point = reference_point([(maps[path], xy) for path, xy in clicks])
        except AnymarkError as error:
            asked = ", ".join(self.click)
            raise AnymarkError(f"--click {asked}: {error}") from None
        say("clicked  " + ", ".join(f"{v:.1f}" for v in point) + " mm on the canonical head")
        return point

    def _one(
        self, dense: Dense, path: Path, place: Place, asked: npt.NDArray[np.float32] | None, volume: Bools | None
    ) -> None:
        pixels = load_image(path)
        maps = dense.encode(pixels)
        write_image(place("dense", ".png"), Image.fromarray(coloured(pixels, maps)))
        save_maps(place("dense", ".npz"), maps)
        if self.exr:
            write_exr(place("dense", ".exr"), rgba_of(maps))
        if self.ball is not None or volume is not None:
            write_image(place("region", ".png"), self._region(maps, volume))
        heads = [each for each in maps if (each.head > LEAST_HEAD).any()]
        if not heads:
            say(f"{path}  no head")
        for number, each in enumerate(heads, 1):
            said = f"{path}  head {number}/{len(heads)}  {100 * each.share:.0f} % of its square"
            if asked is not None:
                found = Finder(each)(asked[None])
                at = f"{found.xy_px[0, 0]:.1f},{found.xy_px[0, 1]:.1f} px, {found.gap_mm[0]:.1f} mm away"
                said += f"  point {at if found.near(FAR_MM)[0] else 'not seen'}"
            say(said)

    def _region(self, maps: Sequence[DenseMap], volume: Bools | None) -> Image.Image:
        mask = np.float32(0)
        for each in maps:
            points, head, _ = each.on_photo()
            if self.ball is not None:
                inside = in_ball(points, self.ball[:3], self.ball[3])
            else:
                assert volume is not None
                inside = in_volume(points, volume)
            mask = np.maximum(mask, np.where(inside, head, 0))
        return Image.fromarray(np.rint(255 * mask).astype(np.uint8))


def _parse_click(text: str) -> Clicked:
    name, _, numbers = text.rpartition("@")
    try:
        x, y = (float(part) for part in numbers.split(","))
    except ValueError:
        x = y = np.nan
    if not name or not np.isfinite([x, y]).all():
        raise AnymarkError(f"--click {text}: FILE@X,Y is needed, pixels of that photo")
    return Path(name), (x, y)


def _read_volume(path: Path) -> Bools:
    with reading(path, "an .npy file of numbers"), open(path, "rb") as file:
        volume = np.load(file, allow_pickle=False)
    if not isinstance(volume, np.ndarray) or volume.ndim != 3 or len(set(volume.shape)) != 1 or not len(volume):
        raise AnymarkError(f"{path}: a volume must be (N, N, N)")
    if not np.isin(volume, (0, 1)).all():
        raise AnymarkError(f"{path}: a volume must be of booleans, or of 0 and 1")
    return volume.astype(bool)
