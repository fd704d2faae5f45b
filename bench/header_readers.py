"""One way to header columns over one file, in a process of its own: `header_readers.py NAME FILE PACKETS`.

What is timed is that of readers.py. Each makes source, destination, protocol and ports of every packet, and
returns the sum of the source ports.
"""

import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
from common import find_program
from readers import Reader, run

PCAPY_DTYPE = np.dtype([("src", "V4"), ("dst", "V4"), ("protocol", "u1"), ("ports", ">u2", 2)])
FIVE = ("src", "dst", "protocol", "src_port", "dst_port")


def slimcap_columns(columns: Sequence[str] | None) -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        with slimcap.open_file(path) as source:
            for batch in source.batches():
                rows = batch.headers(columns)
                total += int(rows["src_port"].sum(dtype=np.uint64))
        return total

    return read


def dpkt_reader() -> Reader:
    dpkt = import_module("dpkt")

    def read(path: str, packets: int) -> int:
        rows = []
        with Path(path).open("rb") as file:
            for _, data in islice(dpkt.pcap.Reader(file), packets):
                ip = dpkt.ethernet.Ethernet(data).data
                rows.append((ip.src, ip.dst, ip.p, ip.data.sport, ip.data.dport))
        return sum(row[3] for row in rows)

    return read


def scapy_reader() -> Reader:
    scapy = import_module("scapy.all")

    def read(path: str, packets: int) -> int:
        rows = []
        with scapy.PcapReader(path) as reader:
            for packet in islice(reader, packets):
                ip, upper = packet[scapy.IP], packet[scapy.UDP]
                rows.append(
                    (socket.inet_aton(ip.src), socket.inet_aton(ip.dst), ip.proto, upper.sport, upper.dport)
                )
        return sum(row[3] for row in rows)

    return read


def tshark_reader() -> Reader:
    program = find_program("tshark")

    def read(path: str, packets: int) -> int:
        fields = ("ip.src", "ip.dst", "ip.proto", "udp.srcport", "udp.dstport")
        command = [program, "-n", "-r", path, "-c", str(packets), "-T", "fields"]
        command += [word for field in fields for word in ("-e", field)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return sum(int(line.split("\t")[3]) for line in done.stdout.splitlines())

    return read


def pcapy_next_batch() -> Reader:
    """numpy on what the only other batches give: offsets, and 42 bytes of each packet gathered from there."""
    pcapy = import_module("pcapy")

    def read(path: str, _packets: int) -> int:
        total = 0
        reader = pcapy.open_offline(path)
        while True:
            data, meta = reader.next_batch(8192)
            if not meta:
                return total
            offsets = np.frombuffer(meta, np.uint32)[2::4].astype(np.int64)
            heads = np.frombuffer(data, np.uint8)[offsets[:, np.newaxis] + np.arange(42)]
            rows = np.empty(len(heads), PCAPY_DTYPE)
            rows["src"] = heads[:, 26:30].copy().view("V4")[:, 0]
            rows["dst"] = heads[:, 30:34].copy().view("V4")[:, 0]
            rows["protocol"] = heads[:, 23]
            rows["ports"] = heads[:, 34:38].copy().view(">u2")
            total += int(rows["ports"][:, 0].sum(dtype=np.uint64))

    return read


READERS = {
    "slimcap 5-tuple": lambda: slimcap_columns(FIVE),
    "slimcap all columns": lambda: slimcap_columns(None),
    "slimcap flow hash": lambda: slimcap_columns(["src_port", "flow_hash_symmetric"]),
    "slimcap Community ID": lambda: slimcap_columns(["src_port", "community_id"]),
    "pcapy-ng next_batch": pcapy_next_batch,
    "dpkt": dpkt_reader,
    "scapy": scapy_reader,
    "tshark -T fields": tshark_reader,
}

if __name__ == "__main__":
    run(READERS, sys.argv[1], sys.argv[2], int(sys.argv[3]))
