from typing import final

@final
class Annotations: ...
