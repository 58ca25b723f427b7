"""Elementwise core ops as ONNX nodes.

bf16 and f16 are computed in f32 with one cast out, which is how the reference defines them; so runtimes without
arithmetic in these dtypes execute the model too, with the same bits.
"""

from __future__ import annotations

from .graph import Emitter, Graph, Site

UNSIGNED = {"i8": 2, "i32": 12, "i64": 13}  # TensorProto.UINT8, UINT32, UINT64
SIGNED = {"i8": 3, "i32": 6, "i64": 7}


def widen(g: Graph, x: str, dtype: str) -> str:
    """A float operand in f32; anything else as it is."""
    return g.cast(x, "f32") if dtype in ("bf16", "f16") else x


def narrow(g: Graph, x: str, dtype: str) -> str:
    """An f32 result rounded once to the op's dtype."""
    return g.cast(x, dtype) if dtype in ("bf16", "f16") else x


def direct(kind: str, **attrs: int) -> Emitter:
    """The op is the ONNX op of that name."""

    def emit(g: Graph, s: Site) -> str:
        xs = [widen(g, x, t.dtype) for x, t in zip(s.args, s.ins, strict=True)]
        return narrow(g, g.node(kind, *xs, **attrs), s.outs[0].dtype)

    return emit


def logical(on_bool: str, on_bits: str) -> Emitter:
    """ONNX has one op for bool and one for the bits of integers."""
    return lambda g, s: g.node(on_bool if s.ins[0].dtype == "bool" else on_bits, *s.args)


def rsqrt(g: Graph, s: Site) -> str:
    """1 / sqrt(x), both exactly rounded."""
    root = g.node("Sqrt", widen(g, s.args[0], s.ins[0].dtype))
    return narrow(g, g.node("Reciprocal", root), s.outs[0].dtype)


def log1p(g: Graph, s: Site) -> str:
    """log(u) * x / (u - 1) with u = 1 + x cancels the rounding of u; x itself where u is 1 or x is infinite."""
    x, one = widen(g, s.args[0], s.ins[0].dtype), g.number(1.0, "f32")
    u = g.node("Add", x, one)
    ratio = g.node("Div", x, g.node("Sub", u, one))
    plain = g.node("Or", g.node("Equal", u, one), g.node("Equal", x, g.number(float("inf"), "f32")))
    exact = g.node("Mul", g.node("Log", u), ratio)
    return narrow(g, g.node("Where", plain, x, exact), s.outs[0].dtype)


def _division(g: Graph, s: Site) -> tuple[str, str]:
    """Operands of a division that cannot trap: the least integer over -1 overflows, so x / -1 becomes -x / 1."""
    (x, y), dtype = s.args, s.ins[0].dtype
    known = g.constants.get(y)
    if known is not None and not (known == -1).any():
        return x, y
    flip = g.node("Equal", y, g.number(-1, dtype))
    return g.where(dtype, flip, g.node("Neg", x), x), g.where(dtype, flip, g.number(1, dtype), y)


def floordiv(g: Graph, s: Site) -> str:
    """ONNX's Div truncates: one less where there is a remainder and the signs differ."""
    (x, y), dtype = _division(g, s), s.ins[0].dtype
    zero = g.number(0, dtype)
    mixed = g.node("Xor", g.node("Less", x, zero), g.node("Less", y, zero))
    rest = g.node("Not", g.node("Equal", g.node("Mod", x, y), zero))
    return g.node("Sub", g.node("Div", x, y), g.cast(g.node("And", mixed, rest), dtype))


def mod(g: Graph, s: Site) -> str:
    """ONNX's Mod without fmod has the sign of the divisor, as the op has."""
    return g.node("Mod", *_division(g, s))


def shl(g: Graph, s: Site) -> str:
    """Shifts exist for unsigned integers only; the casts keep the bits."""
    dtype = s.ins[0].dtype
    x, y = (g.node("Cast", a, to=UNSIGNED[dtype]) for a in s.args)
    return g.node("Cast", g.node("BitShift", x, y, direction="LEFT"), to=SIGNED[dtype])


def shr(g: Graph, s: Site) -> str:
    """Flip the bits of negative numbers, shift zeros in, flip back."""
    dtype, (x, y) = s.ins[0].dtype, s.args
    flip = g.node("Neg", g.cast(g.node("Less", x, g.number(0, dtype)), dtype))
    bits = g.node("Cast", g.node("BitwiseXor", x, flip), to=UNSIGNED[dtype])
    moved = g.node("BitShift", bits, g.node("Cast", y, to=UNSIGNED[dtype]), direction="RIGHT")
    return g.node("BitwiseXor", g.node("Cast", moved, to=SIGNED[dtype]), flip)


def where(g: Graph, s: Site) -> str:
    """x where the condition holds, else y."""
    return g.where(s.outs[0].dtype, *s.args)


def cast(g: Graph, s: Site) -> str:
    """The same numbers in another dtype; pairs with a narrow float go through f32, as in the reference.

    What f8e4m3 or f8e8m0 cannot hold becomes NaN. Under 2^-126 ml_dtypes and ONNX differ in f8e8m0.
    """
    (x,), source, target = s.args, s.ins[0].dtype, s.outs[0].dtype
    if source == target:
        return x
    plain = ("f32", "i8", "i32", "i64", "bool")
    if (source not in plain or target not in plain) and "f32" not in (source, target):
        x = g.cast(x, "f32")
    if target == "f8e8m0":
        return g.cast(x, target, saturate=0, round_mode="nearest")
    return g.cast(x, target, saturate=0) if target == "f8e4m3" else g.cast(x, target)


def bitcast(g: Graph, s: Site) -> str:
    """BitCast of opset 26. A bool is 0 or 1 in ONNX, and four bits are no byte there: both are refused."""
    source, target = s.ins[0].dtype, s.outs[0].dtype
    if source == target:
        return s.args[0]
    for dtype in (source, target):
        if dtype in ("f4e2m1", "bool"):
            raise s.refuse(f"ONNX cannot read the bits of {source} as {target}", f"cast {dtype} before")
    return g.node("BitCast", s.args[0], to=g.element(target))


EMIT: dict[str, Emitter] = {
    "neg": direct("Neg"),
    "abs": direct("Abs"),
    "exp": direct("Exp"),
    "log": direct("Log"),
    "log1p": log1p,
    "sqrt": direct("Sqrt"),
    "rsqrt": rsqrt,
    "sin": direct("Sin"),
    "cos": direct("Cos"),
    "not": direct("Not"),
    "add": direct("Add"),
    "sub": direct("Sub"),
    "mul": direct("Mul"),
    "div": direct("Div"),
    "floordiv": floordiv,
    "mod": mod,
    "maximum": direct("Max"),
    "minimum": direct("Min"),
    "eq": direct("Equal"),
    "lt": direct("Less"),
    "le": direct("LessOrEqual"),
    "and": logical("And", "BitwiseAnd"),
    "or": logical("Or", "BitwiseOr"),
    "xor": logical("Xor", "BitwiseXor"),
    "shl": shl,
    "shr": shr,
    "where": where,
    "cast": cast,
    "bitcast": bitcast,
}
