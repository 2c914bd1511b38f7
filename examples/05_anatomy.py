"""5. Anatomy: skull, jaw, teeth and eyes, laid rigidly through their landmarks.

    uv run --all-extras python examples/05_anatomy.py

On your own files: anymark anatomy photo.jpg clip.mp4
"""

from __future__ import annotations

from _clips import astronaut, save

from anymark import Detector
from anymark.apps.anatomy import anatomy_layout, draw_anatomy, fit_anatomy

photo = astronaut()
(head,) = Detector().encode(photo)
found = fit_anatomy([head.query(anatomy_layout())])
gaze = found.gaze_yaw_pitch_deg()[0].round(1).tolist()
print(f"the jaw is open by {found.jaw_opening_mm[0]:.1f} mm; yaw and pitch of the right and the left eye: {gaze}")
box = (slice(0, 420), slice(270, 690))
drawn = draw_anatomy(photo, found, 0, head.camera), draw_anatomy(0 * photo, found, 0, head.camera, 1.0)
save("05_anatomy", photo[box], *(each[box] for each in drawn))
