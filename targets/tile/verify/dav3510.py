"""What dav-3510 (950) executes; every row with its section of ascend.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import dav2201
from .dav2201 import CUBE, DRAINED, FRACTALS, OPERANDS, VECTOR
from .table import Arch, Row, row, same, sets

ALSO_BF16 = ("add", "sub", "mul", "max", "min", "adds", "muls", "maxs", "mins")  # 3.2
NEW: Mapping[str, Row] = {
    "load_nz": row("load", "MTE1", "L0A|L0B <- L1", same(2, *OPERANDS), "3.11", FRACTALS),
    "load_nz_turned": row(
        "load_turned", "MTE1", "L0B <- L1", same(2, "bf16", "f16"), "3.11", {**FRACTALS, "n": "int"}
    ),
    "fixpipe_3510": row("fixpipe", "FIX", "GM <- L0C", DRAINED, "3.11", {"rows": "int"}),
    "fixpipe_ub": row("fixpipe_ub", "FIX", "UB <- L0C", sets("f32 f32"), "1.3", {"rows": "int"}),
    "unpack": row("unpack", "V", "UB <- UB", sets("bf16 i8"), "3.3"),
    "copy_nz": row("copy_nz", "MTE3", "L1 <- UB", same(2, *OPERANDS), "1.3", {"rows": "int"}),
}

ARCH: Arch = replace(
    dav2201.ARCH,
    name="3510",
    rows={
        **VECTOR,
        **{
            op: replace(VECTOR[op], dtypes=VECTOR[op].dtypes | same(len(VECTOR[op].places), "bf16"))
            for op in ALSO_BF16
        },
        "copy_in": replace(VECTOR["copy_in"], dtypes=VECTOR["copy_in"].dtypes | same(2, "f8e4m3")),
        **CUBE,
        **NEW,
    },
    casts={
        **dav2201.CASTS, ("f16", "bf16"): dav2201.ROUNDED, ("bf16", "f16"): (*dav2201.ROUNDED, "NONE"),
        ("f8e4m3", "f32"): ("NONE",),
    },  # 3.3
    cross={2: 11, 4: 11},  # 2.4
    left="Nz",  # 1.3
    integers_compared=dav2201.CMP,  # 3.5 limits 2201 only
    fields={k: v for k, v in dav2201.ARCH.fields.items() if not k.startswith("nd2nz")},  # 0: wider here
)
