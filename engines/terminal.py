"""What people read on a terminal: text, whatever names of files and manifests hold.

A name may come from a stranger. An escape in it would colour, move or retitle the terminal, or put
words into its owner's next command line; brackets in it would be marks to Rich.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def plain(text: str) -> str:
    """Text in which what steers a terminal, and what is no UTF-8, is shown as its escape."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def plain_console(stderr: bool = False, width: int | None = None) -> Console:
    """A console for which brackets and colons are text."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False)
