"""Video: frames of a clip or an image sequence, heads followed through them, their tracks smoothed and kept."""

from anymark.video.frames import Frame, Video
from anymark.video.opening import open_video
from anymark.video.smoothing import CausalSmoother, smooth
from anymark.video.track import Track
from anymark.video.tracker import TrackedHead, Tracker

__all__ = ["CausalSmoother", "Frame", "Track", "TrackedHead", "Tracker", "Video", "open_video", "smooth"]
