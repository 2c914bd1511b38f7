"""9. Dense maps: where on the head every pixel lies; a region of the cube; matches; one head's paint on another.

    uv run --all-extras python examples/09_dense.py

On your own photos: anymark dense photo.jpg --exr
                    anymark match a.jpg b.jpg --draw matches.jpg
                    anymark warp a.jpg b.jpg --out worn.png
"""

from __future__ import annotations

import numpy as np
from _clips import astronaut, moving, save
from PIL import Image, ImageDraw

from anymark import Dense
from anymark.apps.correspond import Finder, in_ball, match, reference_point, warp
from anymark.apps.maps import coloured

dense = Dense()
photo = astronaut(512)
other = list(moving(card=False))[12].pixels
(found,), (turned,) = dense.encode(photo), dense.encode(other)
print(found)

# a point that is clicked on one photo, and where it is in the other
nose = reference_point([(found, np.array([226.0, 128.0]))])
there = Finder(turned)(nose[None])
print(f"the same point: {there.xy_px[0].round(1).tolist()}, {there.gap_mm[0]:.1f} mm away")

points, head, _ = found.on_photo()
forehead = in_ball(points, (0.0, 75.0, 95.0), 35.0) & (head > 0.5)
region = photo.copy()
region[forehead] = (0.35 * region[forehead] + 0.65 * np.array([40, 160, 255])).astype(np.uint8)

matches = match(found, turned, step=6)
print(f"{len(matches)} matches")
pair = Image.fromarray(np.hstack([photo, np.asarray(Image.fromarray(other).resize((512, 512)))]))
pen = ImageDraw.Draw(pair)
for i in range(0, len(matches), 6):
    (x, y), (u, v) = matches.first_px[i], matches.second_px[i] * (512 / 480)
    pen.line([x, y, u + 512, v], fill=tuple(np.random.default_rng(i).integers(80, 255, 3).tolist()))

painted = photo.copy()
painted[::16], painted[:, ::16] = (255, 60, 60), (255, 60, 60)
worn = warp(found, turned).apply(painted, other)
crop = slice(0, 330), slice(90, 420)
save("09_dense", coloured(photo, [found])[crop], region[crop], pair.crop((90, 0, 1024, 330)), worn, height=300)
