"""Parameters of the attention kernels, all in one place; measured on 2 Zen 5 cores (48 KiB, 1 MiB, AVX-512)."""

from __future__ import annotations

LANES = 16  # f32 lanes of a 512-bit register
ROWS = 128  # query rows of a task: a gathered key serves so many; queries and results stay in the second-level cache
TILE = 64  # keys gathered at a time
SUMS = 16  # vectors of a register tile
WIDE = 32  # channels of a register tile of the output
SHARES = 2  # tasks that a single task's keys are cut into
SPLIT_FROM = 1 << 21  # multiply-adds (about 20 us) from which on a second thread is worth waking
SCORED = 8  # tokens of a task of the indexer, each with a row of scores
CHUNK = 1024  # entries of a task where the entries of one token are cut up
RANKED = 512  # up to so many chosen entries are sorted by counting larger ones, beyond by digits
CHUNK_ROWS = 2048  # tokens of one head that share expanded keys: 2.5 MB of queries and results at 192 and 128 channels
