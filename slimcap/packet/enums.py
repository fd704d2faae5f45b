"""Constants and enumerations of packets: type, link type, flags, header status."""

from __future__ import annotations

import enum
from operator import index
from typing import Final, SupportsIndex

from slimcap.errors import integer

NO_IP: Final = 65535
"""Value of `ip_offset` if no IP header was found in the packet."""

PACKET_HDR_OFFSET: Final = 6
"""Offset of the payload in the bytes of `Packet.to_go_bytes`."""


class PacketType(enum.IntEnum):
    """Addressee or direction of a packet, as seen by the capturing host (PACKET_* in linux/if_packet.h).

    Any other byte value is mapped to UNKNOWN.

    Examples
    --------
    >>> slimcap.PacketType(4).name
    'OUTGOING'
    """

    THIS_HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER_HOST = 3
    OUTGOING = 4
    UNKNOWN = 255

    @classmethod
    def _missing_(cls, value: object) -> PacketType | None:
        """Map all other byte values, which the kernel or a file may contain, to UNKNOWN."""
        return cls.UNKNOWN if isinstance(value, SupportsIndex) and 0 <= index(value) <= 255 else None


_NAMED: Final = {int(kind): kind for kind in PacketType}

PACKET_TYPES: Final = [_NAMED.get(byte, PacketType.UNKNOWN) for byte in range(256)]
"""The PacketType of each byte."""


class LinkType(enum.IntEnum):
    """Link types by name: LINKTYPE_ numbers (draft-ietf-opsawg-pcaplinktype).

    `Link.type` is a member, or an int for the link types without a name here.

    Examples
    --------
    >>> slimcap.LinkType(113).name
    'LINUX_SLL'
    >>> slimcap.LinkType.ETHERNET == 1
    True
    """

    NULL = 0
    ETHERNET = 1
    PPP = 9
    RAW_BSD = 12
    RAW_OPENBSD = 14
    PPP_HDLC = 50
    PPP_ETHER = 51
    RAW = 101
    C_HDLC = 104
    IEEE802_11 = 105
    FRELAY = 107
    LOOP = 108
    ENC = 109
    LINUX_SLL = 113
    PFLOG = 117
    IEEE802_11_PRISM = 119
    IEEE802_11_RADIOTAP = 127
    USER0 = 147
    """For interfaces of this host whose link type is not supported."""
    IEEE802_11_AVS = 163
    PPP_PPPD = 166
    PPI = 192
    PPP_WITH_DIR = 204
    C_HDLC_WITH_DIR = 205
    FRELAY_WITH_DIR = 206
    MPLS = 219
    IPNET = 226
    IPV4 = 228
    IPV6 = 229
    DBUS = 231
    NFLOG = 239
    NETLINK = 253
    PKTAP = 258
    LINUX_SLL2 = 276

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"  # as in the repr of a Link

    @classmethod
    def of(cls, number: SupportsIndex) -> int:
        """Return the member with a number, or the number itself if it has no name.

        Parameters
        ----------
        number : int
            LINKTYPE_ number.

        Returns
        -------
        LinkType or int
            The same number.

        Raises
        ------
        TypeError
            `number` is not an integer.
        """
        value = integer("link_type", number)
        return cls(value) if value in cls._value2member_map_ else value


LINK_TYPE_NAMES: Final[dict[int, str]] = {
    3: "AX25", 6: "IEEE802_5", 7: "ARCNET_BSD", 8: "SLIP", 10: "FDDI", 99: "SYMANTEC_FIREWALL",
    100: "ATM_RFC1483", 106: "ATM_CLIP", 114: "LTALK", 122: "IP_OVER_FC", 123: "SUNATM", 129: "ARCNET_LINUX",
    130: "JUNIPER_MLPPP", 131: "JUNIPER_MLFR", 132: "JUNIPER_ES", 133: "JUNIPER_GGSN", 134: "JUNIPER_MFR",
    135: "JUNIPER_ATM2", 136: "JUNIPER_SERVICES", 137: "JUNIPER_ATM1", 138: "APPLE_IP_OVER_IEEE1394",
    139: "MTP2_WITH_PHDR", 140: "MTP2", 141: "MTP3", 142: "SCCP", 143: "DOCSIS", 144: "LINUX_IRDA",
    148: "USER1", 149: "USER2", 150: "USER3", 151: "USER4", 152: "USER5", 153: "USER6", 154: "USER7",
    155: "USER8", 156: "USER9", 157: "USER10", 158: "USER11", 159: "USER12", 160: "USER13", 161: "USER14",
    162: "USER15", 164: "JUNIPER_MONITOR", 165: "BACNET_MS_TP", 167: "JUNIPER_PPPOE",
    168: "JUNIPER_PPPOE_ATM", 169: "GPRS_LLC", 170: "GPF_T", 171: "GPF_F", 174: "JUNIPER_PIC_PEER",
    175: "ERF_ETH", 176: "ERF_POS", 177: "LINUX_LAPD", 178: "JUNIPER_ETHER", 179: "JUNIPER_PPP",
    180: "JUNIPER_FRELAY", 181: "JUNIPER_CHDLC", 182: "MFR", 183: "JUNIPER_VP", 184: "A429", 185: "A653_ICM",
    186: "USB_FREEBSD", 187: "BLUETOOTH_HCI_H4", 188: "IEEE802_16_MAC_CPS", 189: "USB_LINUX", 190: "CAN20B",
    191: "IEEE802_15_4_LINUX", 193: "IEEE802_16_MAC_CPS_RADIO", 194: "JUNIPER_ISM",
    195: "IEEE802_15_4_WITHFCS", 196: "SITA", 197: "ERF", 198: "RAIF1", 199: "IPMB_KONTRON",
    200: "JUNIPER_ST", 201: "BLUETOOTH_HCI_H4_WITH_PHDR", 202: "AX25_KISS", 203: "LAPD", 207: "LAPB_WITH_DIR",
    209: "IPMB_LINUX", 210: "FLEXRAY", 212: "LIN", 215: "IEEE802_15_4_NONASK_PHY", 216: "LINUX_EVDEV",
    220: "USB_LINUX_MMAPPED", 221: "DECT", 222: "AOS", 223: "WIHART", 224: "FC_2",
    225: "FC_2_WITH_FRAME_DELIMS", 227: "CAN_SOCKETCAN", 230: "IEEE802_15_4_NOFCS", 232: "JUNIPER_VS",
    233: "JUNIPER_SRX_E2E", 234: "JUNIPER_FIBRECHANNEL", 235: "DVB_CI", 236: "MUX27010",
    237: "STANAG_5066_D_PDU", 238: "JUNIPER_ATM_CEMIC", 240: "NETANALYZER", 241: "NETANALYZER_TRANSPARENT",
    242: "IPOIB", 243: "MPEG_2_TS", 244: "NG40", 245: "NFC_LLCP", 246: "PFSYNC", 247: "INFINIBAND",
    248: "SCTP", 249: "USBPCAP", 250: "RTAC_SERIAL", 251: "BLUETOOTH_LE_LL", 254: "BLUETOOTH_LINUX_MONITOR",
    255: "BLUETOOTH_BREDR_BB", 256: "BLUETOOTH_LE_LL_WITH_PHDR", 257: "PROFIBUS_DL", 259: "EPON",
    260: "IPMI_HPM_2", 261: "ZWAVE_R1_R2", 262: "ZWAVE_R3", 263: "WATTSTOPPER_DLM", 264: "ISO_14443",
    265: "RDS", 266: "USB_DARWIN", 267: "OPENFLOW", 268: "SDLC", 269: "TI_LLN_SNIFFER", 270: "LORATAP",
    271: "VSOCK", 272: "NORDIC_BLE", 273: "DOCSIS31_XRA31", 274: "ETHERNET_MPACKET", 275: "DISPLAYPORT_AUX",
    277: "SERCOS_MONITOR", 278: "OPENVIZSLA", 279: "EBHSCR", 280: "VPP_DISPATCH", 281: "DSA_TAG_BRCM",
    282: "DSA_TAG_BRCM_PREPEND", 283: "IEEE802_15_4_TAP", 284: "DSA_TAG_DSA", 285: "DSA_TAG_EDSA",
    286: "ELEE", 287: "Z_WAVE_SERIAL", 288: "USB_2_0", 289: "ATSC_ALP", 290: "ETW", 291: "NETANALYZER_NG",
    292: "ZBOSS_NCP", 293: "USB_2_0_LOW_SPEED", 294: "USB_2_0_FULL_SPEED", 295: "USB_2_0_HIGH_SPEED",
    296: "AUERSWALD_LOG", 297: "ZWAVE_TAP", 298: "SILABS_DEBUG_CHANNEL", 299: "FIRA_UCI", 300: "MDB",
    301: "DECT_NR",
}  # fmt: skip
"""Names of the other link types, without LINKTYPE_ (draft-ietf-opsawg-pcaplinktype)."""

PROTOCOL_NAMES: Final[dict[int, str]] = {
    0: "unknown",  # the packet is truncated before its protocol
    1: "ICMP", 2: "IGMP", 4: "IPv4-in-IP", 6: "TCP", 17: "UDP", 33: "DCCP", 41: "IPv6-in-IP", 46: "RSVP",
    47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP",
    115: "L2TP", 132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip
"""Names of the most common IANA protocol numbers; 0 if the packet is truncated before its protocol."""


class HeaderStatus(enum.IntEnum):
    """Result of parsing a packet's headers: the `status` column of `Batch.headers`.

    Columns whose values are not known are zero.

    Examples
    --------
    >>> slimcap.HeaderStatus(3).name
    'FRAGMENT'
    """

    OK = 0
    """All headers are complete. For upper layers other than TCP, UDP, UDP-Lite, SCTP, DCCP, ICMP and ICMPv6,
    only `l4_offset` is known."""
    NO_IP = 1
    """There is no IP header, or no byte of it was captured: only the link-layer columns are known."""
    ARP = 2
    """An ARP packet: the link-layer columns are known, and `src` and `dst` are the sender's and target's
    addresses."""
    FRAGMENT = 3
    """A fragment other than the first: the IP header is known, the upper layer is not."""
    TRUNCATED = 4
    """The captured bytes, or a first fragment, end within the headers. Fields that were captured completely
    are known; if the IP header itself is truncated, only `ip_version` and `protocol` are."""
    MALFORMED = 5
    """A header contradicts itself, or states a length that is more than there was on the wire (`total_len`).
    If it is only the length of IP or UDP that is too large, all fields are known, and `l7_len` ends where the
    packet does; otherwise the fields before the error are. Bytes after the stated length are padding, and a
    length of 0 is that of a packet before segmentation or of a jumbogram: neither is an error. A packet that
    was not captured completely is compared with its length on the wire, a fragment with its own."""


class RecordFlag(enum.IntFlag):
    """Bits of the `flags` column.

    Examples
    --------
    >>> tagged = batch[batch["flags"] & slimcap.RecordFlag.VLAN != 0]
    """

    VLAN = 1
    """The packet has a VLAN tag: `vlan_tci` and `vlan_tpid` hold the outermost one."""
    VLAN_STRIPPED = 2
    """The kernel removed that tag from the bytes (and `total_len` does not include it)."""
    TRUNCATED = 4
    """`cap_len < total_len`: the packet was not captured completely."""
    CHECKSUM_VALID = 8
    """The kernel has verified the transport checksum (TP_STATUS_CSUM_VALID)."""
    CHECKSUM_NOT_READY = 16
    """The transport checksum is not filled in yet; the device will do so (TP_STATUS_CSUMNOTREADY)."""
    LOSING = 32
    """Packets were dropped before this one (TP_STATUS_LOSING)."""
    GSO = 64
    """A packet before segmentation offload: larger than the packets on the wire (TP_STATUS_GSO_TCP)."""
    TIME_CLAMPED = 128
    """The time in the file is before 1677-09-21 or after 2262-04-11: `timestamp` is the nearest time that 64
    bits hold. `PcapNgWriter` writes the time of the file, if the interface is as it was there."""
