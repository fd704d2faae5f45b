"""The sample captures are the bytes that their builders make, and README.md describes them correctly."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import make_samples
import slimcap

ALL = make_samples.SAMPLES | make_samples.PCAPNG
ROW = re.compile(
    r"^\| (?P<name>\S+\.pcap(?:ng|\.gz)?) \| .* \| (?P<packets>\d+) \| (?P<ip4>\d+) \| (?P<ip6>\d+) \|$", re.M
)
BAD_ROW = re.compile(
    r"^\| (?P<name>\S+\.pcap(?:\.gz)?) \| [^|]* \| (?P<packets>\d+)(?P<error>, error)? \|$", re.M
)


@pytest.fixture
def readme(data_path):
    return (data_path / "README.md").read_text()


@pytest.mark.parametrize("name", ALL)
def test_file_has_the_bytes_that_its_builder_makes(name, data_path):
    shipped, made = (data_path / name).read_bytes(), ALL[name]()
    if name.endswith(".gz"):  # their compression depends on the version of zlib
        shipped, made = make_samples.inflated(shipped), make_samples.inflated(made)
        assert made
    assert shipped == made


def test_building_twice_makes_the_same_bytes():
    assert make_samples.SAMPLES["mixed.pcap"]() == make_samples.SAMPLES["mixed.pcap"]()


def test_data_folder_holds_the_built_samples_only(data_path):
    shipped = {str(path.relative_to(data_path)) for path in data_path.rglob("*.pcap*")}
    assert shipped == set(ALL)


def test_script_writes_all_samples(tmp_path):
    subprocess.run([sys.executable, make_samples.__file__, tmp_path], timeout=60, check=True)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pcap*")}
    assert written == set(ALL)


def test_readme_counts_the_packets(readme, data_path):
    rows = list(ROW.finditer(readme))
    assert {row["name"] for row in rows} == {n for n in ALL if not n.startswith("bad/")}
    for row in rows:
        batch = slimcap.read(data_path / row["name"])
        versions = [
            batch.ip_layer(i).type for i in range(len(batch)) if batch["ip_offset"][i] != slimcap.NO_IP
        ]
        found = len(batch), versions.count(4), versions.count(6)
        assert found == (int(row["packets"]), int(row["ip4"]), int(row["ip6"])), row["name"]


def test_readme_counts_the_packets_before_an_error(readme, data_path, drain):
    rows = list(BAD_ROW.finditer(readme))
    assert {f"bad/{row['name']}" for row in rows} == {n for n in make_samples.SAMPLES if n.startswith("bad/")}
    for row in rows:
        try:
            with slimcap.PcapSource(data_path / "bad" / row["name"]) as source:
                drained = drain(source)
            count, failed = len(drained.payloads), drained.error is not None
        except slimcap.FileFormatError:
            count, failed = 0, True
        assert (count, failed) == (int(row["packets"]), row["error"] is not None), row["name"]
