"""`anymark texture`: the texture of one person's head, from photos and clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.apps.texture import TextureMaker
from anymark.commands.following import progress
from anymark.commands.on_heads import Heads, OnHeads, Pixels, Place, naming
from anymark.commands.said import say
from anymark.detect.landmarks import Landmarks
from anymark.detect.write import write_image
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable
from anymark.video import Video


@dataclass(kw_only=True)
class Texture(OnHeads):
    """Gather the texture of one person's head from all photos and clips together: of photos the largest
    head, of clips the one that is seen longest.

    Writes the texture, in tiles side by side: face and ears, the back of the head. What was not seen is taken
    from the other side or filled in. Beside it goes NAME.confidence.png, white where it was seen.
    """

    texture: Annotated[Path, arg(metavar="FILE.png")]
    """Where the texture goes."""
    size: Annotated[int, arg(metavar="N")] = 1024
    """Side of a tile in texels."""
    tiles: Annotated[int, arg(metavar="N")] = 2
    """How many tiles: 1 is face and ears, 2 the back of the head with them, 6 all, with mouth, teeth and eyes."""

    def work(self) -> int:
        """See `OnHeads`."""
        confidence = self.texture.with_suffix(".confidence.png")
        if self.texture.suffix.lower() != ".png":
            raise AnymarkError(f"{self.texture}: a texture is written as .png")
        check_writable([self.texture, confidence])
        check_targets([self.texture, confidence], map(Path, self.files))
        self._maker = TextureMaker(self.size, self.tiles)
        code = super().work()
        done = self._maker.texture()
        write_image(self.texture, done.picture())
        write_image(confidence, done.confidence_picture())
        say(f"{self.texture}  {100 * float(done.confidence[:, : self.size].mean()):.0f} % of the face's tile was seen")
        return code

    def photo(self, name: str, pixels: Pixels, heads: list[Landmarks], out: Place) -> None:
        """What the photo shows."""
        with naming(name):
            self._maker.add(pixels, heads[0])

    def clip(self, video: Video, heads: Heads, out: Place) -> None:
        """What all its frames show."""
        number = max(heads.track.ids, key=lambda each: len(heads.track.head(each)))
        with progress("gathered", 0, len(heads)) as show:
            for frame in video:
                if frame.index >= len(heads):
                    break
                mine = heads.of(frame, number)
                if frame.pixels is not None and mine:
                    with naming(f"{video.name}: frame {frame.index}"):
                        self._maker.add(frame.pixels, mine[0])
                show(frame.index + 1)
