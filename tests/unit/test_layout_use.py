"""What a library depends on by its imports, what it was built with, and what that makes of it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from packaging.version import Version

from tests.builders import library
from tests.unit.test_layouts import PLATFORM, facts, parsed
from torch_abi_audit.abi import built_with as built_with_module
from torch_abi_audit.abi import layouts as layouts_module
from torch_abi_audit.abi.built_with import built_with
from torch_abi_audit.abi.layouts import by_value, dependences, parameters, with_layouts
from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.catalog.build.history import layouts_file
from torch_abi_audit.catalog.build.layouts import Headers
from torch_abi_audit.catalog.build.parse import Facts, Parsed
from torch_abi_audit.catalog.layouts import Layouts, load_layouts
from torch_abi_audit.model import (
    Alternative,
    Assertion,
    BuiltWith,
    Cause,
    Cell,
    Dependence,
    LayoutChange,
    LayoutStatus,
    LibraryAudit,
    LibraryKind,
    Matrix,
    PythonAbi,
    PythonUse,
    Reason,
    ReleaseStatus,
    Sign,
    TorchAbi,
    TorchUse,
)

V9, V10, V11, V12 = map(Version, ("2.9.0", "2.10.0", "2.11.0", "2.12.0"))
RELEASES = (V9, V10, V11, V12)

UNDEFINED = "_ZN3c1019UndefinedTensorImpl10_singletonE"
LIBRARY = (
    "_ZN5torch7LibraryC1ENS0_4KindENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    "St8optionalIN3c1011DispatchKeyEEPKcj"
)
IMPL = "_ZNO5torch7Library5_implEPKcONS_11CppFunctionENS_17_RegisterOrVerifyE"
REDISPATCH = "_ZN2at4_ops3foo10redispatchEN3c1014DispatchKeySetERKNS_6TensorE"
NODE = "_ZTIN5torch8autograd4NodeE"
ITERATOR = "_ZN2at14TensorIteratorD1Ev"
BY_REFERENCE = "_ZN2at4_ops10add_Tensor4callERKNS_6TensorES4_RKN3c106ScalarE"
BY_VALUE = "_ZN2at3addERKNS_6TensorEN3c106ScalarE"

# What changes, and in which of the four releases: a letter for a layout.
HISTORY = {
    "c10::TensorImpl": "aabb",
    "c10::StorageImpl": "aaaa",
    "at::TensorIterator": "aaab",
    "torch::CppFunction": "aaaa",  # but it holds the next one
    "c10::KernelFunction": "abbb",
    "torch::autograd::Node": "a?bb",
    "c10::Scalar": "aaaa",
    "c10::DispatchKeySet": "aaaa",
    "torch::Library": "aaaa",
    "torch::_RegisterOrVerify": "aaaa",
    "c10::SizesAndStrides": "aaab",
    "c10::Holder": "aaaa",  # of an enum
}
HOLDS = {
    "torch::CppFunction": ["c10::KernelFunction"],
    "at::TensorIterator": ["c10::KernelFunction"],
    "c10::TensorImpl": ["c10::SizesAndStrides"],
    "c10::Holder": ["c10::Other"],
}
KEYS = ({"CPU": 50}, {"CPU": 50}, {"CPU": 50}, {"CPU": 49})
TYPES = (
    {"Byte": 0, "Undefined": 1, "NumOptions": 2},
    {"Byte": 0, "Char": 1, "Undefined": 2, "NumOptions": 3},
    {"Byte": 0, "Char": 1, "Undefined": 2, "NumOptions": 3},
    {"Byte": 3, "Char": 1, "Undefined": 2, "NumOptions": 0},
)
# The line of an assertion in each release, or nothing.
LINES = {
    "c10/core/TensorImpl.h": (10, 20, 20, 30),
    "c10/core/Nothing.h": (1, 1, 2, 2),
    "c10/core/StorageImpl.h": (5, 5, 5, 5),
}


def _facts(name: str, letter: str) -> Facts:
    size = 8 * (1 + "abc".index(letter))
    return facts(size, ("first", 0, "long"), holds=HOLDS.get(name, []))


def _parsed(place: int, types: Sequence[Mapping[str, int]]) -> Parsed:
    classes, unread = {}, []
    for name, history in HISTORY.items():
        if history[place] == "?":
            unread.append("c10/unread.h")
        else:
            classes[name] = _facts(name, history[place])
    enums = {
        "c10::DispatchKey": {"": 2, **KEYS[place]},
        "c10::ScalarType": {"": 1, **types[place]},
        "c10::Other": {"": 1, **types[place]},
    }
    found = parsed(classes, enums, tuple(unread))
    return replace(
        found,
        headers=found.headers | {n: "c10/unread.h" for n in classes if "?" in HISTORY[n]},
    )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Layouts:
    return _made_up(monkeypatch, TYPES)


def _made_up(monkeypatch: pytest.MonkeyPatch, types: Sequence[Mapping[str, int]]) -> Layouts:
    data = layouts_file(
        Headers(
            str(release),
            PLATFORM,
            _parsed(place, types),
            {header: [(lines[place], lines[place], "a > 0")] for header, lines in LINES.items()},
        )
        for place, release in enumerate(RELEASES)
    )
    made = Layouts(lambda: io.BytesIO(data))
    for module in (layouts_module, built_with_module):
        monkeypatch.setattr(module, "load_layouts", lambda: made)
    return made


def item(
    *imports: str,
    asserts: Mapping[str, int] | None = None,
    path: str = "x/_C.so",
    platform: str | None = PLATFORM,
    abi: TorchAbi = TorchAbi.UNSTABLE,
) -> LibraryAudit:
    told = (
        Assertion(f"/site-packages/torch/include/{header}", line, "a > 0")
        for header, line in (asserts or {}).items()
    )
    return LibraryAudit(
        path,
        replace(library(*imports), assertions=tuple(told)),
        LibraryKind.EXTENSION,
        platform,
        TorchUse(abi, unstable=imports),
        PythonUse(PythonAbi.NONE),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            LIBRARY,
            [
                "torch::Library::Kind",
                "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char>>",
                "std::optional<c10::DispatchKey>",
                "char const*",
                "unsigned int",
            ],
        ),
        (IMPL, ["char const*", "torch::CppFunction&&", "torch::_RegisterOrVerify"]),
        (UNDEFINED, []),
        (NODE, []),
        (ITERATOR, []),
        ("_ZNK3c1010TensorImpl4sizeEl", ["long"]),
        ("_ZN3c103setESt8functionIFvNS_6ScalarEiEE", ["std::function<void (c10::Scalar, int)>"]),
        ("_ZN3c101fEPFviE", ["void (*)(int)"]),
        ("_ZN3c10lsERSoNS_10DeviceTypeE", [
            "std::ostream&", "c10::DeviceType",
        ]),
        ("_ZNK3c103FooclEi", ["int"]),
        ("_ZN3c101fIiEEvT_", ["int"]),
        (
            "?zeros@at@@YA?AVTensor@1@V?$ArrayRef@_J@c10@@UTensorOptions@4@@Z",
            ["class c10::ArrayRef<__int64>", "struct c10::TensorOptions"],
        ),
        ("?defined@TensorBase@at@@QEBA_NXZ", []),
        ("??_7TensorImpl@c10@@6B@", []),
    ],
)  # fmt: skip
def test_parameters(name: str, expected: list[str]) -> None:
    declaration = demangle(name)
    assert declaration is not None
    # Releases of the demangler differ in whether a space stands between two closing brackets.
    assert [item.replace("> >", ">>") for item in parameters(declaration)] == expected


@pytest.mark.parametrize(
    "text", ["", ")", "())", "((", "f(", "f(a", "(...)", "a<b>::c", ",)", "f(,)"]
)
def test_parameters_of_what_is_no_declaration(text: str) -> None:
    assert set(parameters(text)) <= {"...", "()"}


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("c10::Scalar", ["c10::Scalar"]),
        ("c10::Scalar&&", ["c10::Scalar"]),
        ("c10::Scalar const&&", ["c10::Scalar"]),
        ("c10::Scalar&", []),
        ("c10::Scalar const&", []),
        ("c10::Scalar const*", []),
        ("c10::TensorImpl*", []),
        ("std::optional<c10::Scalar>", ["c10::Scalar"]),
        ("std::optional<c10::Scalar> const&", []),
        ("std::variant<c10::OperatorName, c10::FunctionSchema>&&", [
            "c10::OperatorName", "c10::FunctionSchema",
        ]),
        ("std::pair<at::Tensor, std::optional<c10::Scalar> >", ["at::Tensor", "c10::Scalar"]),
        ("std::vector<c10::Scalar*>", []),
        ("std::vector<c10::Scalar>::iterator", ["std::vector<c10::Scalar>::iterator"]),
        ("std::byte", ["std::byte"]),
        ("std::__1::optional<c10::Scalar>", ["c10::Scalar"]),
        ("c10::ArrayRef<at::Tensor>", ["c10::ArrayRef<at::Tensor>"]),
        ("void (*)(c10::Scalar)", []),
        ("std::function<void (c10::Scalar)>", []),
        ("class c10::Scalar", ["c10::Scalar"]),
        ("class c10::Scalar const &", []),
        ("class c10::Scalar &&", ["c10::Scalar"]),
        ("class std::optional<class c10::Scalar>", ["c10::Scalar"]),
        ("enum c10::DispatchKey", ["c10::DispatchKey"]),
        ("class c10::Scalar *", []),
    ],
)  # fmt: skip
def test_by_value(parameter: str, expected: list[str]) -> None:
    assert by_value(parameter) == expected


VALUE, OBJECT, TABLE = Dependence.VALUE, Dependence.OBJECT, Dependence.TABLE
PART = Dependence.PART
INLINED, HELD = Dependence.INLINED, Dependence.HELD


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        (("malloc",), {}),
        ((BY_REFERENCE,), {}),
        ((BY_VALUE,), {"c10::Scalar": VALUE}),
        (
            (UNDEFINED,),
            {
                "c10::TensorImpl": INLINED,
                "c10::StorageImpl": INLINED,
                "c10::SizesAndStrides": HELD,
            },
        ),
        ((LIBRARY,), {"c10::DispatchKey": VALUE, "torch::Library": OBJECT}),
        (
            (IMPL,),
            {
                "torch::CppFunction": VALUE,
                "c10::KernelFunction": PART,
                "torch::_RegisterOrVerify": VALUE,
            },
        ),
        # A key's number is its bit in a set of keys.
        ((REDISPATCH,), {"c10::DispatchKeySet": VALUE, "c10::DispatchKey": VALUE}),
        ((NODE,), {"torch::autograd::Node": TABLE}),
        (("_ZTVN5torch8autograd4NodeE",), {"torch::autograd::Node": TABLE}),
        (("_ZTSN5torch8autograd4NodeE",), {}),
        # The name of a class within another of the same name is no constructor.
        (("_ZTSN2at14TensorIterator14TensorIteratorE",), {}),
        ((ITERATOR,), {"at::TensorIterator": OBJECT, "c10::KernelFunction": HELD}),
        # The gravest counts, whichever comes first.
        (
            (ITERATOR, IMPL),
            {
                "at::TensorIterator": OBJECT,
                "torch::CppFunction": VALUE,
                "c10::KernelFunction": PART,
                "torch::_RegisterOrVerify": VALUE,
            },
        ),
        (
            (IMPL, "_ZN3c1014KernelFunctionD1Ev"),
            {
                "torch::CppFunction": VALUE,
                "c10::KernelFunction": PART,
                "torch::_RegisterOrVerify": VALUE,
            },
        ),
        (("_ZN3c106ScalarC1Ev", BY_VALUE), {"c10::Scalar": VALUE}),
        (("_ZN2at1fEN3c106HolderE",), {"c10::Holder": VALUE, "c10::Other": PART}),
        # Methods of what somebody else made ask nothing of its layout.
        (("_ZNK3c1010TensorImpl4sizeEl",), {}),
        (("?_singleton@UndefinedTensorImpl@c10@@0V12@A",), {
            "c10::TensorImpl": INLINED, "c10::StorageImpl": INLINED, "c10::SizesAndStrides": HELD,
        }),
        (("??1TensorIterator@at@@QEAA@XZ",), {
            "at::TensorIterator": OBJECT, "c10::KernelFunction": HELD,
        }),
        (("??_7Node@autograd@torch@@6B@",), {"torch::autograd::Node": TABLE}),
        (("?add@at@@YA?AVTensor@1@AEBV21@VScalar@c10@@@Z",), {"c10::Scalar": VALUE}),
        (("?f@c10@@YAXVDispatchKeySet@1@@Z",), {
            "c10::DispatchKeySet": VALUE, "c10::DispatchKey": VALUE,
        }),
        (("?f@x@@YAXW4DispatchKey@c10@@@Z",), {"c10::DispatchKey": VALUE}),
        (("?has@DispatchKeySet@c10@@QEBA_NW4DispatchKey@2@@Z",), {"c10::DispatchKey": VALUE}),
        (("?getDispatchKey@x@@YAXXZ",), {}),
        # A hostile name is not taken apart.
        (("_ZN3c10" + "4Long" * 400 + "EN3c106ScalarE",), {}),
    ],
)  # fmt: skip
def test_dependences(
    made_up: Layouts, imports: tuple[str, ...], expected: dict[str, Dependence]
) -> None:
    subject = made_up.of(PLATFORM)
    assert subject is not None
    assert dependences(item(*imports), subject) == expected
    assert dependences(item(*reversed(imports)), subject) == expected


def test_headers_whose_code_is_inlined(made_up: Layouts) -> None:
    subject = made_up.of(PLATFORM)
    assert subject is not None
    found = dependences(item(asserts={"c10/core/StorageImpl.h": 5, "c10/x.h": 1}), subject)
    assert found == {"c10::StorageImpl": INLINED}
    # Its folder tells the namespace of what it is named after.
    found = dependences(item(asserts={"ATen/TensorIterator.h": 5}), subject)
    assert found == {"at::TensorIterator": INLINED, "c10::KernelFunction": HELD}
    assert dependences(item(asserts={"c10/core/TensorIterator.h": 5}), subject) == {}


def matrix(*items: LibraryAudit, status: ReleaseStatus = ReleaseStatus.LINKS) -> Matrix:
    row = dict.fromkeys(RELEASES, Cell(status))
    return Matrix({subject.path: row for subject in items}, row)


LETTERS = {
    LayoutStatus.UNCHANGED: "=",
    LayoutStatus.CHANGED: "x",
    LayoutStatus.UNKNOWN: "?",
    None: " ",
}


def letters(row: Mapping[Version, Cell]) -> str:
    """A row as one letter a release: 2.9.0, 2.10.0, 2.11.0, 2.12.0."""
    return "".join(LETTERS[row[release].layout] for release in RELEASES)


def judged(subject: LibraryAudit, *built: Version) -> Matrix:
    known = BuiltWith(built, Sign.PIN) if built else None
    return with_layouts(matrix(subject), [subject], {subject.path: known})


@pytest.mark.parametrize(
    ("imports", "built", "row"),
    [
        ((UNDEFINED,), (V9,), "==xx"),
        ((UNDEFINED,), (V11,), "xx=x"),
        ((UNDEFINED,), (V12,), "xxx="),
        ((IMPL,), (V9,), "=xxx"),
        ((IMPL,), (V11,), "x==="),
        ((LIBRARY,), (V11,), "===x"),
        ((REDISPATCH,), (V12,), "xxx="),
        ((BY_VALUE,), (V12,), "===="),
        ((BY_REFERENCE,), (V9,), "===="),
        # A class that holds an enum is the same where the values of the enum are others.
        (("_ZN2at1fEN3c106HolderE",), (V9,), "===="),
        # Of one release the header could not be read.
        ((NODE,), (V9,), "=?xx"),
        ((NODE,), (V10,), "?=??"),  # but in what it was built with all is as it knows it
        # The worst of all that it depends on.
        ((NODE, IMPL), (V9,), "=xxx"),
        # It was built with one of several: changed where it is for each of them.
        ((UNDEFINED,), (V9, V10), "==xx"),
        ((UNDEFINED,), (V10, V11), "???x"),
        ((BY_VALUE,), RELEASES, "===="),
        ((LIBRARY,), (V11, V12), "????"),
        # Nothing tells, or it was built with a release that is not known.
        ((UNDEFINED,), (), "????"),
        ((UNDEFINED,), (Version("2.3.0"),), "????"),
        ((UNDEFINED,), (Version("2.3.0"), V9), "????"),
    ],
)
def test_rows(
    made_up: Layouts, imports: tuple[str, ...], built: tuple[Version, ...], row: str
) -> None:
    found = judged(item(*imports), *built)
    assert letters(found.libraries["x/_C.so"]) == row
    assert letters(found.row) == row


V9_1 = Version("2.9.1")


@pytest.mark.parametrize(
    ("imports", "built", "left", "row"),
    [
        # Of 2.10.0 and 2.11.0, which differ, the date leaves one.
        ((UNDEFINED,), (V10, V11), (V10,), "?=?x"),
        ((UNDEFINED,), (V10, V11), (V11,), "??=x"),
        # Nothing that the other signs show depends on it.
        ((UNDEFINED,), (V9, V10), (V9,), "==xx"),
        ((UNDEFINED,), (V9,), (V9,), "==xx"),
        # It leaves several minor releases: neither is the one of the build.
        ((UNDEFINED,), (V9, V10, V11), (V9, V10), "???x"),
        # Nor is it known which it was if all that it gives is the newest possible one.
        ((UNDEFINED,), (V10, V11), (), "???x"),
        # It was built with a release of which no layouts are known.
        ((UNDEFINED,), (V9_1, V10), (V9_1,), "????"),
        ((UNDEFINED,), (V9_1, V10), (V9, V9_1), "????"),
        # The other one is not known, but this is.
        ((UNDEFINED,), (V10, Version("2.3.0")), (V10,), "?=??"),
    ],
)
def test_what_a_date_leaves(
    made_up: Layouts,
    imports: tuple[str, ...],
    built: tuple[Version, ...],
    left: tuple[Version, ...],
    row: str,
) -> None:
    subject = item(*imports)
    known = BuiltWith(built, Sign.ASSERTIONS, 1, 1)
    dated = {subject.path: known._replace(releases=left)}
    found = with_layouts(matrix(subject), [subject], {subject.path: known}, dated)
    assert letters(found.libraries[subject.path]) == letters(found.row) == row
    without = with_layouts(matrix(subject), [subject], {subject.path: known}, {subject.path: None})
    assert "=" not in letters(without.row) or letters(without.row) == row


def test_what_changed(made_up: Layouts) -> None:
    cell = judged(item(ITERATOR, LIBRARY, UNDEFINED), V9).row[V12]
    assert cell.changes == (
        LayoutChange("c10::DispatchKey", "CPU 50 to 49", V12, grave=True),
        LayoutChange("c10::TensorImpl", "8 to 16 bytes", V11, grave=True),
        LayoutChange("at::TensorIterator", "8 to 16 bytes", V12, grave=False),
        LayoutChange("c10::KernelFunction", "8 to 16 bytes", V10, grave=False),
        LayoutChange("c10::SizesAndStrides", "8 to 16 bytes", V12, grave=False),
    )
    assert str(cell.changes[0]) == "c10::DispatchKey: CPU 50 to 49 since 2.12.0"
    assert judged(item(IMPL), V9).row[V10].changes == (
        LayoutChange("c10::KernelFunction", "8 to 16 bytes", V10, grave=True),
    )
    assert judged(item(IMPL), V10).row[V11].changes == ()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # Where there is a new type, `Undefined` has its number; what follows is no change either.
        ("_ZN2at5emptyEN3c1010ScalarTypeE", "===x"),
        # Any other enum may use such a name for what it means.
        ("_ZN2at5emptyEN3c105OtherE", "=xxx"),
    ],
)
def test_what_moves_with_each_new_type(made_up: Layouts, name: str, row: str) -> None:
    assert letters(judged(item(name), V12).row) == "xxx="
    assert letters(judged(item(name), V9).row) == row


def test_what_moved_before_a_new_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    types = (
        {"Byte": 5, "Undefined": 1, "NumOptions": 2},
        {"Byte": 0, "Undefined": 1, "NumOptions": 2},
        {"Byte": 0, "Char": 1, "Undefined": 2, "NumOptions": 3},
        {"Byte": 0, "Char": 1, "Int": 2, "Undefined": 3, "NumOptions": 4},
    )
    _made_up(monkeypatch, types)
    empty = item("_ZN2at5emptyEN3c1010ScalarTypeE")
    assert letters(judged(empty, V9).row) == "=xxx"
    for built in (V10, V11, V12):
        assert letters(judged(empty, built).row) == "x==="


def test_the_longest_name_that_is_taken_apart(made_up: Layouts) -> None:
    def name(length: int) -> str:
        ending = "EN3c106ScalarE"
        rest = length - len(f"_ZN2at000{ending}")
        return f"_ZN2at{rest}{'f' * rest}{ending}"

    subject = made_up.of(PLATFORM)
    assert subject is not None
    assert len(name(1000)) == 1000
    assert dependences(item(name(1000)), subject) == {"c10::Scalar": VALUE}
    assert dependences(item(name(1001)), subject) == {}


def test_in_no_release_did_a_type_move() -> None:
    subject = load_layouts().of(PLATFORM)
    assert subject is not None
    empty = item("_ZN2at5emptyEN3c1010ScalarTypeE")
    known = BuiltWith((subject.releases[0],), Sign.PIN)
    row = dict.fromkeys(subject.releases, Cell(ReleaseStatus.LINKS))
    found = with_layouts(Matrix({empty.path: row}, row), [empty], {empty.path: known})
    assert {cell.layout for cell in found.row.values()} == {LayoutStatus.UNCHANGED}


def test_what_does_not_link_has_no_layout(made_up: Layouts) -> None:
    subject = item(UNDEFINED)
    built = {subject.path: BuiltWith((V9,), Sign.PIN)}
    for status in (ReleaseStatus.BREAKS, ReleaseStatus.UNKNOWN):
        found = with_layouts(matrix(subject, status=status), [subject], built)
        assert letters(found.row) == letters(found.libraries[subject.path]) == "    "


def test_libraries_on_the_stable_abi_have_no_layout(made_up: Layouts) -> None:
    subject = item(UNDEFINED, abi=TorchAbi.STABLE)
    found = with_layouts(matrix(subject), [subject], {})
    assert letters(found.row) == letters(found.libraries[subject.path]) == "    "


@pytest.mark.parametrize("platform", [None, "windows_x86_64"])
def test_platforms_without_layouts(made_up: Layouts, platform: str | None) -> None:
    assert letters(judged(item(UNDEFINED, platform=platform), V9).row) == "????"


def test_the_worst_library_of_a_target_counts(made_up: Layouts) -> None:
    items = [item(UNDEFINED, path="a.so"), item(IMPL, path="b.so"), item(BY_VALUE, path="c.so")]
    built = {subject.path: BuiltWith((V11,), Sign.PIN) for subject in items}
    found = with_layouts(matrix(*items), items, built)
    assert [letters(row) for row in found.libraries.values()] == ["xx=x", "x===", "===="]
    assert letters(found.row) == "xx=x"
    found = with_layouts(matrix(*items), items, {**built, "b.so": None})
    assert letters(found.row) == "xx?x"


def test_the_worst_slice_of_a_file_counts(made_up: Layouts) -> None:
    items = [item(IMPL), item(UNDEFINED, platform="macos_x86_64")]
    built = {"x/_C.so": BuiltWith((V11,), Sign.PIN)}
    for order in (items, items[::-1]):
        assert letters(with_layouts(matrix(items[0]), order, built).row) == "x???"


def test_each_release_is_served_by_its_alternative(made_up: Layouts) -> None:
    items = [item(UNDEFINED, path=f"x_{minor}.so") for minor in (10, 12)]
    built: dict[str, BuiltWith | None] = {
        "x_10.so": BuiltWith((V10,), Sign.PIN),
        "x_12.so": BuiltWith((V12,), Sign.PIN),
    }
    known = replace(
        matrix(*items),
        alternatives={
            "x_10.so": Alternative("x_*.so", (2, 10)),
            "x_12.so": Alternative("x_*.so", (2, 12)),
        },
    )
    found = with_layouts(known, items, built)
    assert [letters(row) for row in found.libraries.values()] == ["==xx", "xxx="]
    # No library is meant for the other releases.
    assert letters(found.row) == " = ="


FIRST, SECOND = "c10/core/TensorImpl.h", "c10/core/Nothing.h"


@pytest.mark.parametrize(
    ("asserts", "pinned", "expected"),
    [
        ({}, (), None),
        ({}, (V10,), BuiltWith((V10,), Sign.PIN)),
        ({}, (V11, V10), BuiltWith((V10, V11), Sign.PIN)),
        ({FIRST: 10}, (), BuiltWith((V9,), Sign.ASSERTIONS, 1, 1)),
        ({FIRST: 20}, (), BuiltWith((V10, V11), Sign.ASSERTIONS, 1, 1)),
        ({FIRST: 20, SECOND: 2}, (), BuiltWith((V11,), Sign.ASSERTIONS, 2, 2)),
        # A pin decides between those that agree with it, and is overruled by what does not.
        ({FIRST: 20}, (V11,), BuiltWith((V11,), Sign.ASSERTIONS, 1, 1)),
        ({FIRST: 20}, (V9,), BuiltWith((V10, V11), Sign.ASSERTIONS, 1, 1)),
        # No release has these lines: a pin does not make one of them.
        ({FIRST: 11}, (), None),
        ({FIRST: 11}, (V9,), None),
        # Of four, three are enough.
        (
            {FIRST: 30, SECOND: 2, "c10/core/StorageImpl.h": 5, "c10/x.h": 1},
            (),
            BuiltWith((V12,), Sign.ASSERTIONS, 3, 4),
        ),
        ({FIRST: 30, SECOND: 2, "c10/x.h": 1}, (V12,), None),
    ],
)
def test_built_with(
    made_up: Layouts,
    asserts: dict[str, int],
    pinned: tuple[Version, ...],
    expected: BuiltWith | None,
) -> None:
    assert built_with([item(asserts=asserts)], Matrix(), pinned) == {"x/_C.so": expected}


def test_assertions_outside_of_torch_are_no_sign(made_up: Layouts) -> None:
    subject = item()
    other = replace(subject.library, assertions=(Assertion("/src/x.h", 1, "a > 0"),))
    subject = replace(subject, library=other)
    assert built_with([subject], Matrix(), [V9]) == {"x/_C.so": BuiltWith((V9,), Sign.PIN)}


def test_only_libraries_on_the_unstable_abi(made_up: Layouts) -> None:
    assert built_with([item(abi=TorchAbi.STABLE), item(abi=TorchAbi.NONE)], Matrix(), [V9]) == {}


def test_libraries_of_a_target_were_built_together(made_up: Layouts) -> None:
    items = [
        item(path="a.so", asserts={FIRST: 20}),
        item(path="b.so", asserts={SECOND: 2, "c10/core/StorageImpl.h": 5}),
        item(path="c.so"),
    ]
    assert built_with(items, Matrix(), ()) == {
        "a.so": BuiltWith((V11,), Sign.ASSERTIONS, 1, 1),
        "b.so": BuiltWith((V11,), Sign.ASSERTIONS, 2, 2),
        "c.so": BuiltWith((V11,), Sign.ASSERTIONS, 2, 2),
    }


def test_a_pin_that_a_sibling_contradicts_says_nothing(made_up: Layouts) -> None:
    items = [item(path="a.so", asserts={FIRST: 10}), item(path="b.so")]
    told = BuiltWith((V9,), Sign.ASSERTIONS, 1, 1)
    assert built_with(items, Matrix(), [V12]) == {"a.so": told, "b.so": told}


def test_one_of_no_known_release_is_not_like_its_siblings(made_up: Layouts) -> None:
    items = [item(path="a.so", asserts={FIRST: 10}), item(path="b.so", asserts={FIRST: 11})]
    told = BuiltWith((V9,), Sign.ASSERTIONS, 1, 1)
    assert built_with(items, Matrix(), [V9]) == {"a.so": told, "b.so": None}


def test_libraries_that_contradict_each_other_speak_for_themselves(made_up: Layouts) -> None:
    items = [
        item(path="a.so", asserts={FIRST: 10}),
        item(path="b.so", asserts={FIRST: 30}),
        item(path="c.so"),
    ]
    expected = {
        "a.so": BuiltWith((V9,), Sign.ASSERTIONS, 1, 1),
        "b.so": BuiltWith((V12,), Sign.ASSERTIONS, 1, 1),
        "c.so": None,
    }
    assert built_with(items, Matrix(), ()) == expected
    pin = BuiltWith((V12,), Sign.PIN)
    assert built_with(items, Matrix(), [V12]) == {**expected, "c.so": pin}


def test_alternatives_were_not_built_together(made_up: Layouts) -> None:
    items = [
        item(path="x_9.so", asserts={FIRST: 10}),
        item(path="x_12.so", asserts={FIRST: 30}),
        item(path="other_12.so"),
        item(path="common.so"),
    ]
    alternatives = {
        "x_9.so": Alternative("x_*.so", (2, 9)),
        "x_12.so": Alternative("x_*.so", (2, 12)),
        "other_12.so": Alternative("other_*.so", (2, 12)),
    }
    newer = BuiltWith((V12,), Sign.ASSERTIONS, 1, 1)
    assert built_with(items, Matrix(alternatives=alternatives), ()) == {
        "x_9.so": BuiltWith((V9,), Sign.ASSERTIONS, 1, 1),
        "x_12.so": newer,
        "other_12.so": newer,
        "common.so": None,
    }


def test_the_values_of_an_enum_of_a_class_that_is_passed() -> None:
    """torch 2.9 gave `IValue::Tag` other values, and inline code of `IValue` compares them."""
    subject = item("_ZN2at1fEN3c106IValueE")
    releases = (Version("2.8.0"), Version("2.9.0"))
    row = dict.fromkeys(releases, Cell(ReleaseStatus.LINKS))
    built = {subject.path: BuiltWith(releases[:1], Sign.PIN)}
    found = with_layouts(Matrix({subject.path: row}, row), [subject], built).row
    assert found[releases[0]].layout is LayoutStatus.UNCHANGED
    assert found[releases[1]].layout is LayoutStatus.CHANGED
    assert [change.name for change in found[releases[1]].changes] == [
        "c10::IValue::Payload::TriviallyCopyablePayload",
        "c10::IValue::Tag",
    ]
    assert found[releases[1]].changes[0].grave


def test_an_alternative_is_built_for_the_release_in_its_name(made_up: Layouts) -> None:
    subject = item(path="x_10.so", asserts={FIRST: 20})
    known = Matrix(alternatives={"x_10.so": Alternative("x_*.so", (2, 10))})
    told = BuiltWith((V10,), Sign.ASSERTIONS, 1, 1)
    assert built_with([subject], known, ()) == {"x_10.so": told}
    # Unless the assertions say that it was built with another.
    known = Matrix(alternatives={"x_10.so": Alternative("x_*.so", (2, 9))})
    assert built_with([subject], known, ()) == {"x_10.so": told._replace(releases=(V10, V11))}


def test_what_is_not_measured_is_not_told() -> None:
    """Microsoft's standard library is not to be had: offsets in torch's classes depend on it."""
    subject = item(UNDEFINED, platform="windows_x86_64")
    releases = (Version("2.12.1"), Version("2.13.0"))
    row = dict.fromkeys(releases, Cell(ReleaseStatus.LINKS))
    built = {subject.path: BuiltWith(releases[:1], Sign.PIN)}
    found = with_layouts(Matrix({subject.path: row}, row), [subject], built).row[releases[1]]
    assert found.layout is LayoutStatus.CHANGED
    assert {change.name for change in found.changes} >= {"c10::TensorImpl", "c10::StorageImpl"}
    assert not any("?" in change.detail for change in found.changes)


def test_more_symbols_than_any_library_has_are_not_taken_apart(made_up: Layouts) -> None:
    names = tuple(f"_ZN2at1fEN3c10{4 + len(str(n))}Impl{n}E" for n in range(20_001))
    assert letters(judged(item(*names), V9).row) == "????"
    assert letters(judged(item(*names[:-1]), V9).row) == "===="


def test_a_pin_to_what_does_not_link_is_no_sign(made_up: Layouts) -> None:
    subject = item()
    breaks = Cell(ReleaseStatus.BREAKS, (Reason(Cause.SYMBOL, "f", "gone"),))
    links = Cell(ReleaseStatus.LINKS)
    row = {V9: breaks, V10: links, V11: links}
    known = Matrix({subject.path: row}, row)
    assert built_with([subject], known, [V9]) == {subject.path: None}
    assert built_with([subject], known, [V9, V10]) == {subject.path: BuiltWith((V10,), Sign.PIN)}
    # Assertions that no release explains which it links with are still a sign.
    told = item(asserts={FIRST: 10})
    expected = BuiltWith((V9,), Sign.ASSERTIONS, 1, 1)
    assert built_with([told], known, ()) == {told.path: expected}
    # A matrix of two releases tells as much; one of a single torch tells nothing.
    known = Matrix({subject.path: {V9: breaks, V10: links}})
    assert built_with([subject], known, [V9]) == {subject.path: None}
    known = Matrix({subject.path: {V9: breaks}})
    assert built_with([subject], known, [V9]) == {subject.path: BuiltWith((V9,), Sign.PIN)}


def test_the_values_that_end_an_enum_are_no_change_from_either_side() -> None:
    """torch 2.10 and 2.14 add types: `ScalarType::Undefined` moves, and no other value."""
    subject = item("_ZN2at1fEN3c1010ScalarTypeE")
    releases = load_layouts().of("linux_x86_64")
    assert releases is not None
    row = dict.fromkeys(releases.releases, Cell(ReleaseStatus.LINKS))
    for base in (releases.releases[0], Version("2.11.0"), releases.releases[-1]):
        built = {subject.path: BuiltWith((base,), Sign.PIN)}
        found = with_layouts(Matrix({subject.path: row}, row), [subject], built).row
        assert {cell.layout for cell in found.values()} == {LayoutStatus.UNCHANGED}


def changes_between(symbol: str, built: str, met: str) -> dict[str, str]:
    """What the packaged data says of a library that imports a symbol."""
    subject = item(symbol)
    releases = (Version(built), Version(met))
    row = dict.fromkeys(releases, Cell(ReleaseStatus.LINKS))
    known = {subject.path: BuiltWith(releases[:1], Sign.PIN)}
    found = with_layouts(Matrix({subject.path: row}, row), [subject], known).row[releases[1]]
    return {change.name: change.detail for change in found.changes}


def test_of_an_enum_the_value_that_people_know_is_told() -> None:
    symbol = "_ZN2at1fEN3c1011DispatchKeyE"
    assert changes_between(symbol, "2.12.1", "2.13.0") == {"c10::DispatchKey": "CPU 50 to 49"}


def test_what_is_new_or_gone_is_told_as_such() -> None:
    symbol = "_ZN2at1fEN3c108ArrayRefIlEE"
    told = "base HeaderOnlyArrayRef<long> is new"
    assert changes_between(symbol, "2.9.1", "2.10.0")["c10::ArrayRef<long>"] == told
    symbol = "_ZN3c1019UndefinedTensorImpl10_singletonE"
    detail = changes_between(symbol, "2.8.0", "2.9.0")["c10::TensorImpl"]
    assert detail == "virtual function is_contiguous_custom: bool (MemoryFormat) const is gone"


def test_one_torch_does_not_tell_what_a_library_was_built_with(made_up: Layouts) -> None:
    subject = item(UNDEFINED)
    for number, layout in ((1, LayoutStatus.UNKNOWN), (2, LayoutStatus.UNCHANGED)):
        row = dict.fromkeys((V9, V10)[:number], Cell(ReleaseStatus.LINKS))
        known = Matrix({subject.path: row}, row)
        assert with_layouts(known, [subject], {subject.path: None}).row[V9].layout is layout


def test_of_several_it_may_be_built_with_the_nearest_tells(made_up: Layouts) -> None:
    """V11 is nearer to V12 than V9, since which more has changed."""
    few = judged(item(UNDEFINED, IMPL), V11).row[V12].changes
    many = judged(item(UNDEFINED, IMPL), V9).row[V12].changes
    assert len(few) < len(many)
    assert judged(item(UNDEFINED, IMPL), V9, V11).row[V12].changes == few
