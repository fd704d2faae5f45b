"""Make the sample captures of this folder: `python tests/data/make_samples.py [FOLDER]`.

Nothing in them was captured. `support.builders` builds every packet, from the wire format up, with valid
checksums, documentation addresses (RFC 5737, RFC 3849, RFC 6676) and locally administered MACs. Each run
makes the same bytes. Only the compression of .gz files differs between zlib versions: compare those
through `inflated`.

Tests import this module for the builders that they use, and for `SAMPLES` and `PCAPNG`: name -> function that
builds the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.builders.captures import CAPTURES, SAMPLES, simple
from support.builders.compressed import deflated, gzip_cut, gzip_member, gzip_members, inflated
from support.builders.conversations import CLIENT, SHOP, WEB, arp_request, lldp, packet4, packet6
from support.builders.layers import (
    ARP,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    LCP,
    MPLS,
    OLD_QINQ,
    PPPOE_DISCOVERY,
    PPPOE_SESSION,
    QINQ,
    TCP,
    UDP,
    UDP_LITE,
    VLAN,
    checksum,
    geneve,
    gre,
    gtpu,
    icmp,
    icmpv6,
    ip,
    ipv4,
    ipv4_fragments,
    ipv6,
    ipv6_fragments,
    ipv6_options,
    mac,
    noise,
    tcp,
    udp,
    vxlan,
)
from support.builders.link_types import raw
from support.builders.links import arp, chdlc, ethernet, llc_frame, mpls, ppp, pppoe, sll, sll2, snap
from support.builders.mixed import mixed
from support.builders.pcap import (
    IXIA_HW,
    IXIA_SW,
    MICRO,
    MODIFIED,
    NANO,
    START,
    Capture,
    Packet,
    Record,
    capture,
    cut,
    paced,
    pcap_file,
    pcap_header,
    pcap_record,
)
from support.builders.pcapng import (
    CUSTOM,
    ENHANCED,
    INTERFACE,
    NAMES,
    OLD_PACKET,
    SECRETS,
    SECTION,
    SIMPLE,
    STATISTICS,
    UNKNOWN_BLOCK,
    Ng,
    Option,
    pcapng_file,
)
from support.builders.pcapng_captures import PCAPNG, RESOLUTIONS
from support.builders.protocols import odd_headers, transports, tunnels

__all__ = [
    "ARP",
    "CAPTURES",
    "CLIENT",
    "CUSTOM",
    "ENHANCED",
    "ICMP",
    "ICMPV6",
    "INTERFACE",
    "IPV4",
    "IPV6",
    "IXIA_HW",
    "IXIA_SW",
    "LCP",
    "MICRO",
    "MODIFIED",
    "MPLS",
    "NAMES",
    "NANO",
    "OLD_PACKET",
    "OLD_QINQ",
    "PCAPNG",
    "PPPOE_DISCOVERY",
    "PPPOE_SESSION",
    "QINQ",
    "RESOLUTIONS",
    "SAMPLES",
    "SECRETS",
    "SECTION",
    "SHOP",
    "SIMPLE",
    "START",
    "STATISTICS",
    "TCP",
    "UDP",
    "UDP_LITE",
    "UNKNOWN_BLOCK",
    "VLAN",
    "WEB",
    "Capture",
    "Ng",
    "Option",
    "Packet",
    "Record",
    "arp",
    "arp_request",
    "capture",
    "chdlc",
    "checksum",
    "cut",
    "deflated",
    "ethernet",
    "geneve",
    "gre",
    "gtpu",
    "gzip_cut",
    "gzip_member",
    "gzip_members",
    "icmp",
    "icmpv6",
    "inflated",
    "ip",
    "ipv4",
    "ipv4_fragments",
    "ipv6",
    "ipv6_fragments",
    "ipv6_options",
    "llc_frame",
    "lldp",
    "mac",
    "main",
    "mixed",
    "mpls",
    "noise",
    "odd_headers",
    "paced",
    "packet4",
    "packet6",
    "pcap_file",
    "pcap_header",
    "pcap_record",
    "pcapng_file",
    "ppp",
    "pppoe",
    "raw",
    "simple",
    "sll",
    "sll2",
    "snap",
    "tcp",
    "transports",
    "tunnels",
    "udp",
    "vxlan",
]


def main(folder: Path) -> None:
    """Write all samples to a folder."""
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    for name, make in (SAMPLES | PCAPNG).items():
        (folder / name).write_bytes(make())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
