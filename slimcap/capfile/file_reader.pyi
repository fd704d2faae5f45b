from typing import final

@final
class FileReader: ...
