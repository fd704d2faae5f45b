"""Enumerations of flow records: why a record ended, and how the initiator was found."""

from __future__ import annotations

import enum


class FlowEnd(enum.IntEnum):
    """Reason for the end of a record, the `end_reason` column: IPFIX flowEndReason (IE 136), and `WINDOW`.

    Examples
    --------
    >>> slimcap.flow.FlowEnd(3).name
    'END_OF_FLOW'
    """

    IDLE = 1
    """No packet came within the idle timeout."""
    ACTIVE = 2
    """The record lasted as long as the active timeout. The flow continues in another record."""
    END_OF_FLOW = 3
    """TCP: both sides sent a FIN, or one an RST."""
    FORCED = 4
    """`flush` ended it, or time was set back."""
    LACK_OF_RESOURCES = 5
    """The table was full, and other flows had packets since."""
    WINDOW = 128
    """A window ended. The flow continues in another record. IPFIX has no number for it."""


class FlowInitiator(enum.IntEnum):
    """Rule by which the first packet told the initiator of a flow, its `src`: the `initiator` column.

    Examples
    --------
    >>> slimcap.flow.FlowInitiator(1).name
    'SYN'
    """

    FIRST_PACKET = 0
    """Nothing else is known: it is the sender of the first packet."""
    SYN = 1
    """It sent a SYN."""
    SYN_ACK = 2
    """The other side sent a SYN and ACK."""
    ICMP_TYPE = 3
    """It sent an ICMP or ICMPv6 request, or the other side sent the reply to one."""
    PORT = 4
    """Its port is 1024 or higher, and that of the other side is lower."""
