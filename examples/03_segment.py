"""3. Segment: face parsing, regions of your own, and a soft mask; no network was trained for it.

    uv run --all-extras python examples/03_segment.py

On your own files: anymark segment photo.jpg clip.mp4 --masks
"""

from __future__ import annotations

import numpy as np
from _clips import astronaut, save

from anymark import Detector
from anymark.apps.partition import Partition
from anymark.apps.segment import segment

photo = astronaut()
size = photo.shape[1], photo.shape[0]
heads = [head.query("head") for head in Detector().encode(photo)]
parsing = segment(heads, size, Partition.of_regions())
lips = "lips = upper lip + lower lip"
own = segment(heads, size, Partition.of_regions([lips, "nose", "forehead", "chin", "left cheek"]))
soft = np.repeat(np.rint(255 * own.masks[0]).astype(np.uint8)[..., None], 3, 2)
box = (slice(20, 400), slice(290, 670))
save("03_segment", *(np.asarray(tile)[box] for tile in (photo, parsing.over(photo), own.over(photo), soft)))
