"""What is said of tags and filenames, and what is advised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import CATALOG, claims, dll, fix_of, library, shown, subject, tags_of
from torch_abi_audit.model import Claims, Defect, DefectKind, Finding, Library, Member
from torch_abi_audit.rules import run_rules
from torch_abi_audit.targets.metadata import parse_filename

LINUX = "manylinux_2_28_x86_64"
FIT = "use a Python tag and an ABI tag that fit together"
MODULE = library("PyObject_GetBuffer", exports=("PyInit__C",))  # in the stable ABI since 3.11


def of_rule(rule: str, libraries: dict[str, Library], promised: Claims) -> list[Finding]:
    return [f for f in run_rules(subject(libraries, promised), CATALOG) if f.rule == rule]


@pytest.mark.parametrize(
    ("filename", "said", "fix", "fitting"),
    [
        (
            "cp315t-abi3t-any",
            "no installer accepts cp315t-abi3t",
            "tag the wheel cp315-abi3t: the ABI tag alone says free-threaded",
            "cp315-abi3t-any",
        ),
        ("cp312-cp313-any", "no installer accepts cp312-cp313", f"{FIT}: cp312-cp312", None),
        ("py3-abi3-any", "no installer accepts py3-abi3", f"{FIT}, as cp312-cp312", None),
        (
            "cp312.cp315t-cp312.abi3t-any",
            "no installer accepts cp315t-abi3t, cp315t-cp312",
            "tag the wheel cp312.cp315-abi3t.cp312: the ABI tag alone says free-threaded",
            "cp312.cp315-abi3t.cp312-any",
        ),
        (
            "cp315-abi2026-any",
            "no installer accepts cp315-abi2026: abi2026 is a draft (PEP 809)",
            "use the ABI tag abi3, or one per Python version, until installers know these",
            None,
        ),
        (
            "cp315-abi2027t.abi2026-any",
            (
                "no installer accepts cp315-abi2026, cp315-abi2027t: abi2026, abi2027t are drafts"
                " (PEP 809)"
            ),
            "use the ABI tag abi3, or one per Python version, until installers know these",
            None,
        ),
        (
            "py3-none-manylinux_2_39_loongarch64",
            "PyPI rejects the platform tag manylinux_2_39_loongarch64",
            "publish the wheel on an index of your own",
            None,
        ),
        (
            "py3-none-linux_x86_64",
            "PyPI rejects the platform tag linux_x86_64",
            "run `auditwheel repair` to get a manylinux tag",
            None,
        ),
        (
            "py3-none-macosx_11_3_arm64",
            "no installer accepts the platform tag macosx_11_3_arm64",
            "tag the wheel macosx_12_0_arm64",
            "py3-none-macosx_12_0_arm64",
        ),
        (
            "py3-none-macosx_10_9_arm64",
            "no installer accepts the platform tag macosx_10_9_arm64",
            "tag the wheel macosx_11_0_arm64",
            "py3-none-macosx_11_0_arm64",
        ),
        (
            "py3-none-manylinux_2_28_amd64.manylinux2014_arm64",
            "no installer accepts the platform tags manylinux2014_arm64, manylinux_2_28_amd64",
            "tag the wheel manylinux2014_aarch64, manylinux_2_28_x86_64",
            "py3-none-manylinux2014_aarch64.manylinux_2_28_x86_64",
        ),
        (
            "py3-none-manylinux_2_28_mips.manylinux_2_28_x86_64",
            "no installer accepts the platform tag manylinux_2_28_mips",
            "tag the wheel manylinux_2_28_x86_64",
            "py3-none-manylinux_2_28_x86_64",
        ),
        (
            "cp312-cp312.cp313-any",
            "no installer accepts cp312-cp313",
            f"{FIT}: cp312-cp312",
            None,
        ),
        (
            "cp311.cp312-cp313-any",
            "no installer accepts cp311-cp313, cp312-cp313",
            f"{FIT}: cp311-cp311",
            None,
        ),
        (
            "cp315t.py3-abi3t-any",
            "no installer accepts cp315t-abi3t, py3-abi3t",
            "tag the wheel cp315.py3-abi3t: the ABI tag alone says free-threaded",
            "cp315.py3-abi3t-any",
        ),
        (
            "cp315t-abi2026-any",
            "no installer accepts cp315t-abi2026: abi2026 is a draft (PEP 809)",
            "use the ABI tag abi3, or one per Python version, until installers know these",
            None,
        ),
        (
            "py3-none-linux_x86_64.manylinux_2_39_loongarch64",
            "PyPI rejects the platform tags linux_x86_64, manylinux_2_39_loongarch64",
            "run `auditwheel repair` to get a manylinux tag",
            None,
        ),
        (
            "py3-none-musllinux_1_2_amd64",
            "no installer accepts the platform tag musllinux_1_2_amd64",
            "tag the wheel musllinux_1_2_x86_64",
            "py3-none-musllinux_1_2_x86_64",
        ),
        # What nobody takes by its right name either is no fix.
        (
            "py3-none-linux_amd64",
            "no installer accepts the platform tag linux_amd64",
            "build with a current build backend, on the system that the wheel is for",
            None,
        ),
        (
            "py3-none-manylinux_2_28_amd64.plan9_x86",
            "no installer accepts the platform tags manylinux_2_28_amd64, plan9_x86",
            "build with a current build backend, on the system that the wheel is for",
            None,
        ),
        # Only macOS has releases without a minor number.
        (
            "py3-none-ios_13_0_arm64_iphoneos.plan9_x86",
            "no installer accepts the platform tag plan9_x86",
            "tag the wheel ios_13_0_arm64_iphoneos",
            "py3-none-ios_13_0_arm64_iphoneos",
        ),
        (
            "py3-none-macosx_new_0_arm64.macosx",
            "no installer accepts the platform tags macosx, macosx_new_0_arm64",
            "build with a current build backend, on the system that the wheel is for",
            None,
        ),
        (
            "py3-none-plan9_x86",
            "no installer accepts the platform tag plan9_x86",
            "build with a current build backend, on the system that the wheel is for",
            None,
        ),
    ],
)
def test_tags_that_are_not_accepted(
    filename: str, said: str, fix: str, fitting: str | None
) -> None:
    (found,) = refused(f"x-1.0-{filename}.whl")
    assert (found.message, fix_of(found), tags_of(found)) == (said, fix, fitting)


def test_two_kinds_of_platform_tags() -> None:
    found = refused("x-1.0-py3-none-linux_x86_64.manylinux_2_28_mips.whl")
    assert [(item.message, fix_of(item)) for item in found] == [
        (
            "no installer accepts the platform tag manylinux_2_28_mips",
            "tag the wheel linux_x86_64",
        ),
        (
            "PyPI rejects the platform tag linux_x86_64",
            "run `auditwheel repair` to get a manylinux tag",
        ),
    ]


@pytest.mark.parametrize(
    ("filename", "said"),
    [
        (
            "x-1.0+cu12-py3-none-any.whl",
            (
                "PyPI rejects local versions, but the version is 1.0+cu12",
                "publish it on an index of your own, or as 1.0",
            ),
        ),
        (
            "X.y-1.0-py3-none-any.whl",
            (
                "PyPI only accepts the normalized name x_y, but the filename says X.y",
                "build the wheel again with a current build backend",
            ),
        ),
        (
            "x-1.0-py3-none-any-cu128.whl",
            (
                (
                    "the filename has the variant label cu128, but installers and PyPI do not"
                    " accept the draft (PEP 817, PEP 825) yet"
                ),
                "publish it on an index of your own, next to a wheel without a variant label",
            ),
        ),
        ("x_y-1.0-py3-none-any.whl", None),
        ("x-1.0-py2-none-any.whl", None),  # for a Python that was
        # Nobody means cp312-cp313 of the set, and each part has one that is meant.
        ("x-1.0-cp312.cp313-cp312.cp313-any.whl", None),
    ],
)
def test_refused_filenames(filename: str, said: tuple[str, str] | None) -> None:
    found = refused(filename)
    assert [(item.message, fix_of(item)) for item in found] == ([said] if said else [])


def refused(filename: str) -> list[Finding]:
    named = parse_filename(filename)
    promised = replace(
        claims(), tags=named.tags, filename=filename, version=named.version, variant=named.variant
    )
    return of_rule("refused-filename", {}, promised)


def test_torchs_libraries_stay_out_of_a_repaired_wheel() -> None:
    """auditwheel bundles them unless they are excluded, and that is an error of its own."""
    promised = replace(claims("py3-none-linux_x86_64"), filename="x-1.0-x.whl")
    for needed, command in (
        (("libtorch_cpu.so",), "auditwheel repair --exclude 'libtorch*' --exclude 'libc10*'"),
        (("libc.so.6",), "auditwheel repair"),
    ):
        libraries = {"x/_C.so": library(needed=needed)}
        (found,) = of_rule("refused-filename", libraries, promised)
        assert fix_of(found) == f"run `{command}` to get a manylinux tag"


def test_requires_python_that_admits_none_of_the_tags() -> None:
    def found(tag: str, python: str) -> list[str]:
        promised = replace(claims(f"{tag}-win_amd64", python=python), filename="x-1.0-x.whl")
        return [item.message for item in of_rule("refused-filename", {}, promised)]

    none = "the wheel is tagged cp312-cp312, but Requires-Python >=3.13 allows no such Python"
    assert found("cp312-cp312", ">=3.13") == [none]
    assert found("cp312-cp312", ">=3.12") == []
    # The tag by itself is for nobody, which is enough to say.
    assert found("cp312-cp313", ">=3.14") == ["no installer accepts cp312-cp313"]
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
    # What has the same fix is one finding.
    duplicate, headers = Defect(DefectKind.DUPLICATE, "a"), Defect(DefectKind.HEADERS, "b", "x")
    assert found(duplicate, headers) == [
        (
            (),
            (
                "a: several members of one name, of which each installer takes another",
                "b: x",
            ),
        )
    ]
    # What is wrong there is no file of the wheel's.
    assert found(Defect(DefectKind.METADATA, "Version", "1.1")) == [((), ("Version: 1.1",))]


def test_defects_of_several_kinds_are_counted() -> None:
    kinds = (DefectKind.DUPLICATE, DefectKind.HEADERS, DefectKind.STRUCTURE)
    first = "the wheel has several members of one name, of which each installer takes another"
    for number, more in ((1, ""), (2, ", and 1 more defect"), (3, ", and 2 more defects")):
        defects = tuple(Defect(kind, f"{kind}.py") for kind in kinds[:number])
        found = run_rules(replace(subject({}), defects=defects), CATALOG)
        (message,) = [item.message for item in found if item.rule == "archive-integrity"]
        assert message == first + more


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


def test_a_platform_wheel_is_what_to_build() -> None:
    rule, libraries = "binaries-in-pure-wheel", {"a.so": library(), "b.dll": dll()}
    (found,) = of_rule(rule, libraries, claims("py3-none-any", purelib=True))
    assert fix_of(found) == "build a platform wheel, tagged for linux x86_64, windows x86_64"
    (found,) = of_rule(rule, libraries, claims(purelib=True))
    assert fix_of(found) == "set Root-Is-Purelib: false: build a platform wheel"


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


@pytest.mark.parametrize(
    ("tag", "files", "fix"),
    [
        # What uses nothing of Python is for the stable ABI as much as for any.
        ("cp312-cp312", {"_C.abi3.so": MODULE, "b.so": library()}, "tag the wheel cp312-abi3"),
        # One module is bound to the Python that it was built with.
        ("cp312-cp312", {"_C.so": MODULE, "_D.so": library("_PyObject_GetDictPtr")}, None),
        # No free-threaded Python before 3.15 takes a wheel for the stable ABI.
        ("cp313-cp313.cp313t", {"_C.so": MODULE}, None),
    ],
)
def test_all_libraries_decide_whether_a_wheel_is_for_one_python(
    tag: str, files: dict[str, Library], fix: str | None
) -> None:
    found = of_rule(OVER, files, claims(f"{tag}-{LINUX}"))
    assert [fix_of(hit) for hit in found] == ([fix] if fix else [])


def test_what_can_not_be_read_may_be_for_one_python() -> None:
    item = subject({"a.so": library()}, claims(f"cp312-cp312-{LINUX}"))
    assert OVER in {found.rule for found in run_rules(item, CATALOG)}
    item = replace(item, unreadable=(Member("b.so", (), verified=True, error="cut"),))
    assert OVER not in {found.rule for found in run_rules(item, CATALOG)}


def test_wheels_without_tags_are_for_no_python() -> None:
    item = replace(claims(), tags=frozenset())
    assert of_rule(OVER, {"a.so": library("malloc")}, item) == []


def test_what_can_not_be_read() -> None:
    def found(*paths: str) -> Finding:
        unread = tuple(Member(path, (), verified=True, error="cut") for path in paths)
        (hit,) = [
            f
            for f in run_rules(replace(subject({}), unreadable=unread), CATALOG)
            if f.rule == "unreadable-library"
        ]
        return hit

    one = found("a.so")
    assert (one.message, shown(one)) == ("the library can't be read: cut", ())
    two = found("a.so", "b.so")
    assert (two.message, two.libraries) == ("2 libraries can't be read", ("a.so", "b.so"))
    assert shown(two) == ("a.so: cut", "b.so: cut")


def test_a_tag_that_is_accepted_is_not_corrected() -> None:
    (found,) = refused("x-1.0-py3-none-macosx_10_9_x86_64.plan9_x86.whl")
    assert fix_of(found) == "tag the wheel macosx_10_9_x86_64"
    assert tags_of(found) == "py3-none-macosx_10_9_x86_64"
