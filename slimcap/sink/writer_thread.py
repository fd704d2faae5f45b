"""Write flow records on a separate thread, so that a slow disk does not stall the reader of packets.

reader   read, count ──► queue of FlowBatches ──► thread   convert, compress, write, rename
         waits while the queue holds QUEUE_SIZE bytes
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeAlias

from slimcap.io.owner import Owner

if TYPE_CHECKING:
    from slimcap.flow.flow_batch import FlowBatch
    from slimcap.flow.flow_table import FlowTable
    from slimcap.sink.flow_file import FlowFile, FlowFiles
    from slimcap.sink.flow_stream import FlowStream

    _Item: TypeAlias = tuple[FlowBatch, int | None]  # and the clock of the table after it

QUEUE_SIZE: Final = 256 << 20
"""Bytes of records that may wait to be written, and one batch more, before the reader of packets waits."""

_OBJECTS: Final = 1 << 10  # bytes of the objects of a batch, without its records
_PATIENCE: Final = 1.0  # seconds to wait for the thread when its file is not wanted any more


def write_by_thread(
    batches: Iterable[FlowBatch],
    output: FlowFile | FlowFiles,
    *,
    stream: FlowStream | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write flow records on a separate thread, and close the output.

    Up to QUEUE_SIZE bytes of records wait to be written. Then no further batches are read until there is
    space. If reading raises, also by Ctrl-C, the output is closed with all records before and those of the
    flows in the table, and the exception is raised then. A second Ctrl-C discards the current file. If
    writing or `progress` fails, no further batch is read, and the current file is discarded.

    Parameters
    ----------
    batches : iterable of FlowBatch
        The records.
    output : FlowFile or FlowFiles
        Used by the thread only.
    stream : FlowStream, optional
        Stream of the batches. The clock of its table ends the windows of the output. Default: no windows end
        by time.
    progress : callable, optional
        Called after each batch with the number of records so far. Default: no callback.

    Returns
    -------
    int
        Number of records written.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    thread = _WriterThread(output, None if stream is None else stream.table, progress)
    failure: BaseException | None = None
    try:
        try:
            thread.feed(batches)
        except BaseException as error:
            failure = error
            if stream is not None:  # an exception outside of the stream left them in the table
                thread.feed(stream.flush())
    finally:
        thread.close(interrupted=isinstance(failure, KeyboardInterrupt))
    if failure is not None:
        raise failure
    return thread.records


class _WriterThread:
    """A thread that writes what it is fed. `close` has to be called."""

    def __init__(
        self,
        output: FlowFile | FlowFiles,
        table: FlowTable | None,
        progress: Callable[[int], object] | None,
    ) -> None:
        self.records = 0
        self._output = output
        self._table = table
        self._progress = progress
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._added = self._written = 0  # bytes, counted by the reader and by the thread
        self._changed = threading.Event()  # `_written` or `_failure`
        self._failure: BaseException | None = None
        self._discarded = False
        self._ended = threading.Event()  # the output is closed or discarded
        self._owner = Owner()
        self._thread = threading.Thread(target=self._run, name="slimcap writer", daemon=True)
        self._thread.start()

    # ---- the reader

    def feed(self, batches: Iterable[FlowBatch]) -> None:
        """Hand over batches until they end, or writing fails."""
        # A loop in C: Ctrl-C comes before a batch is taken, or after it is in the queue.
        deque(map(self._queue.put, self._paced(batches)), maxlen=0)

    def _paced(self, batches: Iterable[FlowBatch]) -> Iterator[_Item]:
        for batch in batches:
            yield batch, None if self._table is None else self._table.clock
            self._added += _size_of(batch)
            self.records += len(batch)
            if self._progress is not None:
                self._report(self._progress)
            if not self._has_space():
                return

    def _report(self, progress: Callable[[int], object]) -> None:
        try:
            progress(self.records)
        except Exception:
            self._discarded = True
            raise

    def _has_space(self) -> bool:
        """Wait until there is space in the queue; return False if writing failed."""
        while self._failure is None and self._added - self._written > QUEUE_SIZE:
            self._changed.clear()
            if self._failure is None and self._added - self._written > QUEUE_SIZE:
                self._changed.wait()
        return self._failure is None

    def close(self, *, interrupted: bool) -> None:
        """Wait until all is written, and raise what failed. A second interrupt ends the wait."""
        self._queue.put(None)
        interrupt: BaseException | None = None
        # Before Python 3.13, a thread whose `join` was interrupted seems to have ended. A fork has no thread.
        while self._owner.is_here() and not self._ended.is_set():
            try:
                self._ended.wait()
                self._thread.join()
            except KeyboardInterrupt as error:
                if interrupted:
                    self._discarded = True
                    self._ended.wait(_PATIENCE)
                    raise
                interrupted, interrupt = True, error
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if interrupt is not None:
            raise interrupt

    # ---- the thread

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None and not self._discarded:
                self._write(*item)
                del item  # its memory is not needed during the next wait
            if not self._discarded:
                self._output.close()
        except BaseException as error:
            self._failure = error
        finally:
            with contextlib.suppress(OSError):
                self._output.discard()  # after `close` this does nothing
            self._changed.set()
            self._ended.set()

    def _write(self, batch: FlowBatch, clock: int | None) -> None:
        if len(batch):
            self._output.add(batch)
        if clock is not None:
            self._output.end_window(clock)
        self._written += _size_of(batch)
        self._changed.set()


def _size_of(batch: FlowBatch) -> int:
    return batch.records.nbytes + _OBJECTS
