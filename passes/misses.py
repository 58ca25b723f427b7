"""Why a picture does not stand where it nearly does: both are walked side by side to where they part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dsv4c.ir.core import Op, Value

from .graph import Graph, place
from .match import Matcher, orders
from .picture import Picture

Miss = tuple[int, str]  # how many ops of the picture are there, and what is not
NONE: Miss = (0, "")
PARTINGS = 4  # a place that differs in more places is no near miss; so hopeless ones cost little


def hopeless(picture: Picture, graph: Graph) -> bool:
    """Whether so many kinds of ops are missing that the picture cannot stand anywhere, nor nearly."""
    return len(picture.names - graph.by_name.keys()) > PARTINGS


def near_miss(matcher: Matcher, at: Op) -> Miss:
    """What keeps ``at`` from making the first root, if a third of the picture stands there; else NONE."""
    first = matcher.picture.roots[0]
    _, number = matcher.picture.producers[id(first)]
    if number >= len(at.results):
        return NONE
    agreed, why = _walk(matcher, first, at.results[number])
    if 3 * agreed < matcher.picture.size:
        return NONE
    if not why:
        matcher.match(at)
        why = _missing(matcher) or matcher.clash or "operands do not fit each other"
    return agreed, why


def beheaded(matcher: Matcher) -> Iterator[tuple[Op, Miss]]:
    """Ops that make all that the first root is computed from, while the root itself is something else."""
    root, number = matcher.picture.producers[id(matcher.picture.roots[0])]
    for operand in root.operands:
        made = matcher.picture.producers.get(id(operand))
        size = len(_below(matcher, operand, set()))
        if made is None or 2 * size < matcher.picture.size:
            continue
        for op in matcher.graph.by_name.get(made[0].name, []):
            value = op.results[made[1]] if len(op.results) > made[1] else None
            if value is not None and matcher.alike(operand, value):
                users = matcher.graph.users(value)
                if not any(len(u.results) > number and matcher.same_head(root.results[number], u.results[number])
                           for u in users):  # fmt: skip
                    yield op, (size, f"expected {_wanted(matcher, root)} of {place(op)}, found {_all(users)}")


def _walk(matcher: Matcher, p: Value, s: Value) -> Miss:
    """Ops that agree from two values down, and the first place where they part; empty if they do not."""
    seen: set[int] = set()
    agreed, partings, todo = set[int](), list[str](), [(p, s)]
    while todo and len(partings) <= PARTINGS:
        p, s = todo.pop()
        made = matcher.picture.producers.get(id(p))
        if matcher.alike(p, s):
            _below(matcher, p, agreed)
        elif made is None:
            partings.append(_parting(matcher, p, s))
        elif id(made[0]) not in seen:
            seen.add(id(made[0]))
            if matcher.same_head(p, s):
                agreed.add(id(made[0]))
            else:
                partings.append(_parting(matcher, p, s))
            todo += reversed(_onwards(matcher, made[0], p, s))
    return (len(agreed), next(iter(partings), "")) if len(partings) <= PARTINGS else NONE


def _onwards(matcher: Matcher, mine: Op, p: Value, s: Value) -> list[tuple[Value, Value]]:
    """Pairs to look at after two values: operands in their likeliest order, or what an op too much or too few hides."""
    theirs = matcher.graph.producer(s)
    operands = theirs[0].operands if theirs else ()
    if len(operands) == len(mine.operands):
        pairs = [list(zip(order, operands, strict=True)) for order in orders(mine)]
        best = max(pairs, key=lambda order: sum(_likeness(matcher, *pair) for pair in order))
        if matcher.same_head(p, s) or any(_likeness(matcher, *pair) > 1 for pair in best):
            return best
    more = [(p, o) for o in (*operands, *_under(matcher, operands)) if matcher.same_head(p, o)]
    fewer = [(o, s) for o in mine.operands if id(o) in matcher.picture.producers and matcher.same_head(o, s)]
    return (more or fewer)[:1]


def _under(matcher: Matcher, values: Sequence[Value]) -> list[Value]:
    """Operands of the ops that make values: a rounding is two casts."""
    made = [matcher.graph.producer(value) for value in values]
    return [operand for op in made if op is not None for operand in op[0].operands]


def _likeness(matcher: Matcher, p: Value, s: Value) -> int:
    if matcher.alike(p, s):
        return 3
    return 2 if matcher.same_head(p, s) else 0


def _below(matcher: Matcher, p: Value, seen: set[int]) -> set[int]:
    """Ops of the picture at and under a value, constants not counted, added to ``seen``."""
    todo = [p]
    while todo:
        made = matcher.picture.producers.get(id(todo.pop()))
        if made is not None and made[0].operands and id(made[0]) not in seen:
            seen.add(id(made[0]))
            todo += made[0].operands
    return seen


def _parting(matcher: Matcher, p: Value, s: Value) -> str:
    """What was expected and what is there instead."""
    made, theirs = matcher.picture.producers.get(id(p)), matcher.graph.producer(s)
    if made is None:
        return f"expected a tensor of {p.dtype}, found {s.type}{f' of {place(theirs[0])}' if theirs else ''}"
    mine = made[0]
    if theirs is None:
        return f"expected {_wanted(matcher, mine)}, found the parameter {s.name}"
    op = theirs[0]
    name = matcher.other_attr(mine, op) if op.name == mine.name else ""
    if name == "data":
        return f"expected {_wanted(matcher, mine)}, found {place(op)}"
    if name:
        return f"expected {mine.name} with {name}={mine.attrs[name]}, found {name}={op.attrs.get(name)} in {place(op)}"
    if op.name == mine.name and len(op.operands) != len(mine.operands):
        return f"expected {mine.name} of {len(mine.operands)} operands, found {len(op.operands)} in {place(op)}"
    return f"expected {_wanted(matcher, mine)}, found {place(op)}"


def _missing(matcher: Matcher) -> str:
    """The first op of the picture that nothing bound so far leads to: what another root lacks."""
    for op in matcher.picture.function.ops:
        if not op.operands or id(op) in matcher.bound.ops:
            continue
        known = [v for o in op.operands if (v := matcher.standing(o)) is not None]
        if not known:
            continue
        value = min(known, key=lambda v: len(matcher.graph.users(v)))
        users = matcher.graph.users(value)
        here = [user for user in users if matcher.same_head(op.results[0], user.results[0])]
        if not here:
            return f"expected {_wanted(matcher, op)} of {_said(matcher.graph, value)}, found {_all(users)}"
        fitting = [u for u in here if any(_stands(matcher, order, u) for order in orders(op))]
        if not fitting:
            found = ", ".join(_said(matcher.graph, o) for o in here[0].operands)
            return f"expected {op.name} of {_operands(matcher, op)}, found {place(here[0])} of {found}"
        matcher.bound.ops[id(op)] = fitting[0]
    return ""


def _stands(matcher: Matcher, order: Sequence[Value], user: Op) -> bool:
    """Whether operands in this order are what is bound already, constants being alike."""
    known = [matcher.standing(p) for p in order]
    return all(
        v is s or (v is None and matcher.same_head(p, s)) for p, v, s in zip(order, known, user.operands, strict=True)
    )


def _operands(matcher: Matcher, op: Op) -> str:
    said = []
    for p in op.operands:
        value, made = matcher.standing(p), matcher.picture.producers.get(id(p))
        said.append(_said(matcher.graph, value) if value else _wanted(matcher, made[0]) if made else "an operand")
    return ", ".join(said)


def _wanted(matcher: Matcher, op: Op) -> str:
    if op.name == "const":
        data: Any = op.attrs["data"]
        if (id(op), "data") in matcher.picture.open:
            return "a constant"
        return f"the constant {data[0] if len(data) == 1 else data}"
    return op.name


def _said(graph: Graph, value: Value) -> str:
    made = graph.producer(value)
    return place(made[0]) if made else f"the parameter {value.name}"


def _all(users: list[Op]) -> str:
    return ", ".join(map(place, users)) or "that it is returned"
