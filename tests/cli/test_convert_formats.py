"""`slimcap convert`: formats and compression, as tcpdump, tshark and capinfos read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slimcap
from support.cli import NeedTool, RunConvert, facts_in
from support.peers import run_peer
from support.samples import GOOD

# Files that tcpdump 4.99 reads differently: it does not know one link type number of raw IP, truncates at the
# snaplen that the file states, shows a fraction of more than a second as it is, and refuses packets with more
# bytes than they had on the wire.
TCPDUMP_READS_OTHERWISE = {"raw14.pcap", "oversnap.pcap", "odd_times.pcap", "odd_lengths.pcap"}


@pytest.mark.parametrize("name", GOOD)
def test_every_sample_converts_to_pcapng(name: str, data_path: Path, convert: RunConvert) -> None:
    file = data_path / name
    out = convert(file, "out.pcapng")
    before, after = slimcap.read(file), slimcap.read(out)
    assert facts_in(out) == facts_in(file)
    for column in ("interface", "pkt_type", "flags", "ip_offset"):
        assert np.array_equal(after[column], before[column]), column
    assert [link.type for link in after.links] == [link.type for link in before.links]


@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith((".pcap", ".gz"))])
def test_every_sample_converts_to_pcap_as_tcpdump_reads_it(
    name: str, data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    out = convert(data_path / name, "out.pcap")
    assert facts_in(out) == facts_in(data_path / name)
    if name in TCPDUMP_READS_OTHERWISE or name.endswith(".gz"):
        return
    tcpdump = [need_tool("tcpdump"), "-nn", "-tt", "-xx", "--time-stamp-precision=nano", "-r"]
    found, wanted = (
        run_peer(*tcpdump, file, reads=[file]).stdout.decode() for file in (out, data_path / name)
    )
    assert found == wanted


@pytest.mark.parametrize("name", ["interfaces.pcapng", "sections.pcapng", "mixed_ns.pcapng", "simple.pcapng"])
def test_tshark_reads_the_same_from_both_files(
    name: str, data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    fields = "frame.encap_type frame.time_epoch frame.len frame.cap_len frame.protocols"
    if name != "sections.pcapng":  # tshark 4.0 gives interfaces of later sections the names of the first's
        fields += " frame.interface_name"
    tshark = [need_tool("tshark"), "-n", "-T", "fields"]
    for field in fields.split():
        tshark += ["-e", field]
    error = "left out 1 blocks" if name == "interfaces.pcapng" else ""  # of an interface that does not exist
    found, wanted = (
        run_peer(*tshark, "-r", file, reads=[file]).stdout.decode().splitlines()
        for file in (convert(data_path / name, "out.pcapng", error=error), data_path / name)
    )
    # Rows without a link type are custom blocks, which have no time. Simple packets have none, either.
    assert found == [
        line if line[0] == "\t" else line.replace("\t\t", "\t0.000000000\t", 1) for line in wanted
    ]
    assert len(found) > 3


def test_file_name_suffix_or_option_chooses_the_format(
    data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    formats = {
        convert(data_path / "mixed.pcap", out, *args): kind
        for out, args, kind in [
            ("a.pcap", [], "pcap"),
            ("a.pcapng", [], "pcapng"),
            ("a", [], "pcap"),
            ("b.pcap", ["--format", "pcapng"], "pcapng"),
            ("b.pcapng.gz", ["--format", "pcap"], "pcap"),
        ]
    }
    capinfos = run_peer(need_tool("capinfos"), "-t", "-T", "-r", *formats, reads=[*formats])
    rows = (line.split("\t") for line in capinfos.stdout.decode().splitlines())
    assert [kind.replace("nsecpcap", "pcap") for _, kind, *_ in rows] == [*formats.values()]


@pytest.mark.parametrize(
    ("kind", "suffix", "program"),
    [
        ("gzip", "gz", "gzip"),
        ("zstd", "zst", "zstd"),
        ("xz", "xz", "xz"),
        ("lz4", "lz4", "lz4"),
        ("bzip2", "bz2", "bzip2"),
    ],
)
def test_compression_by_suffix_or_option(
    kind: str, suffix: str, program: str, data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    plain = convert(data_path / "mixed.pcap", "plain.pcap").read_bytes()
    by_name = convert(data_path / "mixed.pcap", f"a.pcap.{suffix}")
    by_option = convert(data_path / "mixed.pcap", "a.pcap", "--compression", kind, "--level", 1)
    for file in (by_name, by_option):
        assert file.stat().st_size < len(plain)
        assert run_peer(need_tool(program), "-dc", stdin=file.read_bytes()).stdout == plain
    plain_again = convert(data_path / "mixed.pcap", f"b.pcap.{suffix}", "--compression", "none")
    assert plain_again.read_bytes() == plain
