"""`Account`: accounts for the packets of an interface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from slimcap.filter.presets import Direction
from slimcap.source.live.rtnetlink import LinkCounters


class Account(NamedTuple):
    """Account of the packets of an interface, since a live source was opened.

    All attributes are numbers of packets, and always::

        link_packets == link_drops + filtered + dropped + delivered + in_flight

    `dropped`, `delivered` and `in_flight` are exact: the kernel counts each packet that the filter accepts
    once. `link_packets` and `link_drops` are the counters of the interface's driver (rtnl_link_stats64 in
    linux/if_link.h). `filtered` is the difference, because the kernel does not count what a filter rejects.
    It is exact while no packets arrive, if the driver counts each packet once and at once, as veth, tun and
    tap do; else it also contains

    - packets that arrive during the call, or between the reading of the first counters and the start of the
      capture, less than a millisecond in all;
    - packets that the driver has not counted yet (then it may be negative), or counts only once per second;
    - packets that were merged with others before the capture (GRO, LRO) or split after it (TSO, GSO), which
      some drivers count one by one: `slimcap doctor` shows these offloads;
    - packets that the driver counts as received and in `rx_dropped`;
    - packets that another source of a fanout group captured.

    Attributes
    ----------
    link_packets : int or None
        Packets that the interface received or was given to send; only those of the source's `direction`, if
        it has one. It includes `link_drops` and sent packets that the driver dropped, which a capture sees.
        None if the interface was removed or moved before this was read, in a forked process, and for a mock:
        then `link_drops` and `filtered` are None, too.
    link_drops : int or None
        Packets received that never reached the source: the sum of `LinkDrops`.
    filtered : int or None
        Packets that were not captured: the filter rejected them, or they arrived after `stop()`.
    dropped : int
        Packets that the filter accepted and the kernel dropped: the ring or the receive buffer was full.
    delivered : int
        Packets that reads have returned or skipped, as `next_ip_packet` does.
    in_flight : int
        Packets that the kernel accepted and no read has returned yet: in the ring or receive buffer, or in
        the batch that packets are being read from. After `close()`: the packets that it discarded.

    Examples
    --------
    >>> Account(10, 1, 2, 0, 6, 1).filtered
    2
    """

    link_packets: int | None
    link_drops: int | None
    filtered: int | None
    dropped: int
    delivered: int
    in_flight: int


def account_of(
    counters: LinkCounters | None, direction: Direction, received: int, dropped: int, delivered: int
) -> Account:
    """Return the account of a source.

    Parameters
    ----------
    counters : LinkCounters or None
        Those of the interface since the source was opened; None if they are not known.
    direction : {"both", "in", "out"}
        The direction that is captured.
    received, dropped : int
        Packets that the filter accepted; those of them that the kernel dropped.
    delivered : int
        Packets returned to the caller.

    Returns
    -------
    Account
    """
    in_flight = received - dropped - delivered
    if counters is None:
        return Account(None, None, None, dropped, delivered, in_flight)
    packets = drops = 0
    if direction != "out":
        drops = sum(counters.drops)
        packets += counters.rx_packets + drops
    if direction != "in":
        packets += counters.tx_packets + counters.tx_dropped
    return Account(packets, drops, packets - drops - received, dropped, delivered, in_flight)


def sum_of(accounts: Iterable[Account]) -> Account:
    """Return the sums of accounts; None for what is not known of one of them."""
    sums = []
    for values in zip(Account(0, 0, 0, 0, 0, 0), *accounts, strict=True):
        known = [value for value in values if value is not None]
        sums.append(sum(known) if len(known) == len(values) else None)
    link_packets, link_drops, filtered, dropped, delivered, in_flight = sums
    return Account(link_packets, link_drops, filtered, dropped or 0, delivered or 0, in_flight or 0)


def shared_account(accounts: Sequence[Account]) -> Account:
    """Return the account of an interface that several rings share, from that of each ring."""
    first, together = accounts[0], sum_of(accounts)
    accepted = together.dropped + together.delivered + together.in_flight
    filtered = None
    if first.link_packets is not None and first.link_drops is not None:
        filtered = first.link_packets - first.link_drops - accepted
    return together._replace(link_packets=first.link_packets, link_drops=first.link_drops, filtered=filtered)
