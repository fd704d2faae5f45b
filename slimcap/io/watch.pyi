from typing import final

from typing_extensions import disjoint_base

@final
class Watch: ...

@disjoint_base
class EndPolicy: ...
