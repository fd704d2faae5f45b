from typing import final

from slimcap.filter.choice import Filter
from slimcap.filter.machine import Machine
from slimcap.packet.batch import Batch

@final
class Matcher:
    def __new__(cls, filter: Filter | Machine) -> Matcher: ...

def match(batch: Batch, filter: Filter | Machine) -> Batch: ...
