"""From a camera to emotions: sources, faces, clips, recognition and sinks."""
