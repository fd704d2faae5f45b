"""Options of packets, as in pcapng (draft-ietf-opsawg-pcapng, section 4.3): comments, hashes, queues, …

The options of the packets of a batch are a tuple of (row, code, value), ordered by row: few packets have any.
`value` is the bytes of the option, numbers in native byte order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import index as as_index
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slimcap.errors import wrong_type

PacketOptions: TypeAlias = Sequence[tuple[int, int, bytes]]

COMMENT: Final = 1  # opt_comment, section 3.5.1


def slice_options(options: PacketOptions, start: int, stop: int) -> PacketOptions:
    """Return the options of the rows from `start` to `stop`; the row `start` becomes row 0."""
    found = options[bisect_left(options, (start,)) : bisect_left(options, (stop,))]
    return found if start == 0 else tuple([(row - start, code, value) for row, code, value in found])


def take_options(options: PacketOptions, rows: NDArray[np.intp]) -> PacketOptions:
    """Return the options of the given rows; `rows[i]` becomes row i. A row may occur several times."""
    by_row: dict[int, list[tuple[int, bytes]]] = {}
    for row, code, value in options:
        by_row.setdefault(row, []).append((code, value))
    found = np.flatnonzero(np.isin(rows, list(by_row)))
    return tuple(
        [
            (index, code, value)
            for index, row in zip(found.tolist(), rows[found].tolist(), strict=True)
            for code, value in by_row[row]
        ]
    )


def comments_of(options: PacketOptions) -> dict[int, str]:
    """Return the comments by row; several comments on a packet are joined, one per line.

    They are UTF-8. Invalid bytes are replaced, and NULs at the end, which should not be there, are removed.
    """
    found: dict[int, list[str]] = {}
    for row, code, value in options:
        if code == COMMENT:
            found.setdefault(row, []).append(value.decode("utf-8", "replace").rstrip("\0"))
    return {row: "\n".join(texts) for row, texts in found.items()}


def with_comments(
    options: PacketOptions, comments: Mapping[int, str | Iterable[str]], count: int
) -> PacketOptions:
    """Return options with these comments instead of their own.

    Parameters
    ----------
    options : PacketOptions
        Options that stay, except the comments.
    comments : mapping of int to str, or to an iterable of str for several comments
        Comments by row.
    count : int
        Number of rows.

    Raises
    ------
    ValueError
        There is no such row.
    TypeError
        A row is not an int, or a comment is not a str.
    """
    if not isinstance(comments, Mapping):
        raise wrong_type("comments", "a mapping of row to str", comments)
    found = [option for option in options if option[1] != COMMENT]
    for key, texts in comments.items():
        row = as_index(key)
        if not 0 <= row < count:
            raise ValueError(f"a comment on packet {row} of {count}: packets are numbered from 0")
        for text in [texts] if isinstance(texts, str) else texts:
            if not isinstance(text, str):
                raise wrong_type("each of comments", "a str", text)
            found.append((row, COMMENT, text.encode("utf-8", "surrogateescape")))
    return ordered(found)


def comment_on(options: PacketOptions, row: int) -> str | None:
    """Return the comment on one packet, or None."""
    return comments_of(slice_options(options, row, row + 1)).get(0)


def ordered(options: Iterable[tuple[int, int, bytes]]) -> PacketOptions:
    """Return options ordered by row; those of one packet keep their order."""
    return tuple(sorted(options, key=_row_of))


def _row_of(option: tuple[int, int, bytes]) -> int:
    return option[0]
