from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias, final

from numpy.typing import NDArray

from slimcap.packet.batch import Batch, _Addresses, _Payload
from slimcap.sink.arrow_columns import Layout

# A PyCapsule; typing has no name for it.
_Capsule: TypeAlias = object

@final
class ArrowColumns:
    def __init__(
        self,
        array: NDArray[Any],
        columns: Iterable[str] | None = None,
        *,
        text: Collection[str] = (),
        optional: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None: ...
    def __arrow_c_schema__(self) -> _Capsule: ...
    def __arrow_c_array__(self, requested_schema: _Capsule | None = None) -> tuple[_Capsule, _Capsule]: ...
    def __arrow_c_stream__(self, requested_schema: _Capsule | None = None) -> _Capsule: ...
    def __len__(self) -> int: ...

@final
class ArrowStream:
    def __init__(
        self,
        batches: Batch | Iterable[Batch],
        columns: Iterable[str] | None = None,
        *,
        payload: _Payload = True,
        addresses: _Addresses = "text",
        inner: bool = False,
        tunnel_ports: Mapping[str, Iterable[int]] | None = None,
    ) -> None: ...
    def __arrow_c_schema__(self) -> _Capsule: ...
    def __arrow_c_stream__(self, requested_schema: _Capsule | None = None) -> _Capsule: ...

def batch_layout(
    columns: Iterable[str] | None = None, payload: _Payload = True, addresses: _Addresses = "text"
) -> Layout: ...
def text_addresses(addresses: _Addresses, names: Iterable[str]) -> set[str]: ...
def batch_schema() -> _Capsule: ...
def schema_capsule(layout: Layout) -> _Capsule: ...
def array_capsules(batch: Batch, requested_schema: _Capsule | None = None) -> tuple[_Capsule, _Capsule]: ...
def array_stream_capsule(layout: Layout, arrays: Iterable[NDArray[Any]]) -> _Capsule: ...
def stream_capsule(
    batches: Iterable[Batch],
    requested_schema: _Capsule | None = None,
    columns: Iterable[str] | None = None,
    payload: _Payload = True,
    addresses: _Addresses = "text",
    header_options: dict[str, Any] | None = None,
) -> _Capsule: ...
