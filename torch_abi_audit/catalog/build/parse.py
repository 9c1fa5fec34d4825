"""torch's C++ headers to the layouts of its classes and the values of its enums, by clang.

Clang's syntax tree has them without any code generation: sizes, offsets and bases as its
layout for the target says, and each virtual function, whether used or not.

Every release is read as C++20 and with the same standard library, so that what differs
between two releases is torch's doing and never `std`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch_abi_audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Facts of a class, in the order in which a change is looked for and told:
# [size, alignment], then bases, members, virtual functions, and what it contains.
Facts = dict[str, Any]

ROOTS = ("ATen", "c10", "caffe2", "torch")
_HEADER = re.compile(rf"(?:{'|'.join(ROOTS)})/.*\.(?:h|hpp)")
# Headers of other accelerators and operating systems, of tests, of code generation, and
# those that only another header may include: none of them says more about classes.
_SKIPPED = re.compile(
    r"ATen/(?:ops|hip|miopen|xpu|mps|metal|native/.+|cpu|test|cuda/tunable)/.*"
    r"|ATen/(?:Native|Composite|Redispatch|Registration|CUDAFunctions|\w*MetaFunctions).*"
    r"|c10/(?:test|xpu|metal|hip)/.*"
    r"|torch/csrc/(?:xpu|mps|inductor/aoti_runtime|api/include/torch/csrc)/.*"
    r"|.*/(?:tests?|coreml|xnnpack|hip|vulkan|onnx)/.*"
    r"|c10/util/complex_(?:math|utils)\.h"
    r"|ATen/(?:CollapseDims|core/CheckMemoryFormat|core/TransformationHelper)\.h"
    r"|ATen/native/(?:NonEmptyUtils|TensorCompare|layer_norm)\.h"
    r"|torch/headeronly/cpu/vec/.*"
    r"|.*(?:_impl|[-_]inl|_generated|WinSockUtils|win32-headers|google_glog|llvm_jit)\.h(?:pp)?"
)
_NAMESPACES = frozenset({"at", "c10", "c10d", "caffe2", "torch"})
_NOT_LAYOUTS = frozenset({"_ops", "std"})
_INLINE_NAMESPACES = re.compile(r"\b(?:__cxx11|__1|_V2|__debug)::")
_PLACE = re.compile(r"\((unnamed|anonymous|lambda)[^()]*\)")
# Arguments that follow from the others.
_DEFAULT_ARGUMENT = re.compile(
    r"std::(?:allocator|char_traits|hash|equal_to|less|default_delete)<.*"
)
# Templates of `std` that hold their arguments behind a pointer: who holds one depends on
# what the arguments are no more than who holds a pointer.
_POINTING = re.compile(
    r"std::(?:unique_ptr|shared_ptr|weak_ptr|function|allocator|char_traits|hash|equal_to|less"
    r"|default_delete|future|promise|shared_future|enable_shared_from_this)<"
)


@dataclass
class Parsed:
    """What the headers of one release say, for one platform.

    Attributes:
        classes: Each class: its facts.
        enums: Each enum: its size and the value of each member.
        headers: The header that defines each of them.
        unread: Headers with something that could not be parsed: what they define is unknown.
    """

    classes: dict[str, Facts] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def choose_headers(names: Iterable[str]) -> list[str]:
    """Return the headers to include, by their paths below ``include``."""
    return sorted(
        name for name in names if _HEADER.fullmatch(name) and not _SKIPPED.fullmatch(name)
    )


def parse_headers(include: Path, headers: Sequence[str], arguments: Sequence[str]) -> Parsed:
    """Parse headers together, as one translation unit.

    A header with an error in it is left out, and said.

    Args:
        include: The folder of the headers.
        headers: Which of them, by their paths in it.
        arguments: The compiler's other arguments: target and folders of system headers.

    Raises:
        AuditError: There is no clang, or nothing could be parsed.
    """
    unit = _parse(include, headers, arguments)
    broken = {
        error.location.file.name.removeprefix(f"{include}/") if error.location.file else "/"
        for error in unit.diagnostics
        # What torch asserts of layouts is true of the compilers that it is built with.
        if error.severity >= 3 and not error.spelling.startswith("static assertion failed")
    }
    outside = sorted(name for name in broken if name.startswith("/"))
    if outside:
        raise AuditError(f"headers of the system do not parse: {', '.join(outside[:3])}")
    parsed = _Reader(include, broken).read(unit)
    parsed.unread = sorted(broken)
    return parsed


def _parse(include: Path, names: Sequence[str], arguments: Sequence[str]) -> Any:
    try:
        from clang import cindex  # noqa: PLC0415 -- only whoever builds the catalog has it
    except ImportError as error:
        raise AuditError("no clang: install the dependency group build-catalog") from error
    options = cindex.TranslationUnit.PARSE_SKIP_FUNCTION_BODIES | 0x200  # go on after errors
    text = "".join(f'#include "{name}"\n' for name in names)
    return cindex.Index.create().parse(
        "all.cpp",
        [
            "-xc++",
            "-std=c++20",
            "-w",
            "-Wno-invalid-specialization",
            "-ferror-limit=0",
            f"-I{include}",
            *arguments,
        ],
        unsaved_files=[("all.cpp", text)],
        options=options,
    )


def simplify(spelling: str) -> str:
    """Return a type as it is told: without default arguments and inline namespaces.

    >>> simplify("std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char>>")
    'std::string'
    >>> simplify("std::vector<at::Tensor, std::allocator<at::Tensor>> *")
    'std::vector<at::Tensor> *'
    """
    text = _PLACE.sub(r"(\1)", _INLINE_NAMESPACES.sub("", spelling))
    if "<" in text:
        text = "".join(_without_defaults(text))
    return text.replace("std::basic_string<char>", "std::string")


def _without_defaults(text: str) -> Iterator[str]:
    """Yield the parts of a type's spelling that are no default argument."""
    position = 0
    while (start := text.find("<", position)) >= 0:
        yield text[position:start]
        end, arguments = _arguments(text, start)
        kept = [item for item in arguments if not _DEFAULT_ARGUMENT.fullmatch(item)]
        yield f"<{', '.join(map(simplify, kept or arguments))}>"
        position = end
    yield text[position:]


def _arguments(text: str, start: int) -> tuple[int, list[str]]:
    """Split the template arguments that begin at a place; return where they end, and them."""
    depth, begin, found = 0, start + 1, []
    for place in range(start, len(text)):
        character = text[place]
        if character in "<([{":
            depth += 1
        elif character in ">)]}" and text[place - 1] != "-":
            depth -= 1
        if depth == 0 or (depth == 1 and character == ","):
            found.append(text[begin:place].strip())
            begin = place + 1
        if depth == 0:
            return place + 1, found
    return len(text), [*found, text[begin:].strip()]


class _Reader:
    """Reads the classes and enums out of one translation unit."""

    def __init__(self, include: Path, broken: set[str]) -> None:
        from clang import cindex  # noqa: PLC0415

        self._include = f"{include}/"
        self._broken = broken
        self._kinds = cindex.CursorKind
        self._types = cindex.TypeKind
        self._bindings = cindex.conf.lib
        self._parsed = Parsed()
        self._dynamic: dict[str, bool] = {}

    def read(self, unit: Any) -> Parsed:
        kinds = self._kinds
        for cursor in unit.cursor.get_children():
            if cursor.kind == kinds.NAMESPACE:
                if cursor.spelling in _NAMESPACES:
                    self._scope(cursor)
            elif self._header(cursor) is not None:
                self._declaration(cursor)
        return self._parsed

    def _header(self, cursor: Any) -> str | None:
        """Return the header of torch's that a cursor is in."""
        file = cursor.location.file
        if file is None or not file.name.startswith(self._include):
            return None
        name: str = file.name.removeprefix(self._include)
        return name if name.startswith(ROOTS) else None

    def _scope(self, cursor: Any) -> None:
        for child in cursor.get_children():
            self._declaration(child)

    def _declaration(self, cursor: Any) -> None:
        kinds = self._kinds
        match cursor.kind:
            case kinds.NAMESPACE:
                if cursor.spelling not in _NOT_LAYOUTS:
                    self._scope(cursor)
            case kinds.LINKAGE_SPEC | kinds.UNEXPOSED_DECL:
                self._scope(cursor)
            case kinds.ENUM_DECL if cursor.is_definition():
                self._enum(cursor)
            case kinds.CLASS_DECL | kinds.STRUCT_DECL | kinds.UNION_DECL if cursor.is_definition():
                # Specializations count where a class contains them.
                if cursor.is_anonymous() or "<" in cursor.displayname:
                    return
                self._class(cursor.type.get_canonical())
                self._scope(cursor)

    def _enum(self, cursor: Any) -> None:
        header = self._header(cursor)
        if header is None or header in self._broken or cursor.is_anonymous():
            return
        name = simplify(cursor.type.get_canonical().spelling)
        values = {
            child.spelling: child.enum_value
            for child in cursor.get_children()
            if child.kind == self._kinds.ENUM_CONSTANT_DECL
        }
        self._parsed.enums[name] = {"": cursor.enum_type.get_size(), **values}
        self._parsed.headers[name] = header

    def _class(self, kind: Any) -> str | None:
        """Read a class, and those that it contains; return its name where it is torch's own."""
        cursor = kind.get_declaration()
        header = self._header(cursor)
        name = simplify(kind.spelling)
        if header is None or "(" in name or name.startswith("std::"):
            return None
        if name in self._parsed.classes:
            return name
        if header in self._broken or kind.get_size() < 0:
            return None
        facts: Facts = {"size": [kind.get_size(), kind.get_align()]}
        self._parsed.classes[name] = facts
        self._parsed.headers[name] = header
        holds: dict[str, None] = {}
        bases = self._bases(kind, holds)
        if bases:
            facts["bases"] = bases
        members = list(self._members(kind, 0, "", holds))
        if members:
            facts["members"] = members
        virtuals = self._virtuals(kind)
        if virtuals:
            facts["virtuals"] = virtuals
        if holds:
            facts["holds"] = sorted(holds)
        return name

    def _bases(self, kind: Any, holds: dict[str, None]) -> list[list[Any]]:
        found = []
        cursor = kind.get_declaration()
        for base in kind.get_bases():
            of = base.type.get_canonical()
            self._hold(of, holds)
            is_virtual = base.is_virtual_base()
            offset = -1 if is_virtual else base.get_base_offsetof(cursor) // 8
            found.append([simplify(of.spelling), offset])
        return found

    def _members(
        self, kind: Any, start: int, prefix: str, holds: dict[str, None]
    ) -> Iterator[list[Any]]:
        """Yield name, offset in bits and type of each member, of unnamed ones their members."""
        for member in kind.get_fields():
            of = member.type.get_canonical()
            offset = start + member.get_field_offsetof()
            if not member.spelling or "(" in member.spelling:
                yield from self._members(of, offset, prefix, holds)
                continue
            spelling = simplify(of.spelling)
            if member.is_bitfield():
                spelling += f" : {member.get_bitfield_width()}"
            yield [f"{prefix}{member.spelling}", offset, spelling]
            if "(unnamed" in spelling and of.kind == self._types.RECORD:
                yield from self._members(of, offset, f"{prefix}{member.spelling}.", holds)
            self._hold(of, holds)

    def _hold(self, kind: Any, holds: dict[str, None]) -> None:
        """Note the classes and enums of torch's that a member or base of a type contains."""
        types = self._types
        while kind.kind in {types.CONSTANTARRAY, types.VECTOR}:
            kind = kind.element_type.get_canonical()
        if kind.kind == types.ENUM:
            name = simplify(kind.spelling)
            if self._header(kind.get_declaration()) and "(" not in name:
                holds[name] = None
        elif kind.kind == types.RECORD:
            name = simplify(kind.spelling).removeprefix("const ")
            if name.startswith("std::"):
                if not _POINTING.match(name):
                    for number in range(kind.get_num_template_arguments()):
                        argument = kind.get_template_argument_type(number)
                        self._hold(argument.get_canonical(), holds)
            elif (held := self._class(_unqualified(kind))) is not None:
                holds[held] = None

    def _virtuals(self, kind: Any) -> list[str]:
        """Return the virtual functions that a class adds to its table, in their order.

        A function that overrides one of the primary base, whose table the class goes on
        with, has its slot there.
        """
        primary = self._primary(kind)
        return [
            f"{method.spelling}: {simplify(method.type.get_canonical().spelling)}"
            for method in kind.get_methods()
            if method.is_virtual_method()
            and not any(
                simplify(item.semantic_parent.type.get_canonical().spelling) in primary
                for item in self._overridden(method)
            )
        ]

    def _primary(self, kind: Any) -> set[str]:
        found: set[str] = set()
        while True:
            for base in kind.get_bases():
                of = base.type.get_canonical()
                if not base.is_virtual_base() and self._is_dynamic(of):
                    found.add(simplify(of.spelling))
                    kind = of
                    break
            else:
                return found

    def _is_dynamic(self, kind: Any) -> bool:
        name = kind.spelling
        if name not in self._dynamic:
            self._dynamic[name] = any(
                method.is_virtual_method() for method in kind.get_methods()
            ) or any(
                base.is_virtual_base() or self._is_dynamic(base.type.get_canonical())
                for base in kind.get_bases()
            )
        return self._dynamic[name]

    def _overridden(self, method: Any) -> list[Any]:
        import ctypes  # noqa: PLC0415

        from clang import cindex  # noqa: PLC0415

        function = self._bindings.clang_getOverriddenCursors
        function.argtypes = [
            cindex.Cursor,
            ctypes.POINTER(ctypes.POINTER(cindex.Cursor)),
            ctypes.POINTER(ctypes.c_uint),
        ]
        cursors, count = ctypes.POINTER(cindex.Cursor)(), ctypes.c_uint()
        function(method, ctypes.byref(cursors), ctypes.byref(count))
        return [cindex.Cursor.from_cursor_result(cursors[i], method) for i in range(count.value)]


def _unqualified(kind: Any) -> Any:
    """Return a type without `const`."""
    return kind.get_declaration().type.get_canonical()
