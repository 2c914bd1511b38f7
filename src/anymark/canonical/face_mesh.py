"""Which point of mediapipe478 is which, for all that is measured on the face mesh."""

FACE_MESH_POINTS = 468
"""The first points of mediapipe478, without the irises. Their box is the face's box, which windows are defined by."""

OUTER_EYES = (33, 263)
"""Outer corners of the subject's right and left eye."""

EYE_CORNERS = ((33, 133), (362, 263))
"""Both corners of the subject's right eye, and of the left."""
