"""Slow, plain references for what no library computes: numpy, one sequence at a time, beside the specification.

Nothing here imports `sememe`. Each file names the section of the model specification that it follows; tensors
are looked up by the names that the published files have.
"""
