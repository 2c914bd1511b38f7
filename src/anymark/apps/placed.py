"""A marker model's points on the canonical head: what it found in photos becomes a layout that any model finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.apps.points import Click, pick
from anymark.canonical import Layout

FAR_OFF = 3.0
"""Medians: photos in which the two models disagree by more of their usual distance are left out."""


def placed(clicks: list[Click], template: Layout, name: str) -> tuple[Layout, npt.NDArray[np.float64], int]:
    """The layout of a template's points (N,), how far each is off (N,) in pixels, and how many clicks were used.

    Photos in which one of the two models is lost are left out: their points lie much farther from the layout that the
    others make than is usual.
    """
    found = pick(clicks)
    away = np.array([_away(click, found.points_mm) for click in clicks])
    kept = [click for click, far in zip(clicks, away, strict=True) if far <= FAR_OFF * np.median(away)]
    if len(kept) < len(clicks):
        found = pick(kept)
    return Layout(name, found.points_mm, edges=template.edges), found.error_px, len(kept)


def _away(click: Click, points_mm: npt.NDArray[np.floating]) -> float:
    xy = click.head.query(Layout("placed", points_mm)).xy_px
    box = click.head.box_px
    return float(np.median(np.linalg.norm(xy - click.xy_px, axis=1)) / (box[2:] - box[:2]).max())
