"""`anymark data show`: contact sheets of samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.errors import AnymarkError


@dataclass(kw_only=True)
class Show:
    """Draw samples of shards: renders with points, parts and canonical colours; photos with their labels and fits."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """A folder of `anymark data build`, or one shard."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("anymark-samples.png")
    """The contact sheet, JPEG or PNG."""
    count: Annotated[int, arg(metavar="N")] = 48
    """So many samples, spread over the shards."""
    columns: Annotated[int, arg(metavar="N")] = 4
    tile: Annotated[int, arg(metavar="PX")] = 192
    """Side of each picture."""

    def run(self) -> int:
        """Draw; returns the exit code.

        Raises:
            AnymarkError: no shards there, a damaged one, or a file that cannot be written.
        """
        from PIL import Image

        from anymark.detect.write import check_picture, write_image
        from anymark.engine.gallery import contact_sheet
        from anymark.engine.samples import INDEX, finished_shards

        if min(self.count, self.columns) < 1 or not 16 <= self.tile <= 1024:
            raise AnymarkError("--count and --columns must be at least 1, --tile from 16 to 1024")
        check_picture("--out", self.out)
        if (self.shards / INDEX).exists():
            paths = finished_shards(self.shards)
        else:
            paths = sorted(self.shards.glob("shard-*.tar")) if self.shards.is_dir() else [self.shards]
        if not paths:
            raise AnymarkError(f"{self.shards}: no shards of anymark data build (shard-*.tar) in this folder")
        write_image(self.out, Image.fromarray(contact_sheet(paths, self.count, self.columns, self.tile)))
        print(self.out)
        return 0
