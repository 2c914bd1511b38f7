"""`anymark data build`: samples with exact labels from fitted photos."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.said import complain
from anymark.errors import AnymarkError
from anymark.signals import stopped_by_sigterm


@dataclass(kw_only=True)
class Build:
    """Fit labelled photos, show their heads anew and write the samples as webdataset shards.

    Ctrl-C and SIGTERM stop it; the same command goes on where it stopped. The same recipe gives the same bytes on any
    number of processes.
    """

    recipe: Positional[Annotated[Path, arg(metavar="RECIPE")]]
    """What to make, for example recipes/data/views.toml."""
    out: Annotated[Path, arg(metavar="SHARDS")]
    """Folder of the data set: shard-*.tar, recipe.json, index.json, and fits."""
    photos: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default, or `photos` beside $ANYMARK_ASSETS."""
    assets: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of ICT-FaceKit, panoramas and hands; ../shared/assets by default, or $ANYMARK_ASSETS."""
    processes: Annotated[int, arg(metavar="N")] = os.cpu_count() or 1

    def run(self) -> int:
        """Build; returns the exit code: 0, or 130 where the user stopped it.

        Raises:
            AnymarkError: a bad recipe, something is missing, or a shard cannot be written.
        """
        from anymark.engine.build import Place, build
        from anymark.engine.data_recipe import load_data_recipe
        from anymark.files import shared_folder

        if self.processes < 1:
            raise AnymarkError(f"--processes {self.processes}: must be at least 1")
        recipe = load_data_recipe(self.recipe)
        place = Place(
            shared_folder(self.assets, "assets", "--assets DIR"),
            shared_folder(self.photos, "photos", "--photos DIR"),
            self.out,
        )
        try:
            with stopped_by_sigterm():
                built = build(recipe, place, self.processes, _Progress())
        except KeyboardInterrupt:
            complain("stopped; the same command goes on from here")
            return 130
        print(f"{self.out}: {built.samples} samples in {built.shards} shards")
        everything = built.residual["all"]
        print(f"fits leave over {100 * everything['median']:.2f} % of the eyes' distance (median of {everything['n']})")
        if built.left_out:
            print("left out: " + ", ".join(f"{count} {reason}" for reason, count in built.left_out.most_common()))
        return 0


class _Progress:
    """A line for each part of the work that is done, with samples a second and the time left."""

    def __init__(self) -> None:
        self._what, self._start, self._first, self._shown = "", 0.0, 0, 0.0

    def __call__(self, what: str, done: int, of: int, samples: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._start, self._first, self._shown = what, now, done, 0.0
        if now - self._shown < 5 and done < of:
            return
        self._shown = now
        took = now - self._start
        left = took / max(done - self._first, 1) * (of - done)
        rate = f", {samples / took:.1f} samples/s" if samples and took > 0 else ""
        pace = f", {left / 60:.0f} min left" if done > self._first and done < of else ""
        print(f"{what}: {done}/{of}{rate}{pace}", file=sys.stderr, flush=True)
