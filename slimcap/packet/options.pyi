from typing import final

@final
class Allowance: ...
