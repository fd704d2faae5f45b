from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

def count_allocations(fn: Callable[[*_Ts], _T], *args: *_Ts) -> tuple[_T, int]: ...
