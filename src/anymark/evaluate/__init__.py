"""Scores and speed: metrics, protocols of benchmarks, reports. Works on anything that `anymark.Detector` loads."""
