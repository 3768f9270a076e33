"""From a camera to emotions: sources, faces, clips, recognition and sinks."""

import engines.offline  # noqa: F401  before any library is imported
