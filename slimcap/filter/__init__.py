"""Filters: which packets the kernel passes to a capture and how many bytes of each; which ones match."""

from slimcap.filter.compile import Filter, build_program
from slimcap.filter.header_filter import HeaderFilter
from slimcap.filter.host_set import HostSet, hosts
from slimcap.filter.libpcap import compile_expression
from slimcap.filter.presets import Direction, ip_only, with_direction, without_vlans
from slimcap.filter.program import DROP, Instruction, Program, accept, check, pack, with_snaplen
from slimcap.filter.snaplen import (
    Strategy,
    fixed,
    minimal_ipv4_header,
    minimal_ipv4_transport,
    minimal_ipv6_header,
    minimal_ipv6_transport,
    resolve,
)
from slimcap.filter.vm import Machine

__all__ = [
    "DROP",
    "Direction",
    "Filter",
    "HeaderFilter",
    "HostSet",
    "Instruction",
    "Machine",
    "Program",
    "Strategy",
    "accept",
    "build_program",
    "check",
    "compile_expression",
    "fixed",
    "hosts",
    "ip_only",
    "minimal_ipv4_header",
    "minimal_ipv4_transport",
    "minimal_ipv6_header",
    "minimal_ipv6_transport",
    "pack",
    "resolve",
    "with_direction",
    "with_snaplen",
    "without_vlans",
]
