"""Rigs fitted to landmarks: pose, identity and expression of a head; numpy alone."""

from anymark.fit.bones import posed_bones, rest_bones
from anymark.fit.eyes import aim_eyes, turned_eyes
from anymark.fit.problem import Camera, Settings
from anymark.fit.rig import Eye, Points, Rig
from anymark.fit.sequence import Smoothness, fit_person
from anymark.fit.solve import Fit, fit

__all__ = [
    "Camera",
    "Eye",
    "Fit",
    "Points",
    "Rig",
    "Settings",
    "Smoothness",
    "aim_eyes",
    "fit",
    "fit_person",
    "posed_bones",
    "rest_bones",
    "turned_eyes",
]
