"""Tracks as files of other programs: compositors, matchmovers, 3D programs and computer vision tools.

docs/exports.md says of each format what lands where, and in which units, axes and frame numbers.
"""

from anymark.exports.formats import FORMATS, Format, check_target, export, format_named

__all__ = ["FORMATS", "Format", "check_target", "export", "format_named"]
