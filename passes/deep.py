"""Recursion as deep as a graph: a call is a generator that yields the calls it waits for, so no stack overflows."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Deep = Generator["Deep", bool, bool]


def deep(first: Deep) -> bool:
    """What a call returns, those it yields being run first and their results sent back."""
    stack, answer = [first], None
    while stack:
        try:
            # A fresh generator takes None only.
            stack.append(_resume(stack[-1], answer))
            answer = None
        except StopIteration as stop:
            stack.pop()
            answer = stop.value
    return bool(answer)


def _resume(call: Deep, answer: Any) -> Deep:
    return call.send(answer)
