"""Shared libraries that define given names and do nothing, written byte by byte: no compiler.

NVIDIA's Python bindings are a real extension that only needs its libraries' names to load; over
such stubs it shows every class, method, signature and enum, and can compute nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

ZERO = b"\x31\xc0\xc3"
"""A function that gives 0: xor eax, eax; ret."""

_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = (
    0,
    4,
    5,
    6,
    10,
    11,
    14,
)
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_HEADERS = 64 + 3 * 56


def gives(value: int) -> bytes:
    """A function that gives an integer: mov eax, value; ret."""
    return b"\xb8" + struct.pack("<i", value) + b"\xc3"


def stores(value: int) -> bytes:
    """A function that writes a C int to where its first argument points, and gives 0."""
    return b"\xc7\x07" + struct.pack("<i", value) + ZERO


def write_stub(folder: Path, soname: str, functions: Mapping[str, bytes]) -> Path:
    """Writes an x86-64 ELF library of this soname; functions are given as machine code."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (soname, *functions))

    def at(name: str) -> int:
        return names.index(b"\0" + name.encode() + b"\0") + 1

    codes = b"".join(code.ljust(16, b"\xcc") for code in functions.values())
    count = len(functions) + 1
    code = _aligned(_HEADERS)
    symbols = _aligned(code + len(codes))
    hashes = symbols + 24 * count
    strings = hashes + 4 * (2 + 1 + count)
    dynamic = _aligned(strings + len(names))
    entries = [
        *((_DT_SONAME, at(soname)), (_DT_HASH, hashes), (_DT_STRTAB, strings)),
        *((_DT_SYMTAB, symbols), (_DT_STRSZ, len(names)), (_DT_SYMENT, 24), (_DT_NULL, 0)),
    ]
    size = dynamic + 16 * len(entries)
    image = bytearray(size)

    def put(offset: int, content: bytes) -> None:
        image[offset : offset + len(content)] = content

    put(0, b"\x7fELF" + bytes([2, 1, 1]) + bytes(9))
    put(16, struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0))
    segments = (
        (_PT_LOAD, 7, 0, size, 0x1000),
        (_PT_DYNAMIC, 6, dynamic, size - dynamic, 8),
        (_PT_GNU_STACK, 6, 0, 0, 16),
    )
    for row, (kind, flags, start, length, alignment) in enumerate(segments):
        fields = (kind, flags, start, start, start, length, length, alignment)
        put(64 + 56 * row, struct.pack("<IIQQQQQQ", *fields))
    put(code, codes)
    for row, name in enumerate(functions):
        # A global function in some section: any number but 0 counts as defined.
        symbol = struct.pack("<IBBHQQ", at(name), 0x12, 0, 1, code + 16 * row, 16)
        put(symbols + 24 * (row + 1), symbol)
    # One bucket that chains all symbols: looking up is linear, and short.
    chain = [*range(2, count), 0] if count > 1 else []
    put(hashes, struct.pack(f"<{3 + count}I", 1, count, min(1, count - 1), 0, *chain))
    put(strings, names)
    for row, entry in enumerate(entries):
        put(dynamic + 16 * row, struct.pack("<qQ", *entry))
    file = folder / soname
    file.unlink(missing_ok=True)  # never into one that is loaded
    file.write_bytes(image)
    return file


def _aligned(offset: int) -> int:
    return (offset + 15) // 16 * 16
