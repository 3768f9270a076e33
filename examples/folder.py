"""A folder of clips and pictures to one table; what cannot be read is named and stops nothing.

`ferstream score FOLDER --to TABLE.parquet --summary clips.csv` does the same and more.

python examples/folder.py FOLDER TABLE.parquet
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from ferstream import FerstreamError, Recognizer, Result, save_table


def results(recognizer: Recognizer, folder: Path) -> Iterator[Result]:
    for path in sorted(folder.iterdir()):
        try:
            yield from recognizer(path, stream=True, stride=2, pictures=False)
        except FerstreamError as error:
            print(error, file=sys.stderr)


def main(folder: str, table: str) -> None:
    with Recognizer() as recognizer:
        path = save_table(results(recognizer, Path(folder)), table, labels=recognizer.labels)
    print("written to", path)


if __name__ == "__main__":
    main(*sys.argv[1:3])
