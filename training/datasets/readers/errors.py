"""What can be wrong with a labelled set, as one tree.

    DataError
    ├── LayoutError      also FileNotFoundError   no layout that is known, or a part of it missing
    ├── LabelError       also ValueError          a label, an AU file or a class folder is wrong
    ├── PictureError     also ValueError          a picture or clip cannot be read
    └── PreparedError    also ValueError          a prepared folder is unfinished or of other data

Every message is one line: what is wrong, where, and what to do next.
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class DataError(FerstreamError):
    """Root of what the readers raise on purpose."""


class LayoutError(DataError, FileNotFoundError):
    """The folder is not laid out as expected."""


class LabelError(DataError, ValueError):
    """Labels do not fit their map or their pictures."""


class PictureError(DataError, ValueError):
    """A picture or clip is missing, damaged or of a kind that is not read."""


class PreparedError(DataError, ValueError):
    """A prepared folder cannot be used or gone on with."""
