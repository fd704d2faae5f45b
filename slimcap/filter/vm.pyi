from collections.abc import Iterable, Sequence
from typing import NoReturn, Self, final

from slimcap.packet.lease import _Buffer

@final
class Machine:
    def __new__(cls, program: Iterable[Sequence[int]]) -> Self: ...
    def __len__(self) -> int: ...
    def __reduce__(self) -> NoReturn: ...
    def run(
        self,
        data: _Buffer,
        wire_len: int | None = None,
        *,
        pkt_type: int | None = None,
        protocol: int | None = None,
        ifindex: int | None = None,
        hatype: int | None = None,
        vlan_tci: int | None = None,
        vlan_tpid: int | None = None,
        network: int | None = None,
    ) -> int: ...
