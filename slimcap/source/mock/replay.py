"""Replay the packets of a source into a mock, as fast as possible or at a given speed or rate."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from slimcap.errors import CaptureStopped, CaptureUnblocked, copy_of
from slimcap.io.owner import Owner
from slimcap.source.mock.mock_socket import MockSocket, Schedule

if TYPE_CHECKING:
    from slimcap.packet.batch import Batch
    from slimcap.source.base import Source


class Jitter(NamedTuple):
    """Delay of the packets of a replay, in seconds.

    Attributes
    ----------
    mean : float
        Mean delay.
    max : float
        Maximum delay. No packet is ever early.

    Examples
    --------
    >>> from slimcap.mock import Jitter
    >>> Jitter(0.0, 0.0).max
    0.0
    """

    mean: float
    max: float


class Replay:
    """A thread that reads a source and adds its packets to a mock; returned by `pipe()` of the mocks.

    The thread ends when the source ends, after `stop()`, or when the mock is closed. Then the mock ends, too,
    once everything was read.

    Parameters
    ----------
    source : Source
        The source to read.
    device : MockSocket
        The socket of the mock that the packets are added to.
    schedule : Schedule or None
        Times of the packets. None: as fast as possible.
    done : callable
        Called once, when the thread ends.
    restamp : bool
        Replace the packets' timestamps by the times at which they are added.

    Examples
    --------
    >>> from slimcap.mock import MockRingSource
    >>> with slimcap.open_file("trace.pcap") as file, MockRingSource() as source:
    ...     replay = source.pipe(file, speed=10)
    ...     for batch in source.batches():
    ...         print(len(batch))
    ...     print(replay.wait(), replay.jitter)
    """

    def __init__(
        self,
        source: Source,
        device: MockSocket,
        schedule: Schedule | None,
        done: Callable[[], None],
        *,
        restamp: bool,
    ) -> None:
        self._owner = Owner()
        self._source = source
        self._device = device
        self._event = device.begin_replay()
        self._schedule = schedule
        self._done = done
        self._restamp = restamp
        self._packets = 0
        self._error: BaseException | None = None
        self._lock = threading.RLock()  # for the next three; a signal handler may call stop() within stop()
        self._stopped = False
        self._reading = False
        self._unblocked = False  # source.unblock() was called, CaptureUnblocked not yet raised
        self._thread = threading.Thread(target=self._run, name="slimcap replay", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._packets += self._device.add_batch(
                    batch, self._schedule, self._restamp, replay=self._event
                )
                del batch  # return a ring's block before waiting for the next one
        except (CaptureStopped, CaptureUnblocked):
            pass
        except BaseException as error:
            error.__traceback__ = error.__context__ = None  # whose frames refer to this object: a cycle
            self._error = error
        finally:
            self._device.end_replay(self._event)
            self._done()

    def _next_batch(self) -> Batch | None:
        """Return the next batch of the source; None at its end and after `stop()`."""
        with self._lock:
            if self._stopped:
                return None
            self._reading = True
        try:
            batch = self._source.next_batch()
        except (EOFError, CaptureStopped):
            return None
        except CaptureUnblocked:
            self._unblocked = False
            return None
        finally:
            with self._lock:
                self._reading = False
                stopped = self._stopped
            if self._unblocked:
                self._take_signal()
        return None if stopped else batch

    def _take_signal(self) -> None:
        """Consume an `unblock()` by `stop` that came too late for our read.

        Otherwise the source's next reader would raise CaptureUnblocked.
        """
        self._unblocked = False
        with contextlib.suppress(CaptureStopped, CaptureUnblocked, EOFError, TimeoutError):
            self._source.next_batch(1, 0)

    @property
    def packets(self) -> int:
        """Number of packets that passed the filter; a batch is counted once all of it was added."""
        return self._packets

    @property
    def jitter(self) -> Jitter:
        """Delay of the packets, a Jitter; zeros for a replay without `speed` and `rate`."""
        schedule = self._schedule
        if schedule is None or not schedule.packets:
            return Jitter(0.0, 0.0)
        return Jitter(schedule.total_delay / schedule.packets / 1e9, schedule.max_delay / 1e9)

    @property
    def running(self) -> bool:
        """True while packets may still be added."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the replay at once. May be called from any thread; in a forked process it does nothing.

        Packets that were read from the source and not added yet are lost.
        """
        if not self._owner.is_here():
            return
        with self._lock:
            self._stopped = True
            if self._reading:
                self._unblocked = True
                self._source.unblock()
            elif self._thread.is_alive():
                self._device.stop_replay(self._event)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all packets are added.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait in seconds. Default: no maximum.

        Returns
        -------
        int
            Number of packets that passed the filter.

        Raises
        ------
        TimeoutError
            The replay is still running.
        RuntimeError
            Another process started it.
        Exception
            The source raised it.
        """
        self._owner.check("this replay")
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the replay is still running: wait longer, or call stop()")
        if self._error is not None:
            raise copy_of(self._error)
        return self._packets
