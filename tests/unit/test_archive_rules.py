"""Rules about the archive and its filename."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.tags import parse_tag

from tests.builders import CATALOG, claims, shown, subject
from torch_abi_audit.claims.platform_tags import accepted_by_index
from torch_abi_audit.claims.python_tags import is_installable
from torch_abi_audit.errors import AuditError
from torch_abi_audit.model import Defect, DefectKind, Finding, Severity
from torch_abi_audit.rules import run_rules
from torch_abi_audit.rules.archive import _DEFECTS
from torch_abi_audit.targets.metadata import parse_filename

ERROR, WARNING = Severity.ERROR, Severity.WARNING


def integrity(*defects: Defect) -> list[Finding]:
    item = replace(subject({}), defects=defects)
    return [f for f in run_rules(item, CATALOG) if f.rule == "archive-integrity"]


def refused(filename: str) -> list[tuple[Severity, tuple[str, ...]]]:
    named = parse_filename(filename)
    promised = replace(
        claims("py39-none-any"), tags=named.tags, filename=filename, variant=named.variant
    )
    findings = run_rules(subject({}, promised), CATALOG)
    return [(f.severity, shown(f)) for f in findings if f.rule == "refused-filename"]


def test_every_kind_of_defect_has_its_words() -> None:
    assert set(_DEFECTS) == set(DefectKind)


def test_a_finding_for_each_kind() -> None:
    first, second = integrity(
        Defect(DefectKind.RECORD, "a", "no row in RECORD"),
        Defect(DefectKind.CASE, "b", "and B"),
        Defect(DefectKind.RECORD, "b", "no row in RECORD"),
    )
    assert (first.severity, first.libraries) == (ERROR, ())
    assert shown(first) == ("a: no row in RECORD", "b: no row in RECORD")
    assert (second.severity, second.libraries, shown(second)) == (WARNING, ("b",), ("b: and B",))


def test_a_defect_of_the_archive_as_such() -> None:
    (finding,) = integrity(Defect(DefectKind.STRUCTURE, "", "bytes after the end"))
    assert (finding.libraries, shown(finding)) == ((), ("bytes after the end",))


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("x-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", []),
        ("x-1.0-cp315-abi3.abi3t-win_amd64.whl", []),
        ("x-1.0-1-py3-none-any.whl", []),
        (
            "x-1.0-cp315t-abi3t-manylinux_2_28_x86_64.whl",
            [(ERROR, ("cp315t-abi3t-manylinux_2_28_x86_64",))],
        ),
        ("x-1.0-cp312-cp313-win_amd64.whl", [(ERROR, ("cp312-cp313-win_amd64",))]),
        ("x-1.0-cp315-abi2026-win_amd64.whl", [(ERROR, ("cp315-abi2026-win_amd64",))]),
        (
            "x-1.0-cp312.cp313-cp313-win_amd64.whl",
            [(WARNING, ("cp312-cp313-win_amd64",))],
        ),
        ("x-1.0-py3-none-linux_x86_64.whl", [(WARNING, ("linux_x86_64",))]),
        # One that nobody knows beside one that installers take.
        (
            "x-1.0-py3-none-manylinux_2_28_x86_64.macosx_11_1_arm64.whl",
            [(WARNING, ("macosx_11_1_arm64",))],
        ),
        (
            "x-1.0-py3-none-manylinux_2_28_amd64.macosx_11_1_arm64.whl",
            [(ERROR, ("macosx_11_1_arm64", "manylinux_2_28_amd64"))],
        ),
        ("x-1.0-py3-none-macosx_11_1_arm64.whl", [(ERROR, ("macosx_11_1_arm64",))]),
        ("x-1.0-py3-none-macosx_10_9_arm64.whl", [(ERROR, ("macosx_10_9_arm64",))]),
        ("x-1.0-py3-none-manylinux_2_28_amd64.whl", [(ERROR, ("manylinux_2_28_amd64",))]),
        ("x-1.0-cp3-none-win_amd64.whl", [(ERROR, ("cp3-none-win_amd64",))]),
        ("x-1.0-py3-none-any-cu128.whl", [(WARNING, ())]),
        ("x-1.0-1-py3-none-any-cu128.whl", [(WARNING, ())]),
        ("X.y-1.0-py3-none-any.whl", [(WARNING, ())]),
    ],
)
def test_refused_filenames(filename: str, expected: list[tuple[Severity, tuple[str, ...]]]) -> None:
    assert refused(filename) == expected


def test_requires_python_without_the_tags_python() -> None:
    promised = claims("cp312-cp312-win_amd64", python=">=3.13")
    named = replace(promised, filename="x-1.0-cp312-cp312-win_amd64.whl")
    (finding,) = [f for f in run_rules(subject({}, named), CATALOG) if f.rule == "refused-filename"]
    assert (finding.severity, shown(finding)) == (ERROR, ("cp312-cp312",))


def test_what_is_installed_has_no_filename() -> None:
    findings = run_rules(subject({}, claims("cp312-cp313-linux_x86_64")), CATALOG)
    assert "refused-filename" not in {finding.rule for finding in findings}


@pytest.mark.parametrize(
    "filename", ["x-1.0-py3-none-any-a-b.whl", "x-1.0-py3-none-any-CU.whl", "x-1.0.whl", "x.whl"]
)
def test_names_that_are_none(filename: str) -> None:
    with pytest.raises(AuditError, match="nvalid wheel filename"):
        parse_filename(filename)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", True),
        ("py3-abi3-any", False),
        ("cp39-abi3-any", True),
        ("cp39-none-any", True),
        ("cp27-cp27mu-any", True),
        ("cp313-cp313td-any", True),
        ("cp313t-cp313t-any", False),
        ("cp39-cp310-any", False),
        ("cp3-cp312-any", False),
        ("pp311-pypy311_pp73-any", True),
    ],
)
def test_who_installs_a_tag(tag: str, expected: bool) -> None:  # noqa: FBT001
    (parsed,) = parse_tag(tag)
    assert is_installable(parsed) is expected


def test_platform_tags_of_the_index() -> None:
    taken = (
        "any win32 win_amd64 win_arm64 manylinux1_x86_64 manylinux2014_s390x musllinux_1_2_aarch64"
        " manylinux_2_39_riscv64 macosx_10_9_universal2 macosx_26_0_arm64 linux_armv7l"
        " ios_13_0_arm64_iphoneos android_24_arm64_v8a pyemscripten_2026_0_wasm32"
    )
    assert [tag for tag in taken.split() if not accepted_by_index(tag)] == []
    others = "linux_x86_64 linux_aarch64 macosx_14_2_arm64 manylinux_2_28_mips win64"
    assert [tag for tag in others.split() if accepted_by_index(tag)] == []
