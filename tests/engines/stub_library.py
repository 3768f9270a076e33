"""Shared libraries that define given names and do nothing, written byte by byte: no compiler.

NVIDIA's Python bindings are a real extension that only needs its libraries' names to load; over
such stubs it shows every class, method, signature and enum, and can compute nothing.
"""

from __future__ import annotations

import struct
from pathlib import Path

_CODE = b"\x31\xc0\xc3"  # xor eax, eax; ret: every function gives 0
_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 0, 4, 5, 6, 10, 11, 14
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_HEADERS = 64 + 3 * 56


def write_stub(folder: Path, soname: str, functions: tuple[str, ...] = ()) -> Path:
    """Writes an x86-64 ELF library of this soname whose functions all return 0."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (soname, *functions))

    def at(name: str) -> int:
        return names.index(b"\0" + name.encode() + b"\0") + 1

    count = len(functions) + 1
    code = _HEADERS
    symbols = _aligned(code + len(_CODE))
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
    for row, (kind, flags, start, length, alignment) in enumerate(
        (
            (_PT_LOAD, 7, 0, size, 0x1000),
            (_PT_DYNAMIC, 6, dynamic, size - dynamic, 8),
            (_PT_GNU_STACK, 6, 0, 0, 16),
        )
    ):
        fields = (kind, flags, start, start, start, length, length, alignment)
        put(64 + 56 * row, struct.pack("<IIQQQQQQ", *fields))
    put(code, _CODE)
    for row, name in enumerate(functions, 1):
        # A global function in some section (any number but 0 counts as defined).
        put(symbols + 24 * row, struct.pack("<IBBHQQ", at(name), 0x12, 0, 1, code, len(_CODE)))
    # One bucket that chains all symbols: lookup is linear, and short.
    chain = [*range(2, count), 0] if count > 1 else []
    put(hashes, struct.pack(f"<{3 + count}I", 1, count, min(1, count - 1), 0, *chain))
    put(strings, names)
    for row, entry in enumerate(entries):
        put(dynamic + 16 * row, struct.pack("<qQ", *entry))
    file = folder / soname
    file.write_bytes(image)
    return file


def _aligned(offset: int) -> int:
    return (offset + 15) // 16 * 16
