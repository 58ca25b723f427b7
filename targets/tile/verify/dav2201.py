"""What dav-2201 (910B, 910C) executes; every row with its section of ascend.md."""

from __future__ import annotations

from collections.abc import Mapping

from .table import Arch, Row, row, same, sets

MATHS = ("f32", "f16", "i32")  # 3.2: bf16 is no compute type; i16 too, which tiles do not have
FLOATS = ("f32", "f16")
MOVED = ("f32", "bf16", "f16", "i32", "i8", "bool")
CMP = ("<", ">", "<=", ">=", "==", "!=")
FRACTALS = {"rows": "int", "depth": "int"}
DRAINED = sets("f32 f32", "bf16 f32", "f16 f32")

VECTOR: Mapping[str, Row] = {
    **dict.fromkeys(("add", "sub", "mul", "max", "min"), row("repeat", "V", "UB <- UB UB", same(3, *MATHS), "3.2")),
    "div": row("repeat", "V", "UB <- UB UB", same(3, *FLOATS), "3.2"),
    **dict.fromkeys(
        ("adds", "muls", "maxs", "mins"),
        row("repeat", "V", "UB <- UB", same(2, *MATHS), "3.2", {"value": "number"}),
    ),
    **dict.fromkeys(("exp", "ln", "sqrt", "abs"), row("line", "V", "UB <- UB", same(2, *FLOATS), "3.2")),
    "shift_right": row("line", "V", "UB <- UB", same(2, "i32"), "3.2", {"value": "number"}),
    "cast": row("cast", "V", "UB <- UB", frozenset(), "3.3", {"mode": ("RINT", "NONE", "FLOOR", "CEIL", "ROUND",
                                                                       "TRUNC", "ODD")}),
    "duplicate": row("line", "V", "UB", same(1, *MATHS, "bf16"), "3.4", {"value": "number"}),
    "brcb": row("brcb", "V", "UB <- UB", same(2, *MATHS, "bf16"), "3.4"),
    "iota": row("line", "V", "UB", same(1, *MATHS), "3.4", {"start": "integer"}),
    "compare": row("compare", "V", "UB <- UB UB", sets("i8 f32 f32", "i8 f16 f16", "i8 i32 i32"), "3.5", {"cmp": CMP}),
    "compares": row("compare", "V", "UB <- UB", sets("i8 f32", "i8 f16", "i8 i32"), "3.5",
                    {"cmp": CMP, "value": "number"}),
    "select": row("select", "V", "UB <- UB UB UB", sets("f32 i8 f32 f32", "f16 i8 f16 f16"), "3.5"),
    "selects": row("select", "V", "UB <- UB UB", sets("f32 i8 f32", "f16 i8 f16"), "3.5", {"value": "number"}),
    **dict.fromkeys(
        ("whole_sum", "whole_max", "whole_min"),
        row("whole", "V", "UB <- UB", same(2, *FLOATS), "3.6", None, {0: 4}),  # results need no block
    ),
    "gather": row("gather", "V", "UB <- UB UB", sets("f32 f32 i32", "i32 i32 i32", "f16 f16 i32"), "3.7"),
    "compress": row("compress", "V", "UB <- UB UB", sets("f32 f32 i8", "i32 i32 i8"), "3.7"),
    "copy_in": row("copy_in", "MTE2", "UB <- GM", same(2, *MOVED), "3.10", {"fill": "number"}),
    "copy_out": row("copy_out", "MTE3", "GM <- UB", same(2, *MOVED), "3.10"),
}  # fmt: skip

OPERANDS = ("f32", "bf16", "f16")  # of products
CUBE: Mapping[str, Row] = {
    "clear": row("line", "MTE2", "L1", same(1, *OPERANDS), "3.11"),
    "nd2nz": row("nd2nz", "MTE2", "L1 <- GM", same(2, *OPERANDS), "3.11", {"rows": "int", "single": "int"}),
    "mmad": row(
        "mmad", "M", "L0C <- L0A L0B L0C", sets("f32 f32 f32 f32", "f32 bf16 bf16 f32", "f32 f16 f16 f32"), "3.11",
        {"m": "int", "n": "int", "k": "int", "first": "integer", "left": ("Zz", "Nz")}, {0: 1024, 3: 1024},
    ),
}  # fmt: skip
OLD: Mapping[str, Row] = {  # what later architectures do otherwise
    "load_a": row("load", "MTE1", "L0A <- L1", same(2, *OPERANDS), "3.11", FRACTALS),
    "load_b": row("load", "MTE1", "L0B <- L1", same(2, *OPERANDS), "3.11", FRACTALS),
    "load_b_turned": row("load_turned", "MTE1", "L0B <- L1", same(2, "bf16", "f16"), "3.11", {**FRACTALS, "n": "int"}),
    "fixpipe": row("fixpipe", "FIX", "GM <- L0C", DRAINED, "3.11", {"rows": "int"}),
}

ROUNDED = ("RINT", "FLOOR", "CEIL", "ROUND", "TRUNC")
CASTS: Mapping[tuple[str, str], tuple[str, ...]] = {  # 3.3, for the dtypes that tiles have
    ("f16", "f32"): ("NONE",), ("bf16", "f32"): ("NONE",),
    ("f32", "f16"): (*ROUNDED, "ODD", "NONE"), ("f32", "bf16"): ROUNDED, ("f32", "i32"): ROUNDED,
    ("f32", "f32"): ROUNDED, ("i32", "f32"): (*ROUNDED, "NONE"),
    ("f16", "i8"): (*ROUNDED, "NONE"), ("f16", "bool"): (*ROUNDED, "NONE"),
    ("i8", "f16"): ("NONE",), ("bool", "f16"): ("NONE",),
    ("f16", "i32"): ROUNDED, ("bf16", "i32"): ROUNDED,
}  # fmt: skip

AFTER: Mapping[str, str] = {  # 2.3: by the pipe that tells, those that may wait
    "S": "V MTE2 MTE3", "V": "S V M MTE1 MTE2 MTE3", "M": "S V MTE1 MTE2 FIX", "MTE1": "V M MTE2 MTE3 FIX",
    "MTE2": "S V M MTE1 MTE3 FIX", "MTE3": "S V MTE1 MTE2", "FIX": "S M MTE1 MTE2 MTE3 FIX",
}  # fmt: skip

ARCH = Arch(
    name="2201",
    rows={**VECTOR, **CUBE, **OLD},
    casts=CASTS,
    align={"UB": 32, "L1": 32, "L0A": 512, "L0B": 512, "L0C": 64},  # 1.1
    homes={"UB": "AIV", "L1": "AIC", "L0A": "AIC", "L0B": "AIC", "L0C": "AIC"},  # 2.3
    pipes={"AIV": ("S", "V", "MTE2", "MTE3"), "AIC": ("S", "M", "MTE1", "MTE2", "MTE3", "FIX")},  # 2.3
    events=frozenset(f"{tells}_{waits}" for tells, after in AFTER.items() for waits in after.split()),
    event_ids=8,  # 2.3
    cross={2: 11},  # 2.4: 0..10 are always legal
    cross_pending=15,  # 2.4
    left="Zz",  # 3.11
    integers_compared=("==",),  # 3.5
    fields={
        "repeats": 255, "stride": 255,  # 3.1: uint8, in blocks
        "compare": 256,  # 3.5: bytes that a comparison takes at a time
        "rows": 4095, "length": 2097151,  # 3.10: DataCopyExtParams
        "product": 4095,  # 3.11: MmadParams
        "nd2nz pitch": 65535,  # 0: uint16 on this architecture
    },
)  # fmt: skip
