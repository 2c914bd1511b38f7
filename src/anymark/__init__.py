"""anymark: find any point of a head in any image.

The public names are imported on first use, so that `import anymark` costs nothing and never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymark.canonical import CanonicalHead, Layout, available_layouts, load_layout
    from anymark.detect.camera import Camera
    from anymark.detect.dense import DenseMap
    from anymark.detect.detector import Detector, Head
    from anymark.detect.draw import draw
    from anymark.detect.embed import Dense
    from anymark.detect.landmarks import Landmarks
    from anymark.detect.mesh import HeadMesh
    from anymark.detect.window import Crop, Window
    from anymark.errors import AnymarkError

    __version__: str

__all__ = [
    "AnymarkError",
    "Camera",
    "CanonicalHead",
    "Crop",
    "Dense",
    "DenseMap",
    "Detector",
    "Head",
    "HeadMesh",
    "Landmarks",
    "Layout",
    "Window",
    "__version__",
    "available_layouts",
    "draw",
    "load_layout",
]

_HOME = {
    "AnymarkError": "anymark.errors",
    "Camera": "anymark.detect.camera",
    "CanonicalHead": "anymark.canonical",
    "Crop": "anymark.detect.window",
    "Dense": "anymark.detect.embed",
    "DenseMap": "anymark.detect.dense",
    "Detector": "anymark.detect.detector",
    "Head": "anymark.detect.detector",
    "HeadMesh": "anymark.detect.mesh",
    "Landmarks": "anymark.detect.landmarks",
    "Layout": "anymark.canonical",
    "Window": "anymark.detect.window",
    "available_layouts": "anymark.canonical",
    "draw": "anymark.detect.draw",
    "load_layout": "anymark.canonical",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("anymark")
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'anymark' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
