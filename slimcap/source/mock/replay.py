"""Packets of one source into a mock, at a pace."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from slimcap.errors import CaptureStopped, CaptureUnblocked
from slimcap.source.mock.mock_socket import MockSocket, Pace

if TYPE_CHECKING:
    from slimcap.packet.batch import Batch
    from slimcap.source.base import Source


class Jitter(NamedTuple):
    """How late packets of a replay came, in seconds.

    Attributes
    ----------
    mean, most : float
        On average, and at most. None is ever early.
    """

    mean: float
    most: float


class Replay:
    """A thread that reads a source and adds its packets to a mock; what `pipe()` gives.

    When the source ends, so does the mock, once all is read. The thread ends with the source, with `stop()`,
    or when the mock is closed.
    """

    def __init__(
        self,
        source: Source,
        device: MockSocket,
        pace: Pace | None,
        done: Callable[[], None],
        *,
        restamp: bool,
    ) -> None:
        self._source = source
        self._device = device
        self._pace = pace
        self._done = done
        self._restamp = restamp
        self._packets = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # of the three below
        self._stopped = False
        self._reading = False
        self._unblocked = False  # the source was told, and did not say so yet
        self._thread = threading.Thread(target=self._run, name="slimcap replay", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._packets += self._device.add_batch(batch, self._pace, self._restamp)
                del batch  # a ring's block goes back before the next is waited for
        except (CaptureStopped, CaptureUnblocked):
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._done()

    def _next_batch(self) -> Batch | None:
        """What the source has next; None at its end or ours."""
        with self._lock:
            if self._stopped:
                return None
            self._reading = True
        try:
            return self._source.next_batch()
        except (EOFError, CaptureStopped):
            return None
        except CaptureUnblocked:
            self._unblocked = False
            return None
        finally:
            with self._lock:
                self._reading = False
            if self._unblocked:
                self._take_signal()

    def _take_signal(self) -> None:
        """Have the source raise now what `stop` told it too late, instead of at its next reader."""
        self._unblocked = False
        with contextlib.suppress(CaptureStopped, CaptureUnblocked, EOFError, TimeoutError):
            self._source.next_batch(1, 0)

    @property
    def packets(self) -> int:
        """Packets that came in; those of a batch are counted when all of it did."""
        return self._packets

    @property
    def jitter(self) -> Jitter:
        """How late packets came; zeros of a replay that has no pace."""
        if self._pace is None or not self._pace.packets:
            return Jitter(0.0, 0.0)
        return Jitter(self._pace.late / self._pace.packets / 1e9, self._pace.latest / 1e9)

    @property
    def running(self) -> bool:
        """Whether packets may still come."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, wherever it is; from any thread. What it has read is lost if it did not come in yet."""
        with self._lock:
            self._stopped = True
            if self._reading:
                self._unblocked = True
                self._source.unblock()
            elif self._thread.is_alive():
                self._device.unblock()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all packets are added.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        int
            How many came in.

        Raises
        ------
        TimeoutError
            It goes on.
        Exception
            What the source raised.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the replay goes on")
        if self._error is not None:
            raise self._error
        return self._packets
