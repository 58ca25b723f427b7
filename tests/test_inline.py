"""``inline``: which functions go, and that their callers hold what they did."""

from __future__ import annotations

from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.passes.base import Log
from dsv4c.passes.inline import FEW, Inline

MANY = "\n".join(f"  %{i}: f32[N] = neg(%{i - 1 if i else 'x'})" for i in range(FEW + 1))
TEXT = f"""module m entry f

func small(%x: f32[M, 4], %y: f32[M, 4]) {{
  %0: f32[M, 4] = add(%x, %y) @inner
  return %0, %x
}}

func large(%x: f32[N]) {{
{MANY}
  return %{FEW}
}}

func caller(%x: f32[N]) {{
  %0: f32[N] = call large(%x, N=N)
  return %0
}}

func f(%x: f32[N, 4], %y: f32[N]) {{
  %0: f32[N, 4], %1: f32[N, 4] = call small(%x, %x, M=N) @here
  %2: f32[N, 4] = mul(%0, %1)
  %3: f32[N] = call caller(%y, N=N)
  return %2, %3
}}
"""


def test_few_ops_move_into_their_caller_and_others_stay() -> None:
    log = Log()
    after = Inline().run(parse(TEXT), log)
    assert list(after.functions) == ["large", "caller", "f"] and log.applied == {"small": 1}
    names = [(op.name, op.loc) for op in after.functions["f"].ops]
    assert names == [("add", "here.inner"), ("mul", ""), ("call", "")]
    assert "add(%x, %x)" in to_text(after)
