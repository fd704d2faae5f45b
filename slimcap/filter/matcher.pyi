from typing import final

from slimcap.filter.compile import Filter
from slimcap.filter.header_filter import HeaderFilter
from slimcap.filter.vm import Machine
from slimcap.filter.where_options import WhereOptions
from slimcap.packet.batch import Batch

@final
class Matcher:
    def __new__(cls, filter: Filter | Machine) -> Matcher: ...

def match(
    batch: Batch, filter: Filter | Machine | None, where: HeaderFilter | WhereOptions | None
) -> Batch: ...
