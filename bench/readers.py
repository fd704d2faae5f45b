"""One reader over one file, in a process of its own: `readers.py NAME FILE PACKETS` prints JSON.

Of its own because several bindings of libpcap in one process crash. What is timed is from opening the file
to its end, without starting Python and importing. A reader is called with the path and the number of packets
to read, and returns the sum of their lengths, or None if it only calls.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import islice, repeat
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from common import Unavailable, skip

Reader = Callable[[str, int], int | None]


def slimcap_batches() -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        with slimcap.open_file(path) as source:
            for batch in source.batches():
                total += int(batch["total_len"].sum())
        return total

    return read


def slimcap_total_bytes() -> Reader:
    """Without numpy: the sum that slimcap makes while it decodes."""
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        with slimcap.open_file(path) as source:
            for batch in source.batches():
                total += batch.total_bytes
        return total

    return read


def slimcap_mask() -> Reader:
    """Select rows by a mask, all of them."""
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        with slimcap.open_file(path) as source:
            for batch in source.batches():
                total += batch[batch["total_len"] > 0].total_bytes
        return total

    return read


def slimcap_iterate() -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> None:
        with slimcap.open_file(path) as source:
            for _packet in source:
                pass

    return read


def slimcap_iterate_sum() -> Reader:
    slimcap = import_module("slimcap")

    def read(path: str, _packets: int) -> int:
        total = 0
        with slimcap.open_file(path) as source:
            for packet in source:
                total += packet.total_len
        return total

    return read


def slimcap_call(method: str) -> Reader:
    """`source.method()` a packet, to the end of the file."""
    slimcap = import_module("slimcap")

    def read(path: str, packets: int) -> None:
        with slimcap.open_file(path) as source:
            call = getattr(source, method)
            for _ in repeat(None, packets):
                call()
            _at_end(source)

    return read


def slimcap_call_with(method: str, argument: Callable[[Any], object], *, whole: bool = True) -> Reader:
    """`source.method(argument)` a packet, the argument being made once."""
    slimcap = import_module("slimcap")

    def read(path: str, packets: int) -> None:
        with slimcap.open_file(path) as source:
            call = getattr(source, method)
            given = argument(source)
            for _ in repeat(None, packets):
                call(given)
            if whole:
                _at_end(source)

    return read


def _at_end(source: Any) -> None:
    try:
        source.next_payload_zero_copy()
    except EOFError:
        return
    raise AssertionError("packets are left: the calls did not read one each")


def _new_packet(source: Any) -> object:
    return source.new_packet()


def _bytearray(_source: Any) -> object:
    return bytearray(2048)


def _callback(_source: Any) -> object:
    def take(payload: object, total_len: int, pkt_type: int, ip_layer_offset: int) -> None:
        pass

    return take


def _one(_source: Any) -> object:
    return 1


def dpkt_reader() -> Reader:
    pcap = import_module("dpkt.pcap")

    def read(path: str, packets: int) -> int:
        with Path(path).open("rb") as file:
            return _sum_lengths(data for _, data in islice(pcap.Reader(file), packets))

    return read


def scapy_raw() -> Reader:
    utils = import_module("scapy.utils")

    def read(path: str, packets: int) -> int:
        with utils.RawPcapReader(path) as reader:
            return _sum_lengths(data for data, _ in islice(reader, packets))

    return read


def _sum_lengths(payloads: Iterable[bytes]) -> int:
    total = 0
    for payload in payloads:
        total += len(payload)
    return total


def pcapy_next_batch() -> Reader:
    pcapy = import_module("pcapy")

    def read(path: str, _packets: int) -> int:
        total = 0
        reader = pcapy.open_offline(path)
        while meta := reader.next_batch(8192)[1]:  # seconds, microseconds, offset, captured length
            total += int(np.frombuffer(meta, np.uint32)[3::4].sum())
        return total

    return read


def pcapy_next() -> Reader:
    pcapy = import_module("pcapy")

    def read(path: str, packets: int) -> int:
        total = 0
        call = pcapy.open_offline(path).next
        for _ in repeat(None, packets):
            header, _payload = call()
            total += header.getlen()
        return total

    return read


def empty_method() -> Reader:
    call = import_module("empty").Empty().call

    def read(_path: str, packets: int) -> None:
        for _ in repeat(None, packets):
            call()

    return read


def empty_iterator() -> Reader:
    empty = import_module("empty")

    def read(_path: str, packets: int) -> None:
        for _packet in empty.EmptyIterator(packets):
            pass

    return read


READERS: dict[str, Callable[[], Reader]] = {
    "slimcap batches": slimcap_batches,
    "slimcap total_bytes": slimcap_total_bytes,
    "slimcap batch[mask]": slimcap_mask,
    "slimcap for packet, sum": slimcap_iterate_sum,
    "pcapy-ng next_batch": pcapy_next_batch,
    "pcapy-ng next": pcapy_next,
    "scapy RawPcapReader": scapy_raw,
    "dpkt": dpkt_reader,
    "empty method": empty_method,
    "empty __next__": empty_iterator,
    "for packet in source": slimcap_iterate,
    "next_packet(buf)": lambda: slimcap_call_with("next_packet", _new_packet),
    "next_packet()": lambda: slimcap_call("next_packet"),
    "next_payload(buf)": lambda: slimcap_call_with("next_payload", _bytearray),
    "next_payload()": lambda: slimcap_call("next_payload"),
    "next_ip_packet(buf)": lambda: slimcap_call_with("next_ip_packet", _bytearray),
    "next_ip_packet()": lambda: slimcap_call("next_ip_packet"),
    "next_packet_fn": lambda: slimcap_call_with("next_packet_fn", _callback),
    "next_payload_zero_copy": lambda: slimcap_call("next_payload_zero_copy"),
    "next_ip_packet_zero_copy": lambda: slimcap_call("next_ip_packet_zero_copy"),
    "next_batch(1)": lambda: slimcap_call_with("next_batch", _one, whole=False),
}


def peak_rss() -> int:
    """Peak memory of this process, in bytes; ru_maxrss would count what the parent had before exec, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def run(readers: Mapping[str, Callable[[], Reader]], name: str, path: str, packets: int) -> None:
    """Run one of the readers, and print what it took."""
    try:
        read = readers[name]()
    except (ModuleNotFoundError, Unavailable) as reason:
        skip(reason)
    before = peak_rss()
    start, cpu = perf_counter(), process_time()
    total = read(path, packets)
    seconds, cpu = perf_counter() - start, process_time() - cpu
    result = {"packets": packets, "sum": total, "seconds": seconds, "cpu": cpu}
    print(json.dumps(result | {"rss_before": before, "rss_peak": peak_rss()}))


if __name__ == "__main__":
    run(READERS, sys.argv[1], sys.argv[2], int(sys.argv[3]))
