"""The root of every error that this project raises on purpose.

    FerstreamError
    ├── EnginesError        ferstream.engines.errors       bundles, backends, plans
    ├── StreamError         ferstream.stream.errors        sources, sinks, recognition
    ├── CalibrationError    ferstream.calibration.errors   temperatures, small networks
    ├── TrainingError       ferstream.training.errors      runs, checkpoints, options
    └── PageError           ferstream.demo.errors          the page's refusals

Each message is one line that says what was wrong and what to do. Most are also the built-in error
of their kind (`FileNotFoundError`, `ValueError`, ...).
"""

from __future__ import annotations


class FerstreamError(Exception):
    """Root of everything that this project raises on purpose."""
