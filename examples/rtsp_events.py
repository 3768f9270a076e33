"""A network camera: who comes, reads differently and goes, one JSON row each.

It is opened again whenever it drops out, until Ctrl-C.

python examples/rtsp_events.py 'rtsp://user:password@camera/stream'
"""

import json
import sys

from ferstream import FaceOptions, Recognizer, events, open_live


def main(address: str) -> None:
    with Recognizer(faces=FaceOptions(min_confidence=0.2)) as recognizer:
        for row in events(recognizer(open_live(address), stream=True, pictures=False)):
            print(json.dumps({key: row[key] for key in ("event", "face", "time_s", "label", "p")}))


if __name__ == "__main__":
    main(sys.argv[1])
