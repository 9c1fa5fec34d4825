"""The headers of torch's stable ABI: text to what they declare.

Read as text, not with a compiler: what a header declares for an older target version stands
under another `#if`, and a compiler sees one branch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from torch_abi_audit.catalog.build.headers import CONTINUATION, DIRECTIVE, enter_condition
from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STABLE_HEADER = re.compile(
    r"torch/include/(torch/(?:csrc/stable/(?:[a-z_]+/)*|headeronly/(?!cpu/)(?:[a-z_]+/)*)\w+\.h)"
)

_LITERAL_OR_COMMENT = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'(?!\w)|//[^\n]*|/\*.*?\*/', re.DOTALL
)
_MACRO = re.compile(r"([A-Za-z_]\w*)")
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])+\'|[A-Za-z_]\w*|\d[\w.\']*|::|->|\S')
_AT_LEAST = re.compile(r"^TORCH_FEATURE_VERSION >= TORCH_VERSION_(\d+)_(\d+)_(\d+)$")
_OLDER_THAN = re.compile(r"^TORCH_FEATURE_VERSION < TORCH_VERSION_(\d+)_(\d+)_(\d+)$")
_NEGATED = re.compile(r"^!\((.*)\)$")
_OTHERWISE = re.compile(r"!\((?!TORCH_FEATURE_VERSION)")
_SHIM = re.compile(r"(?:aoti_torch|torch|aoti_record_function)_\w+")
_DISPATCHER = re.compile(r"(?:aoti_)?torch_call_dispatcher")
_ATEN = "aten::"
_ACCESS = frozenset({"public", "private", "protected"})
_CLOSING = {"(": ")", "{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Declared:
    """One thing that the headers declare.

    Attributes:
        name: With its namespaces.
        kind: ``function``, ``method``, ``class``, ``type`` or ``macro``.
        target: The release that a `TORCH_FEATURE_VERSION` guard asks for, e.g. ``2.10.0``.
        until: The release from which on a guard leaves it out.
        alias: The name that a using-declaration takes it from.
        calls: The shims that its code calls.
        needs: Those of them that it calls for the oldest target version.
        operators: The operators of ATen that it calls through the dispatcher.
    """

    name: str
    kind: str
    target: str | None = None
    until: str | None = None
    alias: str | None = None
    calls: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()


class _Token(NamedTuple):
    text: str
    conditions: tuple[str, ...]


@dataclass
class _Scope:
    """A namespace or class that is open, and how it closes."""

    names: tuple[str, ...]
    closing: str = "}"
    of_class: bool = False
    public: bool = True
    buffer: list[_Token] = field(default_factory=list)


def stable_declarations(text: str) -> list[Declared]:
    """Return what a header declares outside of functions, under any condition, in order.

    Args:
        text: The header's source. Macros are not expanded.

    Raises:
        AuditError: Its braces or preprocessor directives do not match.
    """
    tokens, macros = _tokens(text)
    return [*macros, *_Reader(tokens).read()]


def _tokens(text: str) -> tuple[list[_Token], list[Declared]]:
    """Return the tokens with the conditions that they are under, and the macros."""
    text = CONTINUATION.sub(" ", text)
    text = _LITERAL_OR_COMMENT.sub(lambda m: m[0] if m[0][0] in "\"'" else " ", text)
    found: list[_Token] = []
    macros: list[Declared] = []
    conditions: list[str] = []
    for line in text.splitlines():
        directive = DIRECTIVE.match(line)
        if directive is None:
            # Of other alternatives the first: two of them can open the same brace.
            if not any(_OTHERWISE.match(condition) for condition in conditions):
                now = tuple(conditions)
                found += [_Token(token, now) for token in _TOKEN.findall(line)]
        elif directive[1] == "define":
            body = [_Token(token, tuple(conditions)) for token in _TOKEN.findall(directive[2])]
            macros.append(_declared(body[0].text, "macro", body[:1], body[1:]))
        else:
            try:
                enter_condition(conditions, directive[1], " ".join(directive[2].split()))
            except IndexError as error:
                raise AuditError(f"a header with an unbalanced #{directive[1]}") from error
    return found, macros


def _declared(name: str, kind: str, head: Sequence[_Token], body: Sequence[_Token]) -> Declared:
    target, until = _guards(head[0].conditions)
    calls, needs, operators = set(), set(), set()
    for place, token in enumerate(body[:-1]):
        if not _SHIM.fullmatch(token.text) or body[place + 1].text != "(":
            continue
        calls.add(token.text)
        if _guards(token.conditions)[0] == target:
            needs.add(token.text)
        following = [item.text.strip('"') for item in body[place + 2 : place + 5]]
        if _DISPATCHER.fullmatch(token.text) and following[0].startswith(_ATEN):
            operators.add(operator_name(following[0].removeprefix(_ATEN), following[2]))
    return Declared(
        name=name,
        kind=kind,
        target=target,
        until=until,
        calls=tuple(sorted(calls)),
        needs=tuple(sorted(needs)),
        operators=tuple(sorted(operators)),
    )


def operator_name(name: str, overload: str) -> str:
    """Return an operator's name as schemas have it: ``sum.dim_IntList``."""
    return f"{name}.{overload}" if overload else name


def _guards(conditions: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the releases that conditions are met from, and up to."""
    target = until = None
    for condition in conditions:
        negated = _NEGATED.match(condition)
        text = negated[1] if negated else condition
        at_least, older = _AT_LEAST.match(text), _OLDER_THAN.match(text)
        if negated:
            at_least, older = older, at_least
        if at_least:
            target = ".".join(at_least.groups())
        if older:
            until = ".".join(older.groups())
    return target, until


class _Reader:
    """Reads declarations out of the tokens of a header."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._found: list[Declared] = []
        self._scopes = [_Scope((), closing="")]

    def read(self) -> list[Declared]:
        while self._place < len(self._tokens):
            self._next()
        if len(self._scopes) != 1:
            raise AuditError(f"a header with an open {'::'.join(self._scopes[-1].names)}")
        return self._found

    def _next(self) -> None:
        scope, token = self._scopes[-1], self._tokens[self._place]
        buffer = scope.buffer
        self._place += 1
        match token.text:
            case "HIDDEN_NAMESPACE_BEGIN":
                names = self._group()
                self._open(_Scope(tuple(_words(names)), closing="HIDDEN_NAMESPACE_END"))
            case "HIDDEN_NAMESPACE_END":
                self._group()
                self._close(token.text)
            case "}":
                self._close("}")
            case ";":
                self._statement(_stripped(buffer))
                buffer.clear()
            case "{":
                self._block(_stripped(buffer))
            case ":" if buffer and buffer[-1].text in _ACCESS:
                scope.public = buffer[-1].text == "public"
                buffer.clear()
            case _:
                buffer.append(token)

    def _open(self, scope: _Scope) -> None:
        outer = self._scopes[-1]
        outer.buffer.clear()
        scope.names = (*outer.names, *scope.names)
        self._scopes.append(scope)

    def _close(self, closing: str) -> None:
        if self._scopes[-1].closing != closing:
            raise AuditError(f"a header with an unbalanced {closing}")
        self._scopes.pop()

    def _group(self) -> list[_Token]:
        """Return what is between the parentheses or braces that open here, and pass them."""
        opening = self._following
        closing, depth, start = _CLOSING.get(opening, ""), 0, self._place + 1
        while self._place < len(self._tokens):
            text = self._tokens[self._place].text
            self._place += 1
            depth += (text == opening) - (text == closing)
            if depth == 0:
                return self._tokens[start : self._place - 1]
        raise AuditError(f"a header with an unbalanced {opening}")

    def _block(self, head: list[_Token]) -> None:
        """Enter a namespace or class, or pass a function's body, whose brace has been read."""
        words = [token.text for token in head]
        if "namespace" in words:
            self._open(_Scope(tuple(_words(head[words.index("namespace") + 1 :]))))
        elif words[:1] == ["extern"]:
            self._open(_Scope(()))
        elif "enum" in words:
            names = _words(head[words.index("enum") + 1 :])
            names = [name for name in names if name not in {"class", "struct"}]
            self._add(names[:1], "type", head, [])
            self._pass_block()
        elif (name := _class_name(words)) is not None:
            self._add([name], "class", head, [])
            public = "class" not in words
            self._open(_Scope((name,), of_class=True, public=public))
        elif (name := _function_name(words)) is not None:
            body = self._pass_block()
            # Members that are initialised with braces stand before the body.
            while self._following in {",", "{"}:
                while self._following not in {"{", ""}:
                    self._place += 1
                self._place += 1
                body += self._pass_block()
            self._function(name, head, body)
            self._scopes[-1].buffer.clear()
        else:
            self._pass_block()  # an operator's body, or the value of a variable
            if self._following != ";":
                self._scopes[-1].buffer.clear()

    @property
    def _following(self) -> str:
        """The next token; empty at the end, where the braces of a header do not match."""
        return self._tokens[self._place].text if self._place < len(self._tokens) else ""

    def _pass_block(self) -> list[_Token]:
        self._place -= 1
        return self._group()

    def _statement(self, head: list[_Token]) -> None:
        match words := [token.text for token in head]:
            case ["using", "namespace", *_] | ["friend" | "typedef" | "static_assert", *_]:
                return
            case ["using", name, "=", *_]:
                self._add([name], "type", head, [])
            case ["using", *names] if "operator" not in names and "=" not in names:
                found = self._add(names[-1:], "type", head, [])
                if found is not None:
                    self._found[-1] = replace(found, alias="".join(names))
            case _ if (function := _function_name(words)) is not None:
                self._function(function, head, [])

    def _function(self, name: str, head: list[_Token], body: Sequence[_Token]) -> None:
        names = [*self._scopes[-1].names, *name.split("::")]
        if names[-1:] == names[-2:-1]:
            # What a constructor calls is what the class calls.
            self._add(name.split("::")[:-1], "class", head, body)
        else:
            method = self._scopes[-1].of_class or "::" in name
            self._add(name.split("::"), "method" if method else "function", head, body)

    def _add(
        self, names: Sequence[str], kind: str, head: list[_Token], body: Sequence[_Token]
    ) -> Declared | None:
        scopes = self._scopes
        if not head or not all(scope.public for scope in scopes):
            return None
        found = _declared("::".join((*scopes[-1].names, *names)), kind, head, body)
        self._found.append(found)
        return found


def _words(tokens: Sequence[_Token]) -> list[str]:
    """Return the names in front of anything in parentheses."""
    found: list[str] = []
    for token in tokens:
        if token.text in {"(", "__attribute__", ":"}:
            break
        if token.text.isidentifier():
            found.append(token.text)
    return found


def _stripped(tokens: Sequence[_Token]) -> list[_Token]:
    """Leave out what stands before a declaration: template parameters, attributes, macros."""
    rest = list(tokens)
    while rest:
        words = [token.text for token in rest]
        if words[0] == "template":
            rest = rest[_after_angles(words, 1) :]
        elif words[:2] == ["[", "["]:
            rest = rest[_after(words, 0) :]
        elif words[1:2] == ["("] and (words[0].isupper() or words[0] == "__attribute__"):
            rest = rest[_after(words, 1) :]
        else:
            return rest
    return rest


def _after(words: Sequence[str], start: int) -> int:
    """Return the place after a group in brackets."""
    depth = 0
    for place in range(start, len(words)):
        depth += (words[place] in _CLOSING) - (words[place] in _CLOSING.values())
        if depth == 0:
            return place + 1
    return len(words)


def _after_angles(words: Sequence[str], start: int) -> int:
    """Return the place after template arguments; what is in parentheses does not count."""
    depth, place = 0, start
    while place < len(words):
        if words[place] == "(":
            place = _after(words, place)
            continue
        depth += (words[place] == "<") - (words[place] == ">")
        place += 1
        if depth == 0:
            return place
    return len(words)


def _class_name(words: Sequence[str]) -> str | None:
    """Return the name of the class that is defined, None for anything else."""
    for place, word in enumerate(words):
        if word == "(":
            return None
        if word in {"class", "struct", "union"}:
            rest = list(words[place + 1 :])
            while rest[:1] and (rest[0].isupper() or rest[0] == "alignas"):
                rest = rest[_after(rest, 1) if rest[1:2] == ["("] else 1 :]
            name = "".join(_until_base(rest))
            return name or None
    return None


def _until_base(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word in {":", "final"}:
            return
        yield word


def _function_name(words: Sequence[str]) -> str | None:
    """Return the name of the function that is declared, with its class where it stands outside."""
    place = 0
    while place < len(words) and words[place] != "(":
        if words[place] in {"operator", "=", "~"}:
            return None
        place = _after_angles(words, place) if words[place] == "<" else place + 1
    if place in {0, len(words)} or not words[place - 1].isidentifier():
        return None
    start = place - 1
    while start >= 2 and words[start - 1] == "::" and words[start - 2].isidentifier():
        start -= 2
    return "".join(words[start:place])
