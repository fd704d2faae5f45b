"""Flows: which packets belong together, and what is known of them in sum."""

from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_columns import FLOW_DTYPE
from slimcap.flow.flow_enums import FlowEnd, FlowInitiator
from slimcap.flow.flow_table import FlowStats, FlowTable

__all__ = ["FLOW_DTYPE", "FlowBatch", "FlowEnd", "FlowInitiator", "FlowStats", "FlowTable"]
