"""Helpers of the tests: samples, batches, readers, peers, growing files, threads, network namespaces.

`tests/` is on the import path of the tests (`pythonpath` in pyproject.toml), so that modules write
`from support.batches import batch_of`.
"""
