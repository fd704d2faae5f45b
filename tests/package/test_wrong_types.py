"""Arguments of a wrong type: every public function names the argument and says what it accepts."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import slimcap
from slimcap.filter import DROP, Machine, minimal_ipv4_header
from slimcap.mock import MockRingSource, build_packet
from support.declarations import all_named

ALL = all_named()
MIXED = Path(__file__).parents[1] / "data" / "mixed.pcap"


class Wrong:
    """The type of an argument that no function accepts."""


pytestmark = pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")


class Fresh(NamedTuple):
    """A valid argument that is made for each call."""

    make: Callable[[], Any]


BATCH = Fresh(lambda: slimcap.read(MIXED)[:1])
PACKET = build_packet("::1", "::2")
SOURCE = Fresh(lambda: slimcap.open_file(MIXED))
READING = {"timeout": 1.0}
LIVE = {
    "link": "mock",
    "snaplen": 96,
    "filter": None,
    "extra_filter": None,
    "netns": None,
    "direction": "both",
    "timeout": None,
    "link_down": "wait",
}
MOCK = LIVE | {"when_full": "wait"}
WRITING = {
    "file": Fresh(io.BytesIO),
    "link_type": 1,
    "snaplen": 96,
    "compression": None,
    "level": None,
    "fcs_len": None,
}
ROTATION = dict.fromkeys(("max_bytes", "max_seconds", "max_packets", "max_files", "on_file"))
ROTATING = dict.fromkeys(("on_begin", "on_end")) | {"first_index": 0, "reserved": ()}
DESCRIPTION = dict.fromkeys(("snaplen", "comment", "filter", "hardware", "os"))
COUNTERS = dict.fromkeys(
    ("received", "dropped", "interface_dropped", "filter_accepted", "start", "end", "at")
)
SECTION = {"comment": None, "hardware": None, "os": None, "application": None, "section": None}
BUILDING = {
    "src": "192.0.2.1",
    "dst": "192.0.2.2",
    "src_port": 1,
    "dst_port": 2,
    "protocol": 17,
    "payload": b"",
    "pkt_type": 0,
    "total_len": 60,
}
OF_FILES = {
    "file": MIXED,
    "snaplen": 96,
    "filter": None,
    "where": {"port": 53},
    "block_size": 1 << 20,
    "timeout": None,
    "on_error": "raise",
}

# Valid arguments of each function. Each of them is replaced by a `Wrong()` in turn.
FUNCTIONS: dict[str, dict[str, Any]] = {
    "ArrowColumns": {
        "array": np.zeros(1, slimcap.RECORD_DTYPE),
        "columns": None,
        "text": (),
        "optional": None,
    },
    "ArrowStream": {
        "batches": (),
        "columns": None,
        "payload": True,
        "addresses": "text",
        "tunnel_ports": None,
    },
    "Batch": {
        "records": np.zeros(1, slimcap.RECORD_DTYPE),
        "data": b"",
        "links": (),
        "interfaces": None,
        "comments": None,
    },
    "Batch.filter": {"filter": DROP, "where": {"port": 53}},
    "Batch.gather": {"n": 4, "at": "link"},
    "Batch.headers": {"columns": ["src"], "tunnel_ports": None},
    "Batch.ip_layer": {"index": 0},
    "Batch.payload": {"index": 0},
    "Batch.to_arrow": {"columns": ["src"], "payload": True, "addresses": "text", "tunnel_ports": None},
    "Batch.to_pandas": {"columns": ["src"], "payload": True, "addresses": "text", "tunnel_ports": None},
    "Batch.to_polars": {"columns": ["src"], "payload": True, "addresses": "text", "tunnel_ports": None},
    "Batch.with_blocks": {"blocks": ()},
    "Batch.with_comments": {"comments": {}},
    "FlowBatch": {"records": np.zeros(1, slimcap.FLOW_DTYPE)},
    "FlowBatch.concat": {"batches": ()},
    "FlowBatch.to_arrow": {"columns": ["src"], "addresses": "text", "names": "slimcap"},
    "FlowBatch.to_pandas": {"columns": ["src"], "addresses": "text", "names": "slimcap"},
    "FlowBatch.to_polars": {"columns": ["src"], "addresses": "text", "names": "slimcap"},
    "FlowTable": {
        "idle_timeout": 1,
        "active_timeout": 1,
        "window": 1,
        "max_flows": 1,
        "key": (),
        "features": (),
        "splt": 0,
        "first_bytes": 0,
        "tunnel_ports": None,
    },
    "FlowTable.expire": {"now": 0},
    "FlowTable.flush": {"limit": 1},
    "FlowTable.update": {"batch": BATCH},
    "Link": {"name": "eth0", "index": 0, "type": 1, "arphrd": None, "description": "", "netns": None},
    "Link.addresses_of": {"links": ()},
    "LinkType.of": {"number": 1},
    "Machine": {"program": DROP},
    "Machine.run": {
        "data": bytes(60),
        "wire_len": None,
        "pkt_type": 0,
        "protocol": 0,
        "ifindex": 0,
        "hatype": 1,
    }
    | {"vlan_tci": 7, "vlan_tpid": 0x8100, "network": 14},
    "LiveSource.set_filter": {"filter": "ip"},
    "MockRingSource": MOCK
    | {"buffer": "1MiB", "latency": 0.01, "ring_exhausted": "wait"}
    | dict.fromkeys(("block_size", "num_blocks", "block_timeout")),
    "MockSocketSource": MOCK | {"buffer_size": 1 << 20, "batch_size": 64},
    "Packet": {"payload": bytes(60)},
    "Packet.from_go_bytes": {"data": bytes(60)},
    "Packet.from_payload": {"payload": b"x", "pkt_type": 0, "total_len": 1, "ip_layer_offset": 0}
    | {"timestamp": 0, "buf": None},
    "PcapNgWriter": WRITING | SECTION,
    "PcapNgWriter.add_interface": DESCRIPTION | {"interface": slimcap.Link("eth0", 1, 1)},
    "PcapNgWriter.write_batch": {"batch": BATCH},
    "PcapNgWriter.write_packet": {"packet": PACKET, "interface": 0, "comment": None},
    "PcapNgWriter.write_statistics": COUNTERS | {"interface": 0},
    "PcapSource": OF_FILES | {"name": None},
    "PcapWriter": WRITING,
    "PcapWriter.write_batch": {"batch": BATCH},
    "PcapWriter.write_packet": {"packet": PACKET},
    "RotatingWriter": {"template": "x.pcap", "format": None, "link_type": 1, "snaplen": 96}
    | {"compression": None, "level": None, "fcs_len": None}
    | SECTION
    | ROTATION
    | ROTATING,
    "Source.anext_batch": READING | {"max_packets": 1},
    "Source.batches": READING | {"max_packets": 1},
    "Source.next_batch": READING | {"max_packets": 1},
    "Source.next_ip_packet": READING | {"buf": None},
    "Source.next_packet": READING | {"buf": None},
    "Source.next_packet_fn": READING | {"fn": lambda *_: None},
    "Source.next_payload": READING | {"buf": None},
    "View.hex": {"sep": ":"},
    "Writer.write_statistics": COUNTERS,
    "ZeroCopySource.next_ip_packet_zero_copy": READING,
    "ZeroCopySource.next_payload_zero_copy": READING,
    "_Mock.add_batch": {"batch": BATCH, "timeout": None},
    "_Mock.add_packet": {"packet": PACKET, "timeout": None},
    "_Mock.add_packet_from": {"source": SOURCE, "timeout": None},
    "_Mock.drop": {"count": 1},
    "_Mock.on_packet_added": {"fn": None},
    "_Mock.pipe": {"source": SOURCE, "speed": 1.0, "rate": None},
    "_Mock.set_link": {"state": "up"},
    "accept": {"snaplen": 64},
    "build_go_packet": BUILDING,
    "build_packet": BUILDING
    | {"timestamp": 0, "vlan": 1, "tcp_flags": 2, "src_mac": "02:00:00:00:00:01"}
    | {"dst_mac": "02:00:00:00:00:02"},
    "build_program": {"link_type": 1, "filter": "ip", "snaplen": 64, "direction": "both", "interface": None}
    | {"auto_filter": True, "ignore_vlans": False, "extra_filter": None},
    "check": {"program": DROP},
    "compile_expression": {"expression": "ip", "link_type": 1, "snaplen": 64, "live_interface": None},
    "concat": {"batches": ()},
    "fixed": {"snaplen": 64},
    "in_network": {"column": np.zeros(1, "V16"), "network": "10.0.0.0/8"},
    "ip_from_str": {"texts": ["10.0.0.1"]},
    "HostSet": {"hosts": (), "side": "either"},
    "HostSet.program": {"link_type": 1, "snaplen": 64},
    "hosts": {"hosts": (), "side": "either"},
    "HeaderFilter": {"host": "192.0.2.1", "net": "192.0.2.0/24", "port": 53, "protocol": 17, "vlan": 1}
    | {"flow": ("::1", 1, "::2", 2, 6), "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "tunnel_ports": {}},
    "ip_only": {"link_type": 1, "snaplen": 64},
    "ip_to_str": {"column": np.zeros(1, "V16")},
    "links": {"names": None, "netns": None},
    "minimal_ipv4_header": {"link_type": 1},
    "minimal_ipv4_transport": {"link_type": 1},
    "minimal_ipv6_header": {"link_type": 1},
    "minimal_ipv6_transport": {"link_type": 1},
    "open_file": OF_FILES | {"name": None},
    "open_writer": WRITING | SECTION | {"format": "pcapng"},
    "pack": {"program": DROP},
    "read": OF_FILES,
    "resolve": {"snaplen": minimal_ipv4_header, "link_type": 1},
    "with_direction": {"program": DROP, "direction": "in"},
    "with_snaplen": {"program": DROP, "snaplen": 64},
    "write": {"packets": BATCH, "file": Fresh(io.BytesIO), "format": "pcapng", "compression": None}
    | {"level": None, "snaplen": None, "columns": None, "payload": None, "addresses": None}
    | {"tunnel_ports": None}
    | ROTATION,
    "without_vlans": {"program": DROP, "link_type": 1},
}

# Arguments that are used for their truth value, so that everything is accepted.
FLAGS = {
    *("atomic", "auto_filter", "concatenated", "drain", "file_names", "follow", "ignore_vlans", "inner"),
    *("loops", "named", "overwrite", "promiscuous", "reinsert_vlan", "restamp", "skip_existing"),
    *("background", "keep_partial", "number_existing"),
    *("smaller_ring", "swapped"),
}
OTHERS = {
    "Writer.write_statistics": {"interface"},  # ignored
    "write": {"progress"},  # only called
    "View.hex": {"bytes_per_sep"},  # checked by `bytes.hex`
}
# The message names these by another word.
WORDS = {
    "column": "addresses",
    "texts": "addresses",
    "interface": "interface|live_interface",
    "data": "data|bytes-like",
    "payload": "payload|bytes-like",
}


UNTRIED = {
    # They require privileges; the mocks run the same checks.
    *("RingSource", "SocketSource", "open_live", "FanoutSource", "InterfacesSource"),
    "Writer.add_interface",  # ignores the interface; the rest is that of PcapNgWriter
    "RingGroup.set_filter",  # that of its rings
    *("ReadTask.batches", "ReadTask.open", "ReadTask.read", "open_files", "plan"),
    # A flag, and what only `pipe()` and `threading` see.
    *("Replay", "Replay.wait", "_Mock.run"),
}


def named_values() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions with parameters; those of slimcap.sink are tried by choice."""
    for name, one in ALL.items():
        parameters = set(inspect.signature(one.value).parameters) - {"self", "cls"}
        if parameters and not one.value.__module__.startswith("slimcap.sink."):
            yield name, one.value


def is_plain(value: object) -> bool:
    """Return True for a class that only stores what it is given."""
    return inspect.isclass(value) and (
        issubclass(value, (tuple, Enum, Exception)) or value is slimcap.ReadTask
    )


def bound(name: str) -> Callable[..., Any]:
    """Return a function, or a method of a new object."""
    makers: dict[str, Callable[[], Any]] = {
        "Batch": lambda: slimcap.read(MIXED),
        "FlowBatch": lambda: slimcap.FlowBatch(np.zeros(1, slimcap.FLOW_DTYPE)),
        "FlowTable": slimcap.FlowTable,
        "HostSet": lambda: slimcap.filter.hosts([]),
        "Link": lambda: slimcap.Link,
        "LinkType": lambda: slimcap.LinkType,
        "LiveSource": MockRingSource,
        "Machine": lambda: Machine(DROP),
        "Packet": lambda: slimcap.Packet,
        "PcapNgWriter": lambda: slimcap.PcapNgWriter(io.BytesIO()),
        "PcapWriter": lambda: slimcap.PcapWriter(io.BytesIO()),
        "Source": lambda: slimcap.open_file(MIXED),
        "View": lambda: slimcap.read(MIXED).payload(0),
        "ZeroCopySource": lambda: slimcap.open_file(MIXED),
        "Writer": lambda: slimcap.PcapWriter(io.BytesIO()),
        "_Mock": lambda: MockRingSource(auto_filter=False),
    }
    owner, _, method = name.rpartition(".")
    function: Callable[..., Any] = getattr(makers[owner](), method) if owner else ALL[name].value
    return function


def call(name: str, /, **arguments: Any) -> None:
    given = {key: value.make() if isinstance(value, Fresh) else value for key, value in arguments.items()}
    result = bound(name)(**given)
    if inspect.iscoroutine(result):
        result.close()  # checks its arguments before it is awaited


def is_clear(message: str, argument: str, is_only_one: bool) -> bool:
    """Return True if a message names the argument, or at least the wrong type of the only argument."""
    named = re.search(rf"\b({WORDS.get(argument, argument)})\b", message) is not None
    return named or (is_only_one and "Wrong" in message)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_argument_of_a_wrong_type_is_named(name: str) -> None:
    valid = FUNCTIONS[name]
    call(name, **valid)
    for argument in valid.keys() - FLAGS:
        with pytest.raises((TypeError, ValueError)) as caught:
            call(name, **valid | {argument: Wrong()})
        assert is_clear(str(caught.value), argument, len(valid) == 1), f"{argument}: {caught.value}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_tried(name: str) -> None:
    parameters = set(inspect.signature(ALL[name].value).parameters) - {"self", "cls"}
    assert parameters - FLAGS - OTHERS.get(name, set()) == set(FUNCTIONS[name]) - FLAGS


def test_every_public_function_is_tried() -> None:
    checking = {name for name, value in named_values() if not is_plain(value)}
    assert len(checking) > 60
    assert sorted(checking - set(FUNCTIONS) - UNTRIED) == []


# ---- what is accepted


@pytest.mark.parametrize("read", [slimcap.read, slimcap.open_file, slimcap.PcapSource])
def test_the_bytes_of_a_capture_are_no_path(read: Callable[..., Any]) -> None:
    data = MIXED.read_bytes()
    for given in (data, bytearray(data), memoryview(data)):
        with pytest.raises((TypeError, ValueError), match=r"file must be a path.* io\.BytesIO"):
            read(given)


@pytest.mark.parametrize("filter", [5, b"ip", 1.5, object()])
def test_a_filter_is_an_expression_or_a_program(filter: Any) -> None:
    accepted = r"filter must be an expression \(str\) or a sequence of instructions"
    for reading in (slimcap.read, slimcap.open_file):
        with pytest.raises(TypeError, match=accepted):
            reading(MIXED, filter=filter)
    with pytest.raises(TypeError, match=accepted):
        slimcap.read(MIXED).filter(filter)
    with pytest.raises(TypeError, match=accepted):
        MockRingSource(filter=filter)


def test_read_does_not_follow_files() -> None:
    with pytest.raises(TypeError, match="follow"):
        slimcap.read(MIXED, follow=True)  # type: ignore[call-arg]


def test_a_header_column_of_a_batch_is_pointed_to_headers() -> None:
    batch = slimcap.read(MIXED)
    with pytest.raises(ValueError, match=r"src is a header column: use batch\.headers\(\['src'\]\)\['src'\]"):
        batch["src"]
    with pytest.raises(
        ValueError,
        match=r"unknown column 'source', did you mean 'src'\?: a batch has timestamp, .*headers\(\)",
    ):
        batch["source"]


@pytest.mark.parametrize("link", [5, None, "eth0", ("eth0", 1)])
def test_links_of_a_batch_are_links(link: Any) -> None:
    with pytest.raises(TypeError, match="each of links must be a Link"):
        slimcap.Batch([], b"", [link])
