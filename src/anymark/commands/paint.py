"""`anymark paint`: a picture painted on the head, laid over photos and clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from tyro.conf import arg

from anymark.apps.paint import alpha_of, composited, paint_all, st_map
from anymark.apps.uv import UvPicture
from anymark.commands.following import progress
from anymark.commands.on_heads import Heads, OnHeads, Pixels, Place, naming
from anymark.commands.said import say
from anymark.detect.landmarks import Landmarks
from anymark.detect.write import write_image
from anymark.errors import AnymarkError
from anymark.video import Frame, Video
from anymark.video.exr import check_openexr, write_exr
from anymark.video.write import check_drawing, write_video


@dataclass(kw_only=True)
class Paint(OnHeads):
    """Lay a picture over heads as if it were painted on the skin: a tattoo, make-up, a logo.

    Writes NAME.anymark.png of a photo and NAME.anymark.mp4 of a clip.
    """

    picture: Annotated[Path, arg(metavar="FILE.png")]
    """What to paint, with transparency: square, on the head's texture coordinates (anymark layout template draws them),
    or 2 to 6 tiles wide."""
    opacity: float = 1.0
    """0..1 of the paint."""
    shading: float = 1.0
    """0..1 how much of the photo's light the paint takes on."""
    alpha: bool = False
    """Write where paint lies, too: NAME.alpha.anymark.png, of a clip a folder of frames."""
    st: bool = False
    """Write a UV pass, too, for STMap and its like: NAME.st.anymark.exr, of a clip a folder of frames. Red and green
    are u and v of the texture coordinates, alpha is where the head is seen (needs anymark[vfx])."""

    def prepare(self) -> None:
        """The picture."""
        for key in ("opacity", "shading"):
            if not 0 <= getattr(self, key) <= 1:
                raise AnymarkError(f"--{key} {getattr(self, key):g}: must be 0 to 1")
        if self.st:
            check_openexr("--st")
        self._picture = UvPicture.load(self.picture)

    def photo(self, name: str, pixels: Pixels, heads: list[Landmarks], out: Place) -> None:
        """The painted photo, and its passes."""
        with naming(name):
            done, alpha = self._painted(pixels, heads)
            write_image(out("paint", ".png"), Image.fromarray(done))
            if self.alpha:
                write_image(out("alpha", ".png"), alpha)
            if self.st:
                write_exr(out("st", ".exr"), st_map(heads, (pixels.shape[1], pixels.shape[0])))
        say(f"{name}  {len(heads)} head{'s' * (len(heads) != 1)}  {out('paint', '.png')}")

    def clip(self, video: Video, heads: Heads, out: Place) -> None:
        """The painted clip, and its passes."""
        check_drawing(out("paint", ".mp4"))
        alphas = out.frames("alpha", ".png", video) if self.alpha else None
        maps = out.frames("st", ".exr", video) if self.st else None

        def drawn(frame: Frame, pixels: Pixels) -> Pixels:
            with naming(f"{video.name}: frame {frame.index}"):
                here = heads.of(frame)
                done, alpha = self._painted(pixels, here)
                if alphas is not None:
                    write_image(alphas[frame], alpha)
                if maps is not None:
                    write_exr(maps[frame], st_map(here, (pixels.shape[1], pixels.shape[0])))
            return done

        with progress("painted", 0, len(heads)) as show:
            write_video(out("paint", ".mp4"), video, len(heads), drawn, show)
        say(f"{video.name}  {len(heads)} frames  {out('paint', '.mp4')}")

    def _painted(self, pixels: Pixels, heads: list[Landmarks]) -> tuple[Pixels, Image.Image]:
        painted = paint_all(pixels, heads, self._picture, self.opacity, self.shading)
        return composited(pixels, painted), Image.fromarray(alpha_of((pixels.shape[1], pixels.shape[0]), painted))
