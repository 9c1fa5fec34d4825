"""The rules about the ABI of torch: what a finding names, of which libraries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import CATALOG, claims, dylib, fix_of, library, shown, subject
from torch_abi_audit.model import Assertion, Claims, Finding, Library, Severity, Symbol
from torch_abi_audit.rules import run_rules

TORCH = ("libtorch_cpu.so",)
PYTHON = (*TORCH, "libtorch_python.so")
STABLE = library("torch_ten", needed=TORCH)
PROMISED = claims(torch=("torch>=2.10",))


def of_rule(rule: str, libraries: dict[str, Library], promised: Claims = PROMISED) -> Finding:
    findings = run_rules(subject(libraries, promised), CATALOG)
    (found,) = [finding for finding in findings if finding.rule == rule]
    return found


@pytest.mark.parametrize(
    ("rule", "item", "message", "evidence"),
    [
        (
            "unstable-torch-symbol",
            library("_ZN2at6TensorD1Ev", "torch_ten", needed=TORCH),
            "1 library uses the unstable C++ ABI of libtorch (1 symbol)",
            ("_ZN2at6TensorD1Ev",),
        ),
        (
            "unguaranteed-shim",
            library("torch_ten", "aoti_torch_cpu_private", needed=TORCH),
            "1 library uses 1 shim of shim_cpu.h, which the stable ABI does not cover",
            ("aoti_torch_cpu_private",),
        ),
        (
            "unstable-inline-code",
            library("torch_ten", exports=(Symbol("_ZNK2at1fEv", weak=True),), needed=TORCH),
            (
                "1 library contains 1 function of torch's unstable headers, but only stable shims"
                " are imported"
            ),
            ("_ZNK2at1fEv",),
        ),
        (
            "unstable-inline-code",
            replace(
                library("torch_ten", needed=TORCH),
                assertions=(
                    Assertion("/x/torch/include/torch/csrc/stable/tensor_inl.h", 7, "a"),
                    Assertion("/x/torch/include/c10/core/TensorImpl.h", 8, "b"),
                    Assertion("/x/include/mine.h", 9, "c"),
                ),
            ),
            (
                "1 library contains code of 1 unstable torch header, but only stable shims are"
                " imported"
            ),
            ("c10/core/TensorImpl.h",),
        ),
        (
            "foreign-symbol-from-libtorch",
            library("torch_ten", "cpuinfo_initialize", needed=TORCH),
            "1 library relies on 1 third-party symbol that libtorch exports only by accident",
            ("cpuinfo_initialize",),
        ),
        (
            "unknown-shim-symbol",
            library("torch_ten", "aoti_torch_new", needed=TORCH),
            (
                "1 library imports 1 symbol that no torch up to 2.11 declares: the wheel may need a"
                " newer release"
            ),
            ("aoti_torch_new",),
        ),
        (
            "leaked-libstdcxx-symbol",
            library("torch_ten", "_ZSt9leaked_upv", needed=TORCH),
            (
                "1 library resolves 1 symbol of libstdc++ from libtorch, which exports it only"
                " since 2.10 (GLIBCXX_3.4.32)"
            ),
            ("_ZSt9leaked_upv",),
        ),
    ],
)
def test_what_one_library_of_two_does(
    rule: str, item: Library, message: str, evidence: tuple[str, ...]
) -> None:
    found = of_rule(rule, {"a.so": STABLE, "b.so": item})
    assert found.libraries == ("b.so",)
    assert found.message == message
    assert shown(found) == evidence


def test_bundled_libtorch_names_the_soname_where_there_is_one() -> None:
    bundled = library(soname="libtorch_cpu.so")
    found = of_rule("bundled-libtorch", {"x.libs/libtorch_cpu-1a2b3c4d.so": bundled})
    assert shown(found) == ("libtorch_cpu.so",)
    assert shown(of_rule("bundled-libtorch", {"x.libs/libc10.so": library()})) == ()


def test_leaks_count_for_the_platforms_of_the_catalog() -> None:
    # Nothing is known of what torch exports for another system or machine.
    libraries = {
        "a.so": library("_ZSt9leaked_upv", needed=TORCH, arch="s390x"),
        "b.so": library("torch_ten", "_ZSt9leaked_upv", needed=TORCH),
        "c.so": STABLE,
    }
    assert of_rule("leaked-libstdcxx-symbol", libraries).libraries == ("b.so",)


def test_linked_and_used_are_two_findings_of_libtorch_python() -> None:
    libraries = {
        "a.so": STABLE,
        "b.so": library("torch_ten", needed=PYTHON),
        "c.so": library("THPVariableClass", needed=PYTHON),
        # It has a symbol of libtorch's, not one that libtorch_python alone exports.
        "d.so": library("_ZN2at6TensorD1Ev", needed=PYTHON),
        # A third party's, and of both what a build of no release exports.
        "e.so": library("torch_c_dynamo_private", "_ZN2at5neverEv", needed=PYTHON),
        "f.so": library("_ZN2at5neverEv", needed=PYTHON),
    }
    findings = run_rules(subject(libraries, PROMISED), CATALOG)
    found = [finding for finding in findings if finding.rule == "links-torch-python"]
    assert [(item.severity, item.libraries, item.message) for item in found] == [
        (
            Severity.WARNING,
            ("c.so", "e.so"),
            "2 libraries use symbols of libtorch_python, which is built for one Python version",
        ),
        (
            Severity.NOTE,
            ("b.so", "d.so", "f.so"),
            "3 libraries link to libtorch_python, but no symbol of it is used",
        ),
    ]


def test_libtorch_python_of_a_platform_that_the_catalog_does_not_know() -> None:
    libraries = {"a.so": library("THPVariableClass", needed=PYTHON, arch="s390x")}
    promised = claims("py39-none-manylinux_2_28_s390x", torch=("torch>=2.10",))
    assert of_rule("links-torch-python", libraries, promised).severity is Severity.NOTE
    macos = {
        "a.so": dylib("@rpath/libtorch_cpu.dylib:torch_ten", needed=("@rpath/libtorch_cpu.dylib",))
    }
    promised = claims("py39-none-macosx_11_0_arm64", torch=("torch>=2.10",))
    rules = {finding.rule for finding in run_rules(subject(macos, promised), CATALOG)}
    assert "links-torch-python" not in rules


def test_a_search_path_that_leads_out_of_the_wheel() -> None:
    libraries = {
        "a.so": library(rpath=("$ORIGIN", "/build/lib")),
        "b.so": library(runpath=("/build/lib", "/opt/lib", "/opt/lib")),
        "c.so": library(runpath=("$ORIGIN/../x",)),
    }
    found = of_rule("runpath-outside-wheel", libraries)
    assert found.libraries == ("a.so", "b.so")
    assert found.message == "2 libraries have an absolute path in the library search path"
    assert [(item.library, item.name) for item in found.evidence] == [
        ("a.so", "/build/lib"),
        ("b.so", "/build/lib"),
        ("b.so", "/opt/lib"),
    ]
    assert fix_of(found) == "set a search path relative to the library, $ORIGIN"


def test_a_search_path_is_relative_as_the_system_spells_it() -> None:
    inside, outside = dylib(), dylib(rpath=("/build/lib",))
    promised = claims("py39-none-macosx_11_0_arm64", torch=("torch>=2.10",))
    found = of_rule("runpath-outside-wheel", {"a.dylib": outside}, promised)
    assert fix_of(found) == "set a search path relative to the library, @loader_path"
    # Beside a file for another system.
    both = {"a.so": library(rpath=("/build/lib",)), "b.dylib": inside}
    found = of_rule("runpath-outside-wheel", both)
    assert fix_of(found) == "set a search path relative to the library, $ORIGIN"


def test_what_is_not_required_is_no_evidence() -> None:
    libraries = {"a.so": library("_ZN2at6TensorD1Ev", needed=TORCH)}
    assert shown(of_rule("torch-unpinned", libraries, claims())) == ()
    assert shown(of_rule("torch-unpinned", libraries, PROMISED)) == ("torch>=2.10",)


def test_code_of_a_header_that_is_told_of_by_its_functions_is_told_of_once() -> None:
    item = library("torch_ten", exports=(Symbol("_ZNK2at1fEv", weak=True),), needed=TORCH)
    asserting = Assertion("/x/torch/include/c10/core/TensorImpl.h", 8, "b")
    item = replace(item, assertions=(asserting,))
    found = of_rule("unstable-inline-code", {"a.so": item})  # which there is one of
    assert shown(found) == ("_ZNK2at1fEv",)


def test_copies_of_torchs_libraries_are_counted() -> None:
    libraries = {"x.libs/libtorch_cpu.so": library(), "x.libs/libc10.so": library()}
    found = of_rule("bundled-libtorch", libraries)
    said = "of torch's libraries would be loaded next to the installed torch"
    assert found.message == f"bundled copies {said}"
    libraries.popitem()
    assert of_rule("bundled-libtorch", libraries).message == f"a bundled copy {said}"


def test_a_leak_is_a_warning_where_no_known_release_is_allowed() -> None:
    libraries = {"a.so": library("_ZSt9leaked_upv", needed=TORCH)}
    found = of_rule("leaked-libstdcxx-symbol", libraries, claims(torch=("torch>=2.99",)))
    assert found.severity is Severity.WARNING
