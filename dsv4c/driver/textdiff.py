"""What a pass changed, as a unified diff of the text form, function by function.

In the text form a value is a number, so that one new op renumbers everything below it. Here values keep the names that
they had before: those that are the same object, and those of ops that are alike and have operands of the same names.
What is new is numbered on from there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from dsv4c.ir.core import Function, Module, Op
from dsv4c.ir.printer import function_text, written_names

_NUMBER = re.compile(r"%\d+")
CONTEXT = 2  # lines around a change


def module_diff(before: Module, after: Module, title: str) -> str:
    """All functions that differ, in the order of the new module; ``title`` names the pass. Empty when none does."""
    return "".join(_diffs(before, after, title))


def _diffs(before: Module, after: Module, title: str) -> Iterator[str]:
    bundles = before.bundles(), after.bundles()
    for name, function in after.functions.items():
        old = before.functions.get(name)
        if old is None:
            yield _unified("", function_text(function, bundles[1]), name, f"{title}: new, {len(function.ops)} ops")
            continue
        names = stable_names(old, function, written_names(old, bundles[0]), written_names(function, bundles[1]))
        texts = function_text(old, bundles[0]), function_text(function, bundles[1], names)
        yield _unified(*texts, name, f"{title}: {len(old.ops)} -> {len(function.ops)} ops")
    for name, old in before.functions.items():
        if name not in after.functions:
            yield _unified(function_text(old, bundles[0]), "", name, f"{title}: removed")


def _unified(old: str, new: str, name: str, what: str) -> str:
    lines = list(unified_diff(old.splitlines(), new.splitlines(), n=CONTEXT, lineterm=""))
    return "\n".join([f"--- {name}", f"+++ {name} ({what})", *lines[2:], ""]) if lines else ""


def stable_names(
    old: Function, new: Function, names: Mapping[int, str], written: Mapping[int, str]
) -> dict[int, str]:
    """Names for the results of ``new`` by ``id``: those of ``old`` as far as values correspond.

    ``names`` are those of the old text, ``written`` those of the new one.
    """
    seen = {id(p): names[id(q)] for p, q in zip(new.params, old.params, strict=False) if p.name == q.name}
    alike: dict[Any, list[Op]] = defaultdict(list)
    for op in reversed(old.ops):
        alike[_key(op, names)].append(op)
    kept = {id(r) for op in new.ops for r in op.results if id(r) in names}
    count, out = sum(_NUMBER.fullmatch(name) is not None for name in names.values()), {}
    for op in new.ops:
        same = all(id(r) in kept for r in op.results)
        twins = alike[_key(op, seen)] if not same else []
        while twins and id(twins[-1].results[0]) in kept:
            twins.pop()
        source = op.results if same else twins.pop().results if twins else ()
        for place, result in enumerate(op.results):
            name = names[id(source[place])] if source else ""
            if name:
                seen[id(result)] = name
            if not _NUMBER.fullmatch(written[id(result)]):
                seen[id(result)] = written[id(result)]  # a part or a literal, written where it is used
                continue
            if not _NUMBER.fullmatch(name):
                name, count = f"%{count}", count + 1
            out[id(result)] = name
            seen.setdefault(id(result), name)
    return out


def _key(op: Op, names: Mapping[int, str]) -> Any:
    operands = tuple(names.get(id(o), "") for o in op.operands)
    return op.name, operands, tuple(sorted((k, str(v)) for k, v in op.attrs.items())), op.loc, len(op.results)
