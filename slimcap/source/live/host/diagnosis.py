"""Check whether a host can capture well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from slimcap.errors import LinkError
from slimcap.source.live import rtnetlink
from slimcap.source.live.host.finding import Finding, Status
from slimcap.source.live.host.host_checks import check_host, read_backlog
from slimcap.source.live.host.link_checks import check_link, find_net


def diagnose(names: Sequence[str] = (), interval: float = 1, root: str = "/") -> list[Finding]:
    """Check the host and interfaces; nothing is changed.

    Parameters
    ----------
    names : sequence of str, default ()
        Names of interfaces. Default: all that are up.
    interval : float, default 1
        Seconds between two readings of the drop counters.
    root : str, default "/"
        Folder with proc and sys.

    Returns
    -------
    list of Finding
        Those of the host, then those of each interface.
    """
    where = Path(root)
    wanted = list(dict.fromkeys(names))
    failures: list[Finding] = []
    if not wanted:
        try:
            wanted = [one.name for one in rtnetlink.interfaces() if one.is_up]
        except LinkError as error:
            found = f"the interfaces could not be listed: {error.strerror}"
            failures.append(Finding("interface", Status.UNKNOWN, found))
    before = {}
    backlog = read_backlog(where)
    for name in wanted:
        with suppress(LinkError):
            before[name] = rtnetlink.state(rtnetlink.find(name).ifindex, name)
    time.sleep(interval)
    findings = [*check_host(backlog, interval, where), *failures]
    net = find_net(where)
    for name in wanted:
        findings += check_link(name, before.get(name), interval, where, net)
    return findings
