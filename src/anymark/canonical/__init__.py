"""The canonical head, its frame, and the layouts of points on it."""

from anymark.canonical.files import available_layouts, load_layout
from anymark.canonical.frame import mm_to_uvw, uvw_to_mm
from anymark.canonical.head import CanonicalHead, SurfacePoints
from anymark.canonical.layout import Layout
from anymark.canonical.skull import Skull

__all__ = [
    "CanonicalHead",
    "Layout",
    "Skull",
    "SurfacePoints",
    "available_layouts",
    "load_layout",
    "mm_to_uvw",
    "uvw_to_mm",
]
