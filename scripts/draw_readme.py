# /// script
# dependencies = ["anymark[demo]"]
# ///
"""Draw the picture of the README: one photo, one encoding, five layouts.

Usage:
    uv run --extra demo scripts/draw_readme.py
"""

from __future__ import annotations

from pathlib import Path

import skimage.data
from PIL import Image

from anymark import Detector, draw

LAYOUTS = ("ibug68", "mediapipe478", "ears", "teeth", "dense-5k")
TILE_PX = 360
OUT = Path(__file__).parents[1] / "docs" / "images" / "astronaut.jpg"


def main() -> None:
    photo = skimage.data.astronaut()
    (head,) = Detector().encode(photo)
    x, y = head.window.centre_px
    half = 0.55 * head.window.side_px
    around = (round(x - half), max(0, round(y - half)))
    around = (*around, around[0] + round(2 * half), around[1] + round(2 * half))
    # drawn at twice the size: a picture of points wants more pixels than a photo of 512
    large = Image.fromarray(photo).resize((1536, 1536), Image.Resampling.LANCZOS)
    (head,) = Detector().encode(large)
    sheet = Image.new("RGB", (TILE_PX * len(LAYOUTS), TILE_PX))
    for i, name in enumerate(LAYOUTS):
        tile = draw(large, [head.query(name)]).crop(tuple(3 * v for v in around))
        sheet.paste(tile.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS), (i * TILE_PX, 0))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(OUT, quality=90)


if __name__ == "__main__":
    main()
