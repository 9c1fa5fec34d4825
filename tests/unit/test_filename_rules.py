"""What is said of tags and filenames, and what is advised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import CATALOG, claims, dll, fix_of, library, shown, subject, tags_of
from torch_abi_audit.model import Claims, Defect, DefectKind, Finding, Library
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.metadata import parse_filename

LINUX = "manylinux_2_28_x86_64"
CORRECT = "correct the platform tag"
FITTING = "use a Python tag and an ABI tag that fit together, as cp312-cp312"
IN_ABI_TAG = "free-threaded Python is in the ABI tag alone: cp315-cp315t, cp315-abi3t"
MODULE = library("PyObject_GetBuffer", exports=("PyInit__C",))  # in the stable ABI since 3.11


def of_rule(rule: str, libraries: dict[str, Library], promised: Claims) -> list[Finding]:
    return [f for f in run_rules(subject(libraries, promised), CATALOG) if f.rule == rule]


@pytest.mark.parametrize(
    ("filename", "said"),
    [
        ("x-1.0-cp315t-abi3t-any.whl", [("no installer takes cp315t-abi3t", IN_ABI_TAG)]),
        ("x-1.0-cp312-cp313-any.whl", [("no installer takes cp312-cp313", FITTING)]),
        (
            "x-1.0-cp312.cp315t-cp312.abi3t-any.whl",
            [("no installer takes cp315t-abi3t, cp315t-cp312", IN_ABI_TAG)],
        ),
        (
            "x-1.0-cp315-abi2026-any.whl",
            [("no installer takes cp315-abi2026: abi2026 is a draft (PEP 809)", FITTING)],
        ),
        (
            "x-1.0-cp315-abi2027t.abi2026-any.whl",
            [
                (
                    (
                        "no installer takes cp315-abi2026, cp315-abi2027t:"
                        " abi2026, abi2027t are drafts (PEP 809)"
                    ),
                    FITTING,
                )
            ],
        ),
        (
            "x-1.0-py3-none-linux_x86_64.manylinux_2_28_mips.whl",
            [
                ("no installer takes 1 tag of the platform", CORRECT),
                (
                    "the package index refuses 1 tag of the platform",
                    "auditwheel repair finds the manylinux tag that it keeps",
                ),
            ],
        ),
        (
            "x-1.0-py3-none-manylinux_2_39_loongarch64.whl",
            [("the package index refuses 1 tag of the platform", CORRECT)],
        ),
        (
            "x-1.0+cu12-py3-none-any.whl",
            [
                (
                    "the package index refuses local versions, and this is one: 1.0+cu12",
                    "publish it on an index of your own, or under a version without +",
                )
            ],
        ),
        (
            "X.y-1.0-py3-none-any.whl",
            [
                (
                    "the package index takes the name x_y, and the filename says X.y",
                    "build the wheel with a current build backend",
                )
            ],
        ),
        ("x_y-1.0-py3-none-any.whl", []),
        # Of the set nobody means cp312-cp313, and each part has one that is meant.
        ("x-1.0-cp312.cp313-cp312.cp313-any.whl", []),
    ],
)
def test_refused_filenames(filename: str, said: list[tuple[str, str]]) -> None:
    named = parse_filename(filename)
    promised = replace(claims(), tags=named.tags, filename=filename, version=named.version)
    found = of_rule("refused-filename", {}, promised)
    assert [(item.message, fix_of(item)) for item in found] == said


def test_requires_python_that_admits_none_of_the_tags() -> None:
    def found(tag: str, python: str) -> list[str]:
        promised = replace(claims(f"{tag}-win_amd64", python=python), filename="x-1.0-x.whl")
        return [item.message for item in of_rule("refused-filename", {}, promised)]

    none = "Requires-Python >=3.13 admits no Python that the tags name"
    assert found("cp312-cp312", ">=3.13") == [none]
    assert found("cp312-cp312", ">=3.12") == []
    # The tag by itself is for nobody, which is enough to say.
    assert found("cp312-cp313", ">=3.14") == ["no installer takes cp312-cp313"]
    assert found("pp311-pypy311_pp73", "") == []


def test_a_defect_is_told_once_with_what_is_not_in_the_headline() -> None:
    def found(*defects: Defect) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        item = replace(subject({}), defects=defects)
        hits = [f for f in run_rules(item, CATALOG) if f.rule == "archive-integrity"]
        return [(hit.libraries, shown(hit)) for hit in hits]

    kind = DefectKind.SYMLINK
    assert found(Defect(kind, "a", "")) == [(("a",), ())]
    assert found(Defect(kind, "a", "to b"), Defect(kind, "a", "to c")) == [
        (("a",), ("a: to b", "a: to c"))
    ]
    assert found(Defect(kind, "a", ""), Defect(kind, "b", ""), Defect(kind, "a", "")) == [
        ((), ("a", "b"))
    ]
    # What is wrong there is no file of the wheel's.
    assert found(Defect(DefectKind.METADATA, "Version", "1.1")) == [((), ("Version: 1.1",))]


def test_the_filename_and_what_is_inside() -> None:
    promised = claims(f"cp312-cp312-{LINUX}", wheel_tag="cp312-cp312-linux_x86_64")
    (found,) = of_rule("filename-tag-mismatch", {}, promised)
    assert found.message == (
        f"the filename says cp312-cp312-{LINUX}, but the WHEEL file says cp312-cp312-linux_x86_64"
    )
    assert tags_of(found) == f"cp312-cp312-{LINUX}"
    assert shown(found) == ("cp312-cp312-linux_x86_64", f"cp312-cp312-{LINUX}")
    (found,) = of_rule("filename-tag-mismatch", {}, replace(promised, wheel_tags=frozenset()))
    assert found.message == "the WHEEL file has no tags, but the filename has"


@pytest.mark.parametrize(
    ("platforms", "inside", "said"),
    [
        (
            "manylinux_2_17_x86_64.manylinux2014_x86_64",
            "manylinux2014_x86_64",
            "the filename says py3-none-manylinux_2_17_x86_64, but the WHEEL file does not",
        ),
        (
            "manylinux2014_x86_64",
            "manylinux2014_x86_64.linux_x86_64",
            "the WHEEL file says py3-none-linux_x86_64, but the filename does not",
        ),
        (
            "manylinux_2_17_x86_64.manylinux2014_x86_64",
            "linux_x86_64",
            (
                "the filename says py3-none-manylinux2014_x86_64 and 1 more, but the WHEEL file"
                " says py3-none-linux_x86_64"
            ),
        ),
    ],
)
def test_compressed_tags(platforms: str, inside: str, said: str) -> None:
    promised = claims(f"py3-none-{platforms}", wheel_tag=f"py3-none-{inside}")
    (found,) = of_rule("filename-tag-mismatch", {}, promised)
    assert found.message == said
    assert tags_of(found) == f"py3-none-{'.'.join(sorted(platforms.split('.')))}"


@pytest.mark.parametrize(
    ("promised", "libraries", "said"),
    [
        (
            claims("py3-none-any", purelib=True),
            {"a.so": library(), "b.so": library(arch="arm64"), "b.so2": library(executable=True)},
            ("the platform tag is any, but the wheel contains 3 compiled files", "error"),
        ),
        (
            claims(purelib=True),
            {"a.so": library()},
            (
                "the WHEEL file says Root-Is-Purelib: true, but the wheel contains 1 compiled file",
                "warning",
            ),
        ),
        (claims("py3-none-any"), {}, None),
        # One of two platforms is enough to be installed everywhere.
        (
            claims(f"py3-none-any.{LINUX}"),
            {"a.so": library()},
            ("the platform tag is any, but the wheel contains 1 compiled file", "error"),
        ),
        # For two systems: one is chosen at run time, unless Python or torch loads it.
        (
            claims("py3-none-any"),
            {"a.so": library(), "a.dll": dll()},
            ("the platform tag is any, but the wheel contains 2 compiled files", "warning"),
        ),
        (
            claims("py3-none-any"),
            {"a.so": library("torch_ten", needed=("libtorch_cpu.so",)), "a.dll": dll()},
            ("the platform tag is any, but the wheel contains 2 compiled files", "error"),
        ),
        (
            claims("py3-none-any"),
            {"_C.so": MODULE, "a.dll": dll()},
            ("the platform tag is any, but the wheel contains 2 compiled files", "error"),
        ),
        (
            claims("py3-none-any"),
            {"_C.cpython-312-x86_64-linux-gnu.so": MODULE, "a.dll": dll()},
            ("the platform tag is any, but the wheel contains 2 compiled files", "warning"),
        ),
        # A DLL alone, and a program.
        (
            claims("py3-none-any"),
            {"a.dll": dll()},
            ("the platform tag is any, but the wheel contains 1 compiled file", "warning"),
        ),
        (
            claims("py3-none-any"),
            {"a.pyd": dll(exports=("PyInit_a",))},
            ("the platform tag is any, but the wheel contains 1 compiled file", "error"),
        ),
        (
            claims("py3-none-any"),
            {"a": library("torch_ten", needed=("libtorch_cpu.so",), executable=True)},
            ("the platform tag is any, but the wheel contains 1 compiled file", "error"),
        ),
    ],
)
def test_compiled_members_of_pure_wheels(
    promised: Claims, libraries: dict[str, Library], said: tuple[str, str] | None
) -> None:
    found = of_rule("binaries-in-pure-wheel", libraries, promised)
    assert [(item.message, str(item.severity)) for item in found] == ([said] if said else [])
    assert [item.libraries for item in found] == ([tuple(sorted(libraries))] if said else [])


OVER = "tag-overspecific"


@pytest.mark.parametrize(
    ("tag", "python", "item", "said"),
    [
        (
            "cp312-cp312",
            "",
            library("malloc"),
            (
                "the wheel is tagged cp312-cp312, but no compiled file in it uses CPython's C API|"
                "tag the wheel py3-none, unless its Python files are for one version"
            ),
        ),
        ("cp310-abi3", "", library("malloc"), None),
        ("py312-none", "", library("malloc"), None),
        ("cp312-cp312", "", library("_PyObject_GetDictPtr", exports=("PyInit__C",)), None),
        ("cp313-cp313t", "", MODULE, None),
        (
            "cp312-cp312",
            "",
            MODULE,
            (
                "the wheel is tagged cp312-cp312, but only uses the stable ABI of Python 3.11 and"
                " newer|build with -DPy_LIMITED_API=0x030c0000 and py_limited_api=True, and tag the"
                " wheel cp312-abi3"
            ),
        ),
        (
            "cp313-cp313",
            ">=3.12",
            MODULE,
            (
                "the wheel is tagged cp313-cp313, but only uses the stable ABI of Python 3.11 and"
                " newer|build with -DPy_LIMITED_API=0x030c0000 and py_limited_api=True, and tag the"
                " wheel cp312-abi3"
            ),
        ),
        (
            "cp312.cp313-cp312.cp313",
            "",
            library("malloc"),
            (
                "the wheel is tagged cp312.cp313-cp312.cp313, but no compiled file in it uses"
                " CPython's C API|tag the wheel py3-none, unless its Python files are for one"
                " version"
            ),
        ),
        ("cp312.py3-none", "", library("malloc"), None),  # one of its tags is for all
    ],
)
def test_wheels_for_one_python(tag: str, python: str, item: Library, said: str | None) -> None:
    found = of_rule(OVER, {"_C.so": item}, claims(f"{tag}-{LINUX}", python=python))
    assert [f"{hit.message}|{fix_of(hit)}" for hit in found] == ([said] if said else [])


def test_wheels_without_tags_are_for_no_python() -> None:
    item = replace(claims(), tags=frozenset())
    assert of_rule(OVER, {"a.so": library("malloc")}, item) == []
