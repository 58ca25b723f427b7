"""float32 functions built from arithmetic, so that LLVM vectorises them (TVM's own become scalar libm calls).

Each takes and returns a float32 expression, for te.compute and TVMScript. Errors, in units of the last place, are
measured by tests/test_tvm_kernels.py. TVM contracts a * b + c to a fused multiply-add where the target has one; the
range reductions do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan, pi

from tvm import tirx
from tvm.ir import Expr

# Cephes library, expf.c, logf.c, sinf.c, cosf.c (S. Moshier); highest power first
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # the high part has 9 bits: times an exponent it is exact
_ROUND32, _ROUND64 = 1.5 * 2.0**23, 1.5 * 2.0**52  # adding this rounds to an integer, kept in the low bits
_SQRT_HALF_BITS = 0x3F3504F3


def _f(value: float) -> Expr:
    return tirx.const(value, "float32")


def _i(value: int) -> Expr:
    return tirx.const(value, "int32")


def let(value: Expr, body: Callable[[Expr], Expr]) -> Expr:
    """body(value), with value computed once."""
    value = tirx.convert(value)  # an element of a te tensor is no expression yet
    var = tirx.Var("t", value.ty)
    return tirx.Let(var, value, body(var))


def _horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    total = _f(coefficients[0])
    for c in coefficients[1:]:
        total = total * x + _f(c)
    return total


def _power_of_two(n: Expr) -> Expr:
    """2 ** n for int32 n from -126 to 127."""
    return tirx.reinterpret("float32", (n + _i(127)) << _i(23))


def _exp(x: Expr, power: Callable[[Expr, Expr, Expr], Expr]) -> Expr:
    """``power(x, e ** rest, n)``, where x is n logarithms of 2 and a rest between -1/2 and 1/2 of one."""

    def scaled(c: Expr, shifted: Expr) -> Expr:
        whole = shifted - _f(_ROUND32)
        n = tirx.reinterpret("int32", shifted) - tirx.reinterpret("int32", _f(_ROUND32))
        rest = c - whole * _f(_LN2_HIGH) - whole * _f(_LN2_LOW)
        return power(c, let(rest, lambda r: _horner(r, _EXP) * (r * r) + r + _f(1.0)), n)

    return let(x, lambda c: let(c * _f(1.44269504088896341) + _f(_ROUND32), lambda shifted: scaled(c, shifted)))


def exp(x: Expr) -> Expr:
    """e ** x within 1 unit; subnormal results, 0, inf and NaN are right."""

    def power(c: Expr, value: Expr, n: Expr) -> Expr:
        # two factors: 2 ** 128 and 2 ** -149 are no normal floats
        return let(n, lambda n: value * _power_of_two(n >> _i(1)) * _power_of_two(n - (n >> _i(1))))

    low, high = _f(-104.0), _f(89.0)  # beyond these the result is 0 or inf anyway
    return let(tirx.Select(x < low, low, x), lambda x: _exp(tirx.Select(x > high, high, x), power))


def exp_nonpositive(x: Expr) -> Expr:
    """e ** x within 1 unit for x <= 0, as softmax needs it; 0 where the result would be subnormal."""
    low = _f(-87.0)
    return _exp(tirx.max(x, _f(-88.0)), lambda c, value, n: tirx.Select(c < low, _f(0.0), value * _power_of_two(n)))


def log(x: Expr) -> Expr:
    """Natural logarithm within 1 unit; subnormal arguments, 0, negative ones, inf and NaN are right."""

    def normal(x: Expr, bias: Expr) -> Expr:
        offset = tirx.reinterpret("int32", x) - _i(_SQRT_HALF_BITS)
        return let(offset, lambda d: parts((d >> _i(23)).astype("float32") - bias, d & _i(0x7FFFFF)))

    def parts(exponent: Expr, mantissa: Expr) -> Expr:
        m = tirx.reinterpret("float32", mantissa + _i(_SQRT_HALF_BITS)) - _f(1.0)  # from sqrt(1/2) - 1 to sqrt(2) - 1
        return let(exponent, lambda e: let(m, lambda m: let(m * m, lambda z: total(e, m, z))))

    def total(e: Expr, m: Expr, z: Expr) -> Expr:
        tail = m * z * _horner(m, _LOG) + e * _f(_LN2_LOW) - _f(0.5) * z
        return m + tail + e * _f(_LN2_HIGH)

    def guarded(x: Expr) -> Expr:
        tiny = x < _f(2.0**-126)
        value = normal(tirx.Select(tiny, x * _f(2.0**23), x), tirx.Select(tiny, _f(23.0), _f(0.0)))
        special = tirx.Select(x == _f(0.0), _f(-inf), tirx.Select(x == _f(inf), _f(inf), _f(nan)))
        return tirx.Select(tirx.all(x > _f(0.0), x < _f(inf)), value, special)

    return let(x, guarded)


def log1p(x: Expr) -> Expr:
    """log(1 + x) within 1.5 units, near 0 too: the rounding error of 1 + x is put back."""

    def value(x: Expr, u: Expr) -> Expr:
        lost = tirx.Select(x < _f(1.0), x - (u - _f(1.0)), _f(1.0) - (u - x))
        inside = tirx.all(u > _f(0.0), u < _f(inf))
        return let(log(u), lambda y: y + tirx.Select(inside, lost / u, _f(0.0)))

    return let(x, lambda x: let(x + _f(1.0), lambda u: value(x, u)))


def _circular(x: Expr, quarter: int) -> Expr:
    """sin(x + quarter * pi / 2). The reduction is in float64: one constant serves up to a million radians."""

    def reduced(wide: Expr) -> Expr:
        return let(wide * tirx.const(2 / pi, "float64") + tirx.const(_ROUND64, "float64"), lambda s: split(wide, s))

    def split(wide: Expr, shifted: Expr) -> Expr:
        whole = shifted - tirx.const(_ROUND64, "float64")
        rest = (wide - whole * tirx.const(pi / 2, "float64")).astype("float32")
        quadrant = tirx.reinterpret("int64", shifted).astype("int32") + _i(quarter)
        return let(quadrant, lambda q: let(rest, lambda r: let(r * r, lambda z: pick(q, r, z))))

    def pick(q: Expr, r: Expr, z: Expr) -> Expr:
        sine = _horner(z, _SIN) * z * r + r
        cosine = _horner(z, _COS) * (z * z) - _f(0.5) * z + _f(1.0)
        value = tirx.Select((q & _i(1)) == _i(0), sine, cosine)
        return let(value, lambda v: tirx.Select((q & _i(2)) == _i(0), v, -v))

    return let(x.astype("float64"), reduced)


def sin(x: Expr) -> Expr:
    """Sine: absolute error below 1e-7 for |x| up to 1.1e6, 1.5 units for |x| up to 1e3; inf gives no NaN."""
    return _circular(x, 0)


def cos(x: Expr) -> Expr:
    """Cosine: as `sin`."""
    return _circular(x, 1)


def sqrt(x: Expr) -> Expr:
    """Square root, correctly rounded."""
    return tirx.sqrt(x)


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x) within 1.5 units."""
    return _f(1.0) / tirx.sqrt(x)


def widen(x: Expr) -> Expr:
    """A float32 from a narrower float.

    Not a plain cast for bfloat16: BF16StorageLegalize of TVM 0.27 reads the type of the cast's operand after it has
    changed it in place, and then converts the bits as a number, where nothing else refers to the operand.
    """
    x = tirx.convert(x)
    if x.ty.dtype != "bfloat16":
        return x.astype("float32")
    whole = tirx.reinterpret("uint16", x).astype("uint32")
    return tirx.reinterpret("float32", whole << tirx.const(16, "uint32"))
