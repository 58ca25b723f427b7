"""Parameters of the row kernels, all in one place; measured on 2 cores with AVX-512."""

from __future__ import annotations

LANES = 16  # f32 lanes of a 512-bit register
SUM_LANES = 64  # partial sums of a row: four registers hide the latency of an addition
# Elements that one thread treats in the time that a second one needs to wake up, and to be worth it (10 us).
PARALLEL_FROM = 65536
HEAVY = 4  # an element with exponentials or roots counts as so many
TILE = 16  # tokens whose gates and Sinkhorn steps are computed side by side, one in each lane
TILE_ROWS, TILE_OUTPUTS = 4, 6  # of a dot product tile: 24 accumulators, 4 vectors of rows and one of weights
