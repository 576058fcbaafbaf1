"""The little languages of case.json: slices of named tensors, and guidance as a function of t. Nothing is executed."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

from torch import Tensor

_STEP = re.compile(r"\[(?P<index>[^\]]*)\]|\.repeat\((?P<repeat>[\d,\s]+)\)")
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {"max": max, "min": min, "abs": abs}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def tensor_expression(text: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """E.g. "tok.pair.tokens.repeat(2,1,1)[:, :5]", or "video.long[0:1, :, 20:21] as a list of ...".

    Raises:
        ValueError: an unknown name, or something that is neither a slice nor a repeat.
    """
    expression = text.split(" as ")[0].strip()
    names = [name for name in tensors if expression.startswith(name)]
    if not names:
        raise ValueError(f"no tensor is named at the start of {text!r}")
    name = max(names, key=len)
    value, rest = tensors[name], expression[len(name) :]
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise ValueError(f"cannot read {rest!r} in {text!r}")
        if step["index"] is not None:
            value = value[tuple(_index(part) for part in step["index"].split(","))]
        else:
            value = value.repeat(*(int(part) for part in step["repeat"].split(",")))
        rest = rest[step.end() :]
    return value


def _index(text: str) -> slice | int:
    if ":" not in text:
        return int(text)
    return slice(*(int(part) if part.strip() else None for part in text.split(":")))


def guidance_expression(value: float | str) -> float | Callable[[float], float]:
    """A number, or "callable t -> 1.0 + 4.0*t" or "lambda t: ...": arithmetic, comparisons, `a if t > b else c`.

    Raises:
        ValueError: anything else; from the function, where it has no value at a t.
    """
    if not isinstance(value, str):
        return float(value)
    try:
        body = ast.parse(value.rsplit("->", 1)[-1].strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot read {value[:80]!r} as a function of t") from error
    if isinstance(body, ast.Lambda):
        body = body.body

    def function(t: float) -> float:
        try:
            return _evaluate(body, t)
        except (ArithmeticError, RecursionError, TypeError) as error:
            raise ValueError(f"{value[:80]!r} has no value at t = {t}") from error

    function(0.5)  # raises here rather than in the middle of sampling
    return function


def _evaluate(node: ast.expr, t: float) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id="t"):
            return t
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, t)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _evaluate(operand, t)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, t)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_evaluate(value, t) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_evaluate(value, t) for value in values)
        case ast.Call(func=ast.Name(id=name), args=values, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_evaluate(value, t) for value in values))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _ARITHMETIC:
            return _ARITHMETIC[type(kind)](_evaluate(left, t), _evaluate(right, t))
        case ast.Compare(left=left, ops=kinds, comparators=rest) if all(type(kind) in _COMPARISONS for kind in kinds):
            sides = [_evaluate(value, t) for value in (left, *rest)]
            pairs = zip(kinds, sides, sides[1:], strict=False)
            return all(_COMPARISONS[type(kind)](a, b) for kind, a, b in pairs)
        case ast.IfExp(test=test, body=body, orelse=other):
            return _evaluate(body if _evaluate(test, t) else other, t)
    raise ValueError(f"cannot read {ast.unparse(node)!r} as a function of t")
