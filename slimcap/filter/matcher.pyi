from typing import final

from slimcap.filter.compile import Filter
from slimcap.filter.vm import Machine
from slimcap.packet.batch import Batch

@final
class Matcher:
    def __new__(cls, filter: Filter | Machine) -> Matcher: ...

def match(batch: Batch, filter: Filter | Machine) -> Batch: ...
