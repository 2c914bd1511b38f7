"""`anymark eval headtrack`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.apps.rigs import ict_on_head
from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.dense import DENSE, DenseNetwork
from anymark.detect.model import Model
from anymark.engine.samples import read_index
from anymark.files import shared_folder
from anymark.fit import Rig


@dataclass(kw_only=True)
class Headtrack(Measurement):
    """ICT-FaceKit tracked through rendered sequences by dense maps, and by landmarks: pose and vertices."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of a data set of preset sequences with one camera: one of held-out photos, to be fair."""
    assets: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds ict_facekit/; ../shared/assets or $ANYMARK_ASSETS by default."""
    dense: Annotated[str, arg(metavar="NAME|DIR")] = DENSE
    """Dense model."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.headtracked`."""
        from anymark.evaluate.headtracked import headtrack_detail, read_frames, tracked_errors  # needs scipy

        rig = ict_on_head(Rig.load_ict(shared_folder(self.assets, "assets", "--assets DIR")))
        network, detector = DenseNetwork(Model(self.dense, "dense", threads=self.threads)), self.detector()
        found = []
        done, total = 0, int(read_index(self.shards)["samples"])
        for _, frames in read_frames(self.shards):
            found.append(tracked_errors(frames, rig, detector, network))
            done += len(frames)
            show_progress(done, total)
            if self.limit is not None and len(found) >= self.limit:
                break
        detail = headtrack_detail(found)
        ours = detail.rows["dense maps"]
        return Measured(
            what=f"head tracking, {self.shards.resolve().name}, dense model {self.dense}",
            details=(detail,),
            last_line=f"pose {ours['pose deg']:.2f} degrees, vertices {ours['vertices mm']:.2f} mm (n={len(found)})",
        )
