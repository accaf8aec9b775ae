"""Where in the model each recorded call of an op is.

An op with parameters has their common name: linear with bert.encoder.layer.3.output.dense.weight and .bias is at
bert.encoder.layer.3.output.dense.  An op without parameters is in the block of the nearest function that led to it: the common
name of all parameters that ops below that call of the function have, with the name of the op: dropout beside that linear is at
bert.encoder.layer.3.output.dropout.  Where parameters have nothing in common, the function gives its name: loss_forward, `loss`.

A nested op is below the op that calls it.  A backward is where the forward with the same cache is.  The second call at the same
place since the last update, for example on the perturbed embeddings, has #2 after its name, the third #3.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple

from minixl.backend import Call, op

OPERATOR = op(lambda: None).__code__           # what every decorated op runs first


class Found(NamedTuple):
    """A finished call of an op, and how it came about."""

    call: Call
    frames: list[FrameType]          # that of the decorator, then those that led to it; they must be alive, to be told apart
    parameters: dict[str, str]       # argument -> name of the parameter that it is
    phase: int                       # number of updates before it


class Site(NamedTuple):
    """The place of a call."""

    name: str
    depth: int                       # number of ops that led to it
    forward: int | None              # of a backward: the index of its forward call


def base_name(name: str) -> str:
    """Return the name of an op without _forward or _backward."""
    return name.removesuffix("_forward").removesuffix("_backward")


def sites_of(found: Sequence[Found]) -> list[Site]:
    """Return the site of every call; nested calls come before the one that makes them."""
    outer = [[frame for frame in one.frames[1:] if frame.f_code is OPERATOR] for one in found]
    index_of = {id(one.frames[0]): i for i, one in enumerate(found)}
    forwards = {(base_name(one.call.name), id(one.call.result[1])): i for i, one in enumerate(found)
                if one.call.name.endswith("_forward") and isinstance(one.call.result, tuple)}
    partner = [forwards.get((base_name(one.call.name), id(one.call.arguments.get("cache"))))
               if one.call.name.endswith("_backward") else None for one in found]
    below = _parameters_below(found, partner)
    names: dict[int, str] = {}
    seen: Counter[tuple[int, bool, str]] = Counter()
    for i in sorted(range(len(found)), key=lambda i: (len(outer[i]), i)):
        one, name = found[i], base_name(found[i].call.name)
        backward, held = one.call.name.endswith("_backward"), partner[i]
        if held is not None:
            names[i] = names[held]
            continue
        if outer[i]:
            place = f"{names[index_of[id(outer[i][0])]]}.{name}"
        else:
            place = common(list(one.parameters.values())) or _in_block(one, name, below)
        seen[one.phase, backward, place] += 1
        count = seen[one.phase, backward, place]
        names[i] = place if count == 1 else f"{place}#{count}"
    return [Site(names[i], len(outer[i]), partner[i]) for i in range(len(found))]


def common(parameters: Sequence[str]) -> str:
    """Return the part of the names, in whole words between dots, that all parameters share, without the last word."""
    parts = [name.split(".")[:-1] for name in parameters]
    shared = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return ".".join(shared)


def _parameters_below(found: Sequence[Found], partner: Sequence[int | None]) -> dict[int, list[str]]:
    """Return for every frame, by its id, the parameters of all ops below it.  partner: the forward of every backward."""
    below: dict[int, list[str]] = defaultdict(list)
    for one, forward in zip(found, partner, strict=True):
        parameters = one.parameters if forward is None else found[forward].parameters
        for frame in one.frames[1:]:
            below[id(frame)] += parameters.values()
    return below


def _in_block(one: Found, name: str, below: dict[int, list[str]]) -> str:
    """Return the site of an op without parameters."""
    for frame in one.frames[1:]:
        if below[id(frame)]:
            function = frame.f_code.co_name
            block = common(below[id(frame)]) or (base_name(function) if function != base_name(function) else "")
            return f"{block}.{name}" if block else name
    return name
