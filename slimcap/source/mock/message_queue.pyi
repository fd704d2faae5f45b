from typing import Self, final

@final
class MessageQueue:
    def __new__(cls, buffer_size: int) -> Self: ...
