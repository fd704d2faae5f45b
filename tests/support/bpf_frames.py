"""Ethernet frames for filter programs, by name: with IP and without, tagged, PPPoE."""

from __future__ import annotations

from support.builders.conversations import arp_request, lldp, packet4, packet6
from support.builders.layers import ARP, IPV4, LCP, MPLS, OLD_QINQ, PPPOE_DISCOVERY, PPPOE_SESSION, QINQ, VLAN
from support.builders.links import ethernet, llc_frame, mpls, ppp, pppoe, snap


def ethernet_frames() -> dict[str, bytes]:
    """Build a frame of each kind that a filter for IP has to tell apart."""
    four, six = packet4(), packet6()
    session = PPPOE_SESSION
    return {
        "IPv4": ethernet(four),
        "IPv6": ethernet(six),
        "ARP": ethernet(arp_request(), ARP, pad=True),
        "LLDP": lldp(),
        "length": llc_frame(b"\x42\x42\x03" + bytes(40)),
        "SNAP": ethernet(snap(four, IPV4), 8 + len(four)),
        "MPLS": ethernet(mpls(four, 1001), MPLS),
        "PPPoE IPv4": ethernet(pppoe(ppp(four)), session),
        "PPPoE IPv6": ethernet(pppoe(ppp(six)), session),
        "PPPoE LCP": ethernet(pppoe(ppp(bytes(8), LCP)), session),
        "PPPoE no data": ethernet(pppoe(ppp(four), code=0xA7), session),
        "PPPoE discovery": ethernet(pppoe(ppp(four)), PPPOE_DISCOVERY),
        "VLAN": ethernet(four, tags=[(VLAN, 10)]),
        "VID 0": ethernet(six, tags=[(VLAN, 5 << 13)]),
        "QinQ": ethernet(six, tags=[(QINQ, 200), (VLAN, 10)]),
        "old QinQ": ethernet(four, tags=[(OLD_QINQ, 200), (OLD_QINQ, 10)]),
        "QinQ PPPoE": ethernet(pppoe(ppp(six)), session, tags=[(QINQ, 200), (VLAN, 10)]),
        "VLAN ARP": ethernet(arp_request(), ARP, tags=[(VLAN, 10)], pad=True),
        "VLAN of 0x0800": ethernet(arp_request(), ARP, tags=[(VLAN, 0x800)], pad=True),
        "three tags": ethernet(four, tags=[(QINQ, 1), (VLAN, 2), (VLAN, 3)]),
        "ARP from 08:00": ethernet(arp_request(), ARP, src=b"\x08\0" * 3, dst=b"\x86\xdd" * 3),
        "empty": b"",
    }


WITH_IP = {
    *("IPv4", "IPv6", "PPPoE IPv4", "PPPoE IPv6", "VLAN", "VID 0", "QinQ", "old QinQ", "QinQ PPPoE"),
}
TAGGED = {"VLAN", "VID 0", "QinQ", "old QinQ", "QinQ PPPoE", "VLAN ARP", "VLAN of 0x0800", "three tags"}
