"""`slimcap flows`, compared with `slimcap.flows` and with the packets of the files."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import slimcap
from slimcap.cli.main import main
from slimcap.flow import FlowEnd, FlowInitiator
from support.cli import bad_path, sample_path
from support.flow_files import packets_in_files
from support.tables import read_table

MIXED = sample_path("mixed.pcap")
LINE = re.compile(
    r"(?P<first>[-\d]{10} [:.\d]{18})  +(?P<duration>\d+\.\d{6}) s"
    r"  (?P<flow>\S+:\d+ => \S+:\d+ \(proto: \d+\))"
    r"  (?P<src_packets>[\d,]+)\+(?P<dst_packets>[\d,]+) packets"
    r"  (?P<src_bytes>[\d,]+)\+(?P<dst_bytes>[\d,]+) bytes"
    r"(  vlan (?P<vlan>\d+))?  (?P<end>[A-Z_]+)"
)


def lines(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> list[str]:
    assert main(["flows", *args]) == code
    return capsys.readouterr().out.splitlines()


def objects(capsys: pytest.CaptureFixture[str], *args: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(capsys, "--json", *args)]


def table(**options: object) -> np.ndarray:
    return slimcap.FlowBatch.concat(slimcap.flows(MIXED, **options)).records


def test_a_line_tells_endpoints_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, MIXED, "--port", "50010") == [
        "2024-03-01 12:00:00.060006000      0.060558 s  192.0.2.10:50010 => 198.51.100.80:80 (proto: 6)"
        "  8+8 packets  603+4,641 bytes  END_OF_FLOW"
    ]


def test_lines_have_all_records_and_all_packets(capsys: pytest.CaptureFixture[str]) -> None:
    found = [LINE.fullmatch(line) for line in lines(capsys, MIXED)]
    assert len(found) == len(table()) > 20
    assert all(found)
    sums = {
        name: sum(int(one[name].replace(",", "")) for one in found if one)
        for name in ("src_packets", "dst_packets", "src_bytes", "dst_bytes")
    }
    batch = slimcap.read(MIXED)
    with_ip = batch[batch.headers(["ip_version"])["ip_version"] != 0]
    assert sums["src_packets"] + sums["dst_packets"] == len(with_ip)
    assert sums["src_bytes"] + sums["dst_bytes"] == with_ip["total_len"].sum()
    assert {one["vlan"] for one in found if one} == {None, *map(str, np.unique(table()["vlan_id"])[1:])}


def test_flow_of_a_line_is_a_condition(capsys: pytest.CaptureFixture[str]) -> None:
    for line in lines(capsys, MIXED)[:5]:
        found = LINE.fullmatch(line)
        assert found
        assert lines(capsys, MIXED, "--flow", found["flow"])[0] == line


def test_objects_have_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    found, records = objects(capsys, MIXED), table()
    assert len(found) == len(records)
    assert set(found[0]) == {*(slimcap.FLOW_DTYPE.names or ()), "first_ns", "last_ns"}
    for one, record in zip(found, records, strict=True):
        assert (one["first_ns"], one["last_ns"]) == (record["first"], record["last"])
        assert np.datetime64(str(one["last"]).removesuffix("Z"), "ns").astype(int) == record["last"]
        assert int(str(one["flow_id"]), 16) == record["flow_id"]
        assert FlowEnd[str(one["end_reason"])] == record["end_reason"]
        assert FlowInitiator[str(one["initiator"])] == record["initiator"]
        assert one["src"] == slimcap.ip_to_str(record["src"])
        for name in ("src_port", "dst_packets", "src_ip_bytes", "src_tcp_flags", "vlan_id", "part"):
            assert one[name] == record[name]


@pytest.mark.parametrize("by", ["bytes", "packets"])
@pytest.mark.parametrize("count", [1, 4, 1000])
def test_top_is_the_largest_records(capsys: pytest.CaptureFixture[str], by: str, count: int) -> None:
    options = ("--window", "1", "--idle-timeout", "0.3")  # many batches of records
    sizes = [int(one[f"src_{by}"]) + int(one[f"dst_{by}"]) for one in objects(capsys, MIXED, *options)]
    found = objects(capsys, MIXED, *options, "--top", str(count), "--by", by)
    assert [int(one[f"src_{by}"]) + int(one[f"dst_{by}"]) for one in found] == sorted(sizes)[::-1][:count]


def test_options_are_those_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--idle-timeout", "0.2", "--active-timeout", "0.5", "--window", "1", "--max-flows", "4")
    wanted = table(idle_timeout=0.2, active_timeout=0.5, window=1, max_flows=4)
    found = objects(capsys, MIXED, *args)
    assert [one["end_reason"] for one in found] == [FlowEnd(number).name for number in wanted["end_reason"]]
    assert {"IDLE", "ACTIVE", "WINDOW", "LACK_OF_RESOURCES"} <= {str(one["end_reason"]) for one in found}


def test_files_are_merged_in_order_of_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    batch = slimcap.read(MIXED)
    names = [str(tmp_path / name) for name in ("even.pcap", "odd.pcap")]
    for number, name in enumerate(names):
        slimcap.write(batch[number::2], name)
    wanted = lines(capsys, MIXED)
    assert lines(capsys, *names) == wanted
    assert lines(capsys, str(tmp_path)) == wanted


def test_records_before_an_error_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = Path(MIXED).read_bytes()
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes(whole[:-5])
    shutil.copy(MIXED, tmp_path / "good.pcap")
    assert main(["flows", str(damaged)]) == 1
    output, errors = capsys.readouterr()
    assert "cut.pcap" in errors
    packets = sum(
        int(one["src_packets"].replace(",", "")) + int(one["dst_packets"].replace(",", ""))
        for one in map(LINE.fullmatch, output.splitlines())
        if one
    )
    assert packets > 150
    assert main(["flows", "--on-error", "warn", str(tmp_path)]) == 0
    output, errors = capsys.readouterr()
    assert "cut.pcap" in errors
    assert len(output.splitlines()) >= len(table())


def test_count_and_times_select_packets(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = objects(capsys, "-n", "1", MIXED, "--filter", "tcp")
    assert (one["src_packets"], one["dst_packets"]) == (1, 0)
    assert lines(capsys, MIXED, "--before", "2024-03-01 12:00:00") == []


# ---- tables


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_records_are_written_to_a_table(
    format: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / f"out.{format}"
    assert lines(capsys, MIXED, "--to", str(path)) == []
    assert list(map(int, read_table(path)["flow_id"].to_pylist())) == table()["flow_id"].tolist()
    lines(capsys, MIXED, "--to", str(path), "--columns", "dst, last", "--host", "192.0.2.10")
    assert read_table(path).column_names == ["dst", "last"]
    assert 0 < read_table(path).num_rows < len(table())


def test_addresses_of_a_table_can_be_binary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    lines(capsys, MIXED, "--to", str(path), "--addresses", "binary")
    assert read_table(path)["src"].to_pylist() == [bytes(one) for one in table()["src"]]


def test_each_window_has_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    template = str(tmp_path / "{time:%M%S}.parquet")
    lines(capsys, MIXED, "--to", template, "--window", "2s")
    assert sorted(os.listdir(tmp_path)) == ["0000.parquet", "0002.parquet", "0004.parquet"]
    batch = slimcap.read(MIXED)
    with_ip = batch[batch.headers(["ip_version"])["ip_version"] != 0]
    assert packets_in_files(tmp_path.iterdir()) == len(with_ip)
    assert main(["flows", MIXED, "--to", template, "--window", "2s"]) == 1
    assert "use {index} in the template" in capsys.readouterr().err


def test_a_damaged_file_gives_a_table_and_a_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["flows", bad_path("cut_record.pcap"), "--to", str(tmp_path / "out.parquet")]) == 1
    assert "cut_record.pcap" in capsys.readouterr().err
    assert packets_in_files([tmp_path / "out.parquet"]) == 1


def test_a_table_that_cannot_be_written_is_a_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("nowhere/out.parquet", "nowhere/{time}.parquet"):
        args = ["--on-error", "skip", "--window", "1"]
        assert main(["flows", MIXED, "--to", str(tmp_path / name), *args]) == 1
        assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--to", "out.pcap"], "--to: path must end in one of .parquet, .arrow, .csv"),
        (["--to", "{time}.parquet"], "names a file for each window: give --window"),
        (["--to", "out.parquet", "--columns", "sport"], "column 'sport'"),
        (["--to", "out.parquet", "--json"], "--to cannot be combined with --json or --top"),
        (["--to", MIXED], "would replace a file that is read"),
        (["--columns", "src"], "--columns requires --to"),
        (["--duration", "1m"], "--duration requires --live"),
        (["--promiscuous"], "--promiscuous requires --live"),
        (["--snaplen", "99"], "--snaplen requires --live"),
        (["--buffer", "2MiB"], "--buffer requires --live"),
        (["--latency", "0.1"], "--latency requires --live"),
        (["--live", "--after", "2024-03-01"], "--after is for capture files"),
        (["--live", "--concatenated"], "--concatenated is for capture files"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flows", MIXED, *args]) == 2
    assert error in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_missing_library_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["flows", MIXED, "--to", "out.parquet"]) == 1
    assert "pip install 'slimcap[parquet]'" in capsys.readouterr().err


def test_an_interface_that_does_not_exist_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flows", "--live", "nowhere0"]) == 1
    assert "nowhere0" in capsys.readouterr().err
    assert main(["flows", "--live", "lo", "nowhere1"]) == 1
    assert "no interface 'nowhere1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["--window", "0"],
        ["--window", "5x"],
        ["--idle-timeout", "x"],
        ["--max-flows", "0"],
        ["--top", "0"],
        ["--by", "size"],
        [],
    ],
)
def test_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert main(["flows", *args, *([MIXED] if args else [])]) == 2
    assert "usage: slimcap flows" in capsys.readouterr().err


FEATURES = ("lengths", "iat", "flags", "payload", "community_id")


def test_json_has_the_features(capsys: pytest.CaptureFixture[str]) -> None:
    found = objects(
        capsys, MIXED, "--features", "iat, flags,community_id", "--splt", "3", "--first-bytes", "4"
    )
    records = table(features=["iat", "flags", "community_id"], splt=3, first_bytes=4)
    assert [one["splt_len"] for one in found] == records["splt_len"].tolist()
    assert [one["dst_syn_packets"] for one in found] == records["dst_syn_packets"].tolist()
    assert [one["iat_std"] for one in found] == records["iat_std"].tolist()
    assert [one["community_id"] for one in found] == [
        text.decode() for text in records["community_id"].tolist()
    ]
    assert [one["src_first_bytes"] for one in found] == [
        bytes(row).hex() for row in records["src_first_bytes"]
    ]
    none = records["dst_packets"] == 0
    assert 0 < none.sum() < len(none)
    assert [one["dst_last_ns"] for one in found] == np.where(none, None, records["dst_last"]).tolist()
    assert [one["dst_last"] is None for one in found] == none.tolist()
    times = [f"{time}Z" for time in np.datetime_as_string(records["src_last"].view("M8[ns]")).tolist()]
    assert [one["src_last"] for one in found if one["src_packets"]] == [
        time for time, one in zip(times, found, strict=True) if one["src_packets"]
    ]


def test_tables_have_the_features(tmp_path: Path) -> None:
    file = tmp_path / "flows.parquet"
    assert main(["flows", MIXED, "--to", str(file), "--features", "all", "--splt", "2"]) == 0
    assert read_table(file).column_names == list(table(features=FEATURES, splt=2).dtype.names)


def test_flows_in_tunnels(capsys: pytest.CaptureFixture[str]) -> None:
    file = sample_path("tunnels.pcap")
    for options, more in (({}, []), ({"inner": True}, ["--inner"])):
        expected = slimcap.FlowBatch.concat(slimcap.flows(file, **options))
        found = [json.loads(line) for line in lines(capsys, "--json", file, *more)]
        assert [one["protocol"] for one in found] == expected["protocol"].tolist()
        assert [one["src"] for one in found] == slimcap.ip_to_str(expected["src"]).tolist()
    assert len(found) > 1
    other = ["--inner", "--tunnel-ports", "vxlan=9"]
    assert lines(capsys, file, *other) != lines(capsys, file, "--inner")


def test_json_has_the_addresses_of_tunnels(capsys: pytest.CaptureFixture[str]) -> None:
    file = sample_path("tunnels.pcap")
    found = [json.loads(line) for line in lines(capsys, "--json", file, "--inner", "--key", "tunnel")]
    flows = slimcap.FlowBatch.concat(slimcap.flows(file, inner=True, key=["tunnel"]))
    for name in ("outer_src", "outer_dst"):
        texts = slimcap.ip_to_str(flows[name]).tolist()
        assert [one[name] for one in found] == [None if text == "::" else text for text in texts]
        assert len({one[name] for one in found}) > 2
    assert [one["tunnel_id"] for one in found] == flows["tunnel_id"].tolist()


def test_flows_differ_in_the_parts_of_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    file = sample_path("interfaces.pcapng")
    counts = [len(lines(capsys, file, *key)) for key in ([], ["--key", "vlan,interface"], ["--key", ""])]
    expected = [
        len(slimcap.FlowBatch.concat(slimcap.flows(file, key=key)))
        for key in (None, ("vlan", "interface"), ())
    ]
    assert counts == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "iat"], "--features requires --to or --json: lines do not show it"),
        (["--first-bytes", "9"], "--first-bytes requires --to or --json: lines do not show it"),
        (["--json", "--features", "length"], "argument --features: must be lengths, iat, flags, payload"),
        (["--key", "tos"], "argument --key: must be vlan, interface, tunnel, not 'tos'"),
        (["--key", "tunnel"], "--key tunnel requires --inner"),
        (["--json", "--splt", "5000"], "argument --splt: '5000' is not an integer from 0 to 4096"),
    ],
)
def test_features_that_are_not_possible(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flows", MIXED, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_exists_is_explained_by_options_of_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = ["flows", MIXED, "--window", "1d", "--to", str(tmp_path / "{time:%Y}.csv")]
    assert main(args) == 0
    assert main(args) == 1
    error = capsys.readouterr().err
    assert error == (
        f"slimcap: {tmp_path}/2024.csv: File exists: use {{index}} in the template, or remove the file\n"
    )


def test_an_interface_without_live_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flows", "lo"]) == 2
    assert "lo is a network interface: capture from it with --live" in capsys.readouterr().err
    shutil.copy(MIXED, "lo")
    assert main(["flows", "lo"]) == 0
