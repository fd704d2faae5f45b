from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Output: ...

@final
class PlainOutput(Output):
    def __init__(self, file: object, atomic: bool, keep_partial: bool = False) -> None: ...

@final
class CompressedOutput(Output): ...
