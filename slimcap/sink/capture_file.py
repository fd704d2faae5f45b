"""`CaptureFile`: packets of a source, and what the source knows about them, as a capture file."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from slimcap.capfile.decoder import max_cap_len
from slimcap.capfile.pcapng_writer import PcapNgWriter, beyond_snaplen, latest_time
from slimcap.capfile.write_options import ALL_BYTES
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.io.atomic_file import Finished
from slimcap.io.owner import Owner
from slimcap.packet.batch import count_options
from slimcap.packet.enums import LinkType
from slimcap.packet.interface import BlockType, OtherBlock, Statistics
from slimcap.packet.link import Link
from slimcap.sink.open_writer import Format, open_writer, writer_class
from slimcap.sink.rotate import RotatingWriter
from slimcap.sink.rotation_options import RotationOptions
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.file.several import FilesSource
from slimcap.source.live.group.interfaces_source import InterfacesSource
from slimcap.source.live.group.ring_group import RingGroup
from slimcap.source.live.live_source import LiveSource

if TYPE_CHECKING:
    from slimcap.capfile.pcap_writer import PcapWriter
    from slimcap.capfile.writer import Writer
    from slimcap.io.target import Target
    from slimcap.packet.batch import Batch
    from slimcap.packet.interface import InterfaceInfo
    from slimcap.source.base import Source

    _Writer: TypeAlias = PcapWriter | PcapNgWriter | RotatingWriter

_MAX_COUNTER: Final = (1 << 64) - 1
_FCS_LENGTH: Final = 13  # code of if_fcslen (draft-ietf-opsawg-pcapng, section 4.2)
_MAX_FCS: Final = 30  # a pcap header has 4 bits for the length in units of 2 bytes
_SECTION_TEXTS: Final = ("comment", "hardware", "os", "application")
_BLOCK_NAMES: Final[dict[int, str]] = {
    BlockType.NAMES: "name resolution blocks",
    BlockType.JOURNAL: "journal entries",
    BlockType.SECRETS: "decryption secrets",
    BlockType.CUSTOM: "custom blocks",
}

CaptureFiles: TypeAlias = PcapSource | FilesSource
"""Sources that read capture files."""


class CaptureFile(Finished):
    """A pcap or pcapng file, or several, to which batches are written with what belongs to them.

    A pcapng file gets what the source has: the options of the section, of the interfaces, also those without
    packets, and of packets, the packet counters, and all other blocks in their place. pcap has no place for
    them: `lost` counts what was left out. `left_out` counts what pcapng could not keep either.

    Writes are atomic, except to standard output, FIFOs and file objects, or without `atomic`. As a context
    manager the file is closed on success, and discarded after an exception; complete files of a rotation
    stay.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        As for `open_writer`; with `rotation` a template as for `RotatingWriter`.
    source : Source, optional
        Source of the batches, for what it knows beyond them: the section's texts and the last counters.
        Default: only what the batches tell.
    link : Link, optional
        First interface, whose link type is that of a pcap file. Default: that of the source, or Ethernet.
    format : {"pcap", "pcapng"}, optional
        As for `open_writer`.
    snaplen : int, optional
        Maximum number of bytes to write of a packet. Default: all; in pcap as many as programs read.
    compression : str or None, default "infer"
        As for `open_writer`.
    level : int, optional
        As for `open_writer`.
    rotation : dict, optional
        Those of `RotationOptions`, or of `RotatingOptions`. Default: one file. Each pcapng file of a live
        source ends with the counters of all interfaces: the packets since the end of the file before.
    atomic : bool, default True
        False: write to a single file directly, so that its packets can be read while it is written.

    Raises
    ------
    OSError, ValueError, ImportError
        As for `open_writer` and `RotatingWriter`.
    """

    def __init__(
        self,
        file: Target,
        source: Source | None = None,
        *,
        link: Link | None = None,
        format: Format | None = None,
        snaplen: int | None = None,
        compression: Any = "infer",
        level: int | None = None,
        rotation: RotationOptions | None = None,
        atomic: bool = True,
    ) -> None:
        self.lost: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._owner = Owner()
        self._source = source
        self._link = source.link if link is None and source is not None else link
        self._is_pcapng = writer_class(file, format) is PcapNgWriter
        self._interfaces: tuple[InterfaceInfo, ...] = ()
        self._in_place: set[int] = set()  # interfaces with a block between the packets,
        self._counted: set[int] = set()  # and those with statistics between them
        self._splits = rotation is not None
        self._one_snaplen = self._common_snaplen()
        self._latest = 0  # latest packet time so far, in nanoseconds
        self._before: dict[str, dict[str, int]] = {}  # counters at the end of the last file of a rotation,
        self._part_start = time.time_ns()  # and the time of that
        options: dict[str, Any] = {"format": format, "compression": compression, "level": level}
        options["snaplen"] = snaplen or self._default_snaplen()
        if self._is_pcapng:
            options |= self._section()
        else:
            options["fcs_len"] = self._fcs_len()
        self._writer: _Writer = self._open(file, options, rotation, atomic)

    def _common_snaplen(self) -> int | None:
        """Return the snaplen to write for all interfaces of a merge; None: that of each.

        libpcap does not read a file with different ones.
        """
        if not isinstance(self._source, MergedSource):
            return None
        limits = {info.snaplen for info in self._source.interfaces}
        return None if len(limits) <= 1 else 0 if 0 in limits else max(limits)

    def _default_snaplen(self) -> int:
        if self._is_pcapng:
            return ALL_BYTES
        return MAX_SNAPLEN if self._link is None else max_cap_len(self._link.type)

    def _fcs_len(self) -> int | None:
        """Return the length of the frame check sequences that all interfaces have in common, or None."""
        infos = self._source.interfaces if isinstance(self._source, CaptureFiles) else ()
        lengths = {
            value[0] for info in infos for code, value in info.options or () if code == _FCS_LENGTH and value
        }
        if not lengths:
            return None
        length = lengths.pop()
        if lengths or length % 2 or length > _MAX_FCS or any(not info.options for info in infos):
            self.lost["lengths of frame check sequences"] += 1
            return None
        return length

    def _open(
        self, file: Target, options: dict[str, Any], rotation: RotationOptions | None, atomic: bool
    ) -> _Writer:
        link_type = LinkType.ETHERNET if self._link is None else self._link.type
        if rotation is None:
            return open_writer(file, link_type, atomic=atomic and _is_path(file), **options)
        if not isinstance(file, (str, os.PathLike)) or file == "-":
            raise ValueError(f"{file!r} cannot be split into several files: give a path")
        rotating: dict[str, Any] = {"skip_existing": False, **rotation}
        if self._is_pcapng and isinstance(self._source, (LiveSource, RingGroup)):
            rotating["on_end"] = self._end_part
        writer = RotatingWriter(os.fsdecode(file), link_type=link_type, **rotating, **options)
        if isinstance(self._source, PcapSource):
            writer.protect([self._source.name])
        elif isinstance(self._source, MergedSource):
            writer.protect(self._source.names)
        return writer

    def _section(self) -> dict[str, Any]:
        """Return the description of the first section, as arguments of `PcapNgWriter`.

        Of several files it is what they have in common.
        """
        sections = self._source.sections if isinstance(self._source, CaptureFiles) else ()
        sections = tuple([section for section in sections if section.options is not None])
        if not sections:
            return {}
        first = sections[0]
        if isinstance(self._source, PcapSource):
            return {"section": first, "application": first.application}
        options = tuple(
            [option for option in first.options or () if all(option in (s.options or ()) for s in sections)]
        )
        found = [{getattr(section, name) for section in sections} for name in _SECTION_TEXTS]
        self.left_out["texts of sections that differ"] = sum(len(texts) > 1 for texts in found)
        comment, hardware, system, application = (texts.pop() if len(texts) == 1 else "" for texts in found)
        section = first._replace(
            comment=comment, hardware=hardware, os=system, application=application, options=options
        )
        return {"section": section}

    @property
    def packets_written(self) -> int:
        """Number of packets so far; some may still be in memory."""
        return self._writer.packets_written

    @property
    def files(self) -> tuple[str, ...] | None:
        """Paths of the complete files of a rotation; None for a single file."""
        return self._writer.files if isinstance(self._writer, RotatingWriter) else None

    def add(self, batch: Batch) -> None:
        """Write the packets of a batch, which may have none, and the interfaces that are new.

        Parameters
        ----------
        batch : Batch
            Needed only during the call.

        Raises
        ------
        ValueError, OSError
            As for `write_batch` of the writer. In pcap: the packets have several link types.
        """
        if self._is_pcapng:
            self._note(batch)
        else:
            self._count_lost(batch)
        if not self._in_place:
            self._describe(batch.interfaces, batch)
        if len(batch) or batch.blocks:
            self._writer.write_batch(batch)

    def _note(self, batch: Batch) -> None:
        """Note what the batch has, so that it is not written again at the end."""
        self._latest = max(self._latest, latest_time(batch))
        if not self._splits:
            for _, block in batch.blocks:
                if isinstance(block, Statistics):
                    self._counted.add(block.interface)
                elif isinstance(block, int):
                    self._in_place.add(block)

    def _count_lost(self, batch: Batch) -> None:
        """Count what a pcap file has no place for."""
        if len(batch):
            self._check_link_types(batch)
        comments, options = count_options(batch)
        self.lost["comments"] += comments
        self.lost["options of packets"] += options
        for _, block in batch.blocks:
            if isinstance(block, OtherBlock):
                self.lost[_BLOCK_NAMES.get(block.type, "other blocks")] += 1

    def _describe(self, interfaces: tuple[InterfaceInfo, ...], batch: Batch | None = None) -> None:
        """Write the descriptions of the interfaces that are new, except those in their place.

        Packets of `batch` may be beyond the snaplen.
        """
        new = range(len(self._interfaces), len(interfaces))
        beyond = beyond_snaplen(batch) if new and batch is not None else ()
        for number in new:
            info = interfaces[number]
            if number in beyond or (beyond and isinstance(self._source, MergedSource)):
                info = info._replace(snaplen=0)
            elif self._one_snaplen is not None:
                info = info._replace(snaplen=self._one_snaplen)
            if number not in self._in_place:
                self._writer.add_interface(info)
        if len(interfaces) >= len(self._interfaces):
            self._interfaces = interfaces  # with the latest counters

    def _check_link_types(self, batch: Batch) -> None:
        """Raise ValueError if the packets do not have the link type of the file."""
        links = batch.links
        if len({link.type for link in links}) > 1:
            links = tuple([links[index] for index in np.unique(batch["interface"]).tolist()])
        for link in links:
            if self._link is not None and link.type != self._link.type:
                raise ValueError(
                    f"pcap has one link type for all packets, and these are of {link.type_name} where the "
                    f"first interface is of {self._link.type_name}: use --format pcapng or format='pcapng'"
                )

    def end_interval(self) -> None:
        """Complete a part of `max_seconds` if its time is over, although no packet came since."""
        if isinstance(self._writer, RotatingWriter):
            self._writer.end_interval()

    def end_file(self) -> bool:
        """Complete the current file of a rotation. The next packet starts a new one.

        Returns
        -------
        bool
            False if there is no rotation, or no current file.

        Raises
        ------
        OSError
            A write failed.
        """
        return isinstance(self._writer, RotatingWriter) and self._writer.end_file()

    def flush(self) -> None:
        """Write out all packets so far, also those in a compressor, which costs some of the compression.

        Raises
        ------
        OSError
            A write failed; the rest will be written by a later call.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write what is known only at the end, and complete the file. A second call does nothing.

        A forked process leaves the file to the one that opened it.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        """
        if not self._writer.closed and self._owner.is_here():
            try:
                self._finish()
            except BaseException:
                self._writer.discard()
                raise
        self._writer.close()

    def _finish(self) -> None:
        """Write the interfaces without packets and the packet counters."""
        if self._source is not None:
            if isinstance(self._source, CaptureFiles):
                self.add(self._source.trailer)
                self.left_out["blocks that must not be copied, or exceed 64 MiB"] = (
                    self._source.blocks_left_out
                )
                self.left_out["options of sections and interfaces"] = self._source.options_left_out
            self._describe(self._source.interfaces)
        for number, counters in enumerate(self._counters(self._interfaces)):
            if counters and not self._is_pcapng:
                self.lost["packet counters"] += 1
            elif counters and number not in self._counted:
                self._write_counters(self._interfaces[number], counters)
        if not self._is_pcapng:
            self.lost["interface descriptions"] += sum(map(_is_described, self._interfaces))

    def _write_counters(self, info: InterfaceInfo, counters: dict[str, int]) -> None:
        limited = {name: min(max(value, 0), _MAX_COUNTER) for name, value in counters.items()}
        if isinstance(self._writer, PcapNgWriter):
            number = self._writer.add_interface(info)  # of the file
            self._writer.write_statistics(number, at=self._latest or None, **limited)

    def _end_part(self, writer: Writer) -> None:
        """Write the counters of all interfaces since the end of the file before, at the end of a file."""
        if self._source is None:
            return
        interfaces, now = self._source.interfaces, time.time_ns()
        latest = {info.link.name: info for info in interfaces}
        for info, counters in zip(interfaces, self._counters(interfaces), strict=True):
            number = writer.add_interface(info)  # of the file
            if latest[info.link.name] is not info:  # it was removed; counters are those of the name
                continue
            before = self._before.get(info.link.name, {})
            self._before[info.link.name] = counters
            found = {name: max(0, value - before.get(name, 0)) for name, value in counters.items()}
            writer.write_statistics(number, at=now, start=self._part_start, end=now, **found)
        self._part_start = now

    def _counters(self, interfaces: tuple[InterfaceInfo, ...]) -> list[dict[str, int]]:
        """Return the packet counters of each interface, as arguments of `write_statistics`."""
        counters = [_counters_of(info) for info in interfaces]
        source = self._source
        if isinstance(source, InterfacesSource):
            found = {
                name: {"received": stats.packets_received, "dropped": stats.packets_dropped}
                for name, stats in source.stats_by_interface.items()
            }
            # One that was renamed has its counters under the new name.
            return [found.get(info.link.name, {}) for info in interfaces]
        if source is not None and len(counters) == 1 and not counters[0]:
            total = source.total_stats
            if isinstance(source, (LiveSource, RingGroup)):
                drops = source.link_drops
                counters[0] = {
                    "received": total.packets_received,
                    "dropped": total.packets_dropped,
                    "interface_dropped": drops.rx_missed_errors + drops.rx_fifo_errors,
                }
        return counters

    def discard(self) -> None:
        """Remove the file, which is not complete. After `close()` this does nothing."""
        self._writer.discard()


def _is_path(file: Target) -> bool:
    return isinstance(file, (str, bytes, os.PathLike)) and os.fsdecode(file) != "-"


def _counters_of(info: InterfaceInfo) -> dict[str, int]:
    counters = {
        "received": info.received,
        "dropped": info.os_dropped,
        "interface_dropped": info.interface_dropped,
        "start": info.start,
        "end": info.end,
    }
    return {name: value for name, value in counters.items() if value is not None}


def _is_described(info: InterfaceInfo) -> bool:
    """Return True if an interface has more than what pcap stores, a link type and a snaplen."""
    return bool(
        info.link.named or info.link.description or info.filter or info.os or info.hardware or info.comment
    )
