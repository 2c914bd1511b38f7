"""Which point of mediapipe478 is which, for all that is measured on the face mesh."""

FACE_MESH_LAYOUT = "mediapipe478"

FACE_MESH_POINTS = 468
"""The first points of mediapipe478, without the irises. Their box is the face's box, which windows are defined by."""

OUTER_EYES = (33, 263)
"""Outer corners of the subject's right and left eye."""

EYE_CORNERS = ((33, 133), (362, 263))
"""Both corners of the subject's right eye, and of the left."""

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The outline of the face, from the top clockwise on screen: it slides over the skin as the head turns."""

CLOSING = (
    (13, 14), (82, 87), (81, 178), (80, 88), (191, 95), (312, 317), (311, 402), (310, 318), (415, 324),
    (159, 145), (158, 153), (157, 154), (160, 144), (161, 163),
    (386, 374), (385, 380), (384, 381), (387, 373), (388, 390),
)  # fmt: skip
"""Points of the inner lips, then of the right and left lids, that touch when mouth and eyes are closed."""

IRISES = (468, 473)
"""Middles of the subject's right and left iris; four points of its rim follow each."""
