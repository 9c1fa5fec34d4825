"""torch's C headers: text to the shim functions that they declare."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch_abi_audit.errors import AuditError

SHIM_HEADER = re.compile(
    r"torch/include/(torch/csrc/(?:inductor/aoti_torch/(?:c|generated)|stable/c)/[a-z_]*shim[a-z_]*\.h)"
)
# The headers that the promise of ABI stability names (PyTorch's notes on the stable ABI,
# "LibTorch Stable ABI", 2.10 and later).
_PROMISED = re.compile(
    r"torch/csrc/(?:inductor/aoti_torch/c/shim\.h"
    r"|inductor/aoti_torch/generated/c_shim_[a-z]+\.h|stable/c/shim\.h)"
)
_DEPRECATED = re.compile(r".*/shim_deprecated\.h")

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
CONTINUATION = re.compile(r"\\\n")
DIRECTIVE = re.compile(r"[ \t]*#[ \t]*([a-z]*)[ \t]*(.*)")
_DECLARATION = re.compile(r"AOTI_TORCH_EXPORT\s+([\w\s*]+?[\s*])(\w+)\s*\(([^;{]*)\)\s*;")
_GATE = re.compile(r"TORCH_FEATURE_VERSION\s*>=\s*TORCH_VERSION_(\d+)_(\d+)_(\d+)")
_SPACE = re.compile(r"\s+")
_PARAMETER_NAME = re.compile(r"(?<=[\s*])\w+$")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One shim function as a header declares it.

    Attributes:
        name: The C name.
        signature: The return type and the parameters' types, without their names.
        gate: The release that a `TORCH_FEATURE_VERSION` guard asks for, e.g. ``2.10.0``.
        condition: The other preprocessor conditions around it.
    """

    name: str
    signature: str
    gate: str | None
    condition: str | None


def is_promised(header: str) -> bool:
    """Whether the promise of ABI stability names the header (path below ``include``)."""
    return _PROMISED.fullmatch(header) is not None


def is_deprecated(header: str) -> bool:
    """Whether the header holds shims that torch keeps for old callers only."""
    return _DEPRECATED.fullmatch(header) is not None


def declarations(text: str) -> list[Declaration]:
    """Return the functions that a header exports, in order, under any condition.

    Args:
        text: The header's source. Macro definitions are passed over, not expanded.

    Raises:
        AuditError: Its preprocessor directives do not match.
    """
    text = _COMMENT.sub(" ", CONTINUATION.sub(" ", text))
    found: list[Declaration] = []
    conditions: list[str] = []
    lines: list[str] = []  # since the last directive
    for line in [*text.splitlines(), "#"]:
        directive = DIRECTIVE.match(line)
        if directive is None:
            lines.append(line)
            continue
        found += _declared("\n".join(lines), conditions)
        lines.clear()
        try:
            enter_condition(conditions, directive[1], _SPACE.sub(" ", directive[2].strip()))
        except IndexError as error:
            raise AuditError(f"a header with an unbalanced #{directive[1]}") from error
    return found


def enter_condition(conditions: list[str], keyword: str, rest: str) -> None:
    """Apply a preprocessor directive to the stack of conditions."""
    match keyword:
        case "if" | "ifdef":
            conditions.append(rest)
        case "ifndef":
            # The first is the include guard, and no condition.
            conditions.append(f"!{rest}" if conditions else "")
        case "else":
            conditions.append(f"!({conditions.pop()})")
        case "elif":
            conditions.append(f"!({conditions.pop()}) && {rest}")
        case "endif":
            conditions.pop()


def _declared(text: str, conditions: list[str]) -> list[Declaration]:
    gates, others = [], []
    for condition in conditions:
        gate = _GATE.search(condition)
        if gate and not condition.startswith("!"):
            gates.append(".".join(gate.groups()))
        elif condition and "__cplusplus" not in condition:
            others.append(condition)
    return [
        Declaration(
            name=name,
            signature=_signature(result, parameters),
            gate=gates[-1] if gates else None,
            condition=" && ".join(others) or None,
        )
        for result, name, parameters in _DECLARATION.findall(text)
    ]


def _signature(result: str, parameters: str) -> str:
    types = [
        _SPACE.sub(" ", _PARAMETER_NAME.sub("", parameter.strip())).replace(" *", "*").strip()
        for parameter in _split(parameters)
    ]
    return f"{_SPACE.sub(' ', result).strip()}({', '.join(types)})"


def _split(parameters: str) -> list[str]:
    """Split at the commas that are not inside a function pointer's own parameters."""
    parts: list[str] = []
    depth, start = 0, 0
    for position, character in enumerate(parameters):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(parameters[start:position])
            start = position + 1
    last = parameters[start:]
    return [*parts, last] if last.strip() else parts
