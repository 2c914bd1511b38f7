"""2. All dots of one annotated frame: found in another, one without dots too, and a guide for the make-up artist.

    uv run --all-extras python examples/02_markers.py

On your own footage: anymark track day1.mp4 --marker-file dots.csv --save-points dots.json
                     anymark track day2.mp4 --layout dots.json
                     anymark layout guide dots.json --photo day2.jpg --out guide.png
"""

from __future__ import annotations

import numpy as np
from _clips import astronaut, moving, save

from anymark import CanonicalHead, Detector, Layout, draw
from anymark.apps.guide import guide_on_photo
from anymark.apps.paint import composited, paint
from anymark.apps.points import Click, pick
from anymark.apps.uv import UvPicture

detector = Detector()
clean = astronaut()
(head,) = detector.encode(clean)

# dots of paint, 2.5 mm wide, and where an annotator would click them
dots = CanonicalHead.load().sample(70, ("forehead", "right cheek", "left cheek", "chin", "jaw", "nose"))
uv = np.einsum("nk,nkd->nd", dots.barycentric, CanonicalHead.load().uv[dots.triangles])
x, y = np.meshgrid(np.arange(1024) + 0.5, np.arange(1024) + 0.5)
spots = np.zeros((1024, 1024, 4), np.uint8)
for u, v in uv:
    spots[np.hypot(x - 1024 * u, y - 1024 * (1 - v)) < 7] = 20, 60, 200, 255
dotted = composited(clean, [paint(clean, head.query("head"), UvPicture(spots))])
shown = head.query(dots.points_mm)
seen = shown.visible > 0.7

found = pick([Click(head, shown.xy_px[seen])])
markers = Layout("dots", found.points_mm, names=tuple(map(str, range(1, seen.sum() + 1))))
other = list(moving(card=False))[12].pixels  # another frame, without dots
(again, *_) = detector.encode(other)
box = tuple(map(int, (300, 20, 660, 380)))
save(
    "02_markers",
    dotted[box[1] : box[3], box[0] : box[2]],
    np.asarray(draw(other, [again.query(markers)])),
    guide_on_photo(clean, head.query(markers)),
)
