"""The project's own speed, measured as ratios that hold on any machine."""


class Unmeasured(Exception):
    """Something failed that had to work for a figure to mean anything."""
