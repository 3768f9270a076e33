"""A webcam, watched for some seconds: a line about once a second and face.

python examples/webcam.py 0 SECONDS
"""

import sys

from ferstream import Recognizer, open_live


def main(camera: str, seconds: float = 60.0) -> None:
    next_s = 0.0
    with Recognizer() as recognizer:
        for result in recognizer(open_live(camera), stream=True, end_s=seconds):
            if result.time_s < next_s:
                continue
            next_s = result.time_s + 1
            for face in result.faces:
                print(f"face {face.id}: {face.emotions.label}, {face.top(3)}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
