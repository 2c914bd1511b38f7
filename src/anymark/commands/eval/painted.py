"""`anymark eval painted`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.markers import MarkerDetector
from anymark.evaluate.report import Detail


@dataclass(kw_only=True)
class Painted(Measurement):
    """Points of a marker model on unmarked pictures whose points are known, and how much they jitter on a sequence."""

    markers: Positional[Annotated[Path, arg(metavar="DIR")]]
    """The marker model's folder."""
    folder: Positional[Annotated[Path, arg(metavar="SET")]]
    """A folder of anymark data markers."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.painted`."""
        from anymark.engine.marker_sets import HELD_OUT, SEQUENCE, SEQUENCE_MARKED  # needs OpenCV
        from anymark.evaluate.painted import (
            by_markers,
            by_query,
            by_template,
            errors,
            jitter,
            nearest_blobs,
            read_known,
        )

        detector = MarkerDetector(self.markers, threads=self.threads)
        detector.load()
        template = detector.landmarker.template
        who = {"markers": by_markers(detector), "template alone": by_template(template)}
        if template.name == "face":
            who["query model"] = by_query(self.detector())
        pictures, truth = read_known(self.folder / HELD_OUT, self.limit)
        rows: dict[str, dict[str, float]] = {}
        for i, (name, find) in enumerate(who.items()):
            rows[name] = errors([find(pixels) for pixels in pictures], truth, template.size)
            show_progress(i + 1, len(who))
        details = [Detail(f"{len(pictures)} held-out unmarked pictures, % of the template's size", rows)]
        jitters: dict[str, dict[str, float]] = {}
        if (self.folder / SEQUENCE).is_dir():
            frames, path = read_known(self.folder / SEQUENCE, self.limit)
            for name, find in who.items():
                found = [find(pixels) for pixels in frames]
                jitters[name] = {"jitter %": jitter(found, path, template.size)}
                jitters[name] |= errors(found, path, template.size)
        if (self.folder / SEQUENCE_MARKED).is_dir():
            frames, path = read_known(self.folder / SEQUENCE_MARKED, self.limit)
            found = [nearest_blobs(pixels, true) for pixels, true in zip(frames, path.points, strict=True)]
            jitters["blobs of the marked frames, told which is which"] = {
                "jitter %": jitter(found, path, template.size),
                **errors(found, path, template.size),
            }
        if jitters:
            details.append(Detail("frames of a sequence", jitters))
        ours, alone = rows["markers"]["mean %"], rows["template alone"]["mean %"]
        return Measured(
            what=f"marks, {self.folder.resolve().name}, marker model {self.markers.resolve().name}",
            details=tuple(details),
            last_line=f"mean error {ours:.2f} %, {ours / alone:.2f} of the template's (n={len(pictures)})",
        )
