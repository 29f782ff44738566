"""The project's own speed, measured as ratios that hold on any machine."""
