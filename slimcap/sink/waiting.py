"""Batches of a source, with pauses in which something else can be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from slimcap.errors import CaptureStopped

if TYPE_CHECKING:
    from slimcap.packet.batch import Batch
    from slimcap.source.base import Source

PAUSE: Final = 1.0
"""Maximum time in seconds without a batch or a pause."""


def batches_and_pauses(source: Source) -> Iterator[Batch | None]:
    """Yield the batches of a source, and None after each second without packets.

    Ends as `source.batches()` does.

    Parameters
    ----------
    source : Source
        An open source.

    Raises
    ------
    TimeoutError
        No packet came within the source's `timeout`.
    """
    waited = 0.0
    while True:
        pause = PAUSE if source.timeout is None else min(PAUSE, source.timeout - waited)
        try:
            batch = source.next_batch(timeout=pause)
        except TimeoutError:
            yield None
            waited += pause
            if source.timeout is not None and waited >= source.timeout:
                raise
        except (EOFError, CaptureStopped):
            return
        else:
            waited = 0.0
            yield batch
            del batch
