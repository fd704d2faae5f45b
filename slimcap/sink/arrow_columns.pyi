from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Never, final

import numpy as np

@final
class Field:
    # Always raises TypeError: layouts make fields.
    def __init__(self, never: Never, /) -> None: ...
    @property
    def name(self) -> str: ...

@final
class Layout:
    def __init__(
        self,
        dtypes: tuple[np.dtype[Any], ...],
        columns: Iterable[str] | None = None,
        payload: Literal["binary_view", "large_binary", "hex"] | None = None,
        text: Collection[str] = (),
        optional: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None: ...
    @property
    def fields(self) -> tuple[Field, ...]: ...
