"""Text that may come from bytes that are not UTF-8."""

from __future__ import annotations

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def valid_text(text: str) -> str:
    """Return a text that can be encoded, as JSON and Arrow require.

    Bytes that are not UTF-8, as file and interface names may have, are in a str as lone surrogates. They are
    escaped as ``\\xff``.
    """
    return _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
