"""One picture: how each face in it reads, and the picture annotated.

python examples/picture.py PICTURE ANNOTATED.png
"""

import sys

from ferstream import Recognizer


def main(picture: str, annotated: str) -> None:
    with Recognizer() as recognizer:
        (result,) = recognizer(picture)
    for face in result.faces:
        words = ", ".join(f"{word} {p:.2f}" for word, p in face.top(3))
        print(f"face {face.id} at {face.box}: {face.emotions.label} ({words})")
    print("written to", result.save(annotated))


if __name__ == "__main__":
    main(*sys.argv[1:3])
