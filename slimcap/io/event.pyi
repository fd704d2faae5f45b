from typing import final

@final
class Event: ...
