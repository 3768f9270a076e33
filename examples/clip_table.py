"""A clip as a data frame: five readings a second, action units beside, and means per face.

python examples/clip_table.py CLIP
"""

import sys

from ferstream import Recognizer, open_source


def main(clip: str) -> None:
    with open_source(clip) as source:
        stride = max(1, round((source.rate_hz or 5) / 5))
    with Recognizer() as recognizer:
        table = recognizer(clip, stride=stride).to_df("pandas", columns=["units"])
    seen = table[table["success"] == 1]
    print(seen[["timestamp", "face_id", "label", "valence", "arousal", "AU12"]].to_string())
    print(seen.groupby("face_id")[["valence", "arousal", "intensity", "AU12"]].mean())


if __name__ == "__main__":
    main(sys.argv[1])
