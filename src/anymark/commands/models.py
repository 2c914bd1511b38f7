"""Which detector a command line asks for."""

from __future__ import annotations

from typing import Any

from anymark.canonical import Layout
from anymark.detect.detector import Detector
from anymark.detect.markers import MarkerDetector
from anymark.detect.model import kind_of
from anymark.errors import AnymarkError


def detector_of(model: str, locator: str, *, refine: str | None, **options: Any) -> Detector | MarkerDetector:
    """What finds the points: a landmark model's detector, or that of a marker model's folder. Loaded and verified.

    Raises:
        AnymarkError: a bad model, or one that the options do not go with.
    """
    if kind_of(model) == "markers":
        if refine is not None:
            raise AnymarkError("--refine: marker models know nothing of heads, which dense models are about")
        if options.get("looks") is not None:
            raise AnymarkError("--looks: marker models look once")
        detector = MarkerDetector(model, threads=options.get("threads"))
    else:
        detector = Detector(model, locator, refine=refine, **options)
    detector.load()
    return detector


def only_template(detector: MarkerDetector, **asked: object) -> Layout:
    """The template of a marker model, which is all that it knows.

    Args:
        asked: options that want more, and their values.

    Raises:
        AnymarkError: one is given.
    """
    for option, value in asked.items():
        if value:
            said = f"a marker model finds its template {detector.layout.name!r} alone"
            raise AnymarkError(f"--{option.replace('_', '-')}: {said}")
    return detector.layout
