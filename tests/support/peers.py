"""Other programs that tests compare with: tshark, tcpdump, editcap, compressors."""

from __future__ import annotations

import os


def peer_environment() -> dict[str, str]:
    """The environment for other programs: some hang when libasan is preloaded."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
