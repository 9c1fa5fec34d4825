from __future__ import annotations

import re

import pytest

from tests.builders import CATALOG, claims, library, subject
from torch_abi_audit.model import Claims, Library, Member, Severity, Subject, TorchAbi, Verdict
from torch_abi_audit.rules import RULES, run_rules
from torch_abi_audit.verdict import judge

TORCH = ("libtorch_cpu.so",)
STABLE = library("torch_ten", needed=TORCH)
UNSTABLE = library("_ZN2at6TensorD1Ev", needed=TORCH)
LINUX = "manylinux_2_28_x86_64"


def found(item: Subject) -> dict[str, Severity]:
    return {finding.rule: finding.severity for finding in run_rules(item, CATALOG)}


def found_for(libraries: dict[str, Library], promised: Claims) -> dict[str, Severity]:
    return found(subject(libraries, promised))


def test_the_registry() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert rule.title


def test_findings_come_by_severity() -> None:
    findings = run_rules(subject({"a.so": UNSTABLE}), CATALOG)
    assert [finding.rule for finding in findings] == [
        "unstable-torch-symbol",
        "torch-unpinned",
        "torch-undeclared",
    ]


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        ("torch>=2.10", {}),
        ("torch>=2.11", {}),
        ("torch==2.11.*", {}),
        ("torch>=2.9", {"torch-floor-understated": Severity.ERROR}),
        ("torch", {"torch-floor-understated": Severity.ERROR}),
        ("torch<3,!=2.1.0,!=2.8.0", {"torch-floor-understated": Severity.ERROR}),
        ("torch>2.9.1", {}),  # no release lies between
    ],
)
def test_floor_understated(torch: str, expected: dict[str, Severity]) -> None:
    assert found_for({"a.so": STABLE}, claims(torch=(torch,))) == expected


def test_floor_understated_names_symbol_release_and_line() -> None:
    libraries = {"a.so": STABLE, "b.so": library("torch_eleven", needed=TORCH)}
    (finding,) = run_rules(subject(libraries, claims(torch=("torch>=2.10",))), CATALOG)
    assert finding.library == "b.so"
    assert finding.evidence == ("torch_eleven",)
    assert finding.message == (
        "the metadata admits torch 2.10.0, the wheel needs 2.11.0 or newer:"
        " torch_eleven first appeared in 2.11.0"
    )
    assert finding.help == (
        "Requires-Dist: torch>=2.11, or build with -DTORCH_TARGET_VERSION=0x020a000000000000"
    )


def test_floor_of_the_promise() -> None:
    libraries = {"a.so": library("aoti_torch_old", needed=TORCH)}
    (finding,) = run_rules(subject(libraries, claims(torch=("torch>=2.8",))), CATALOG)
    assert finding.rule == "torch-floor-understated"
    assert finding.help == "Requires-Dist: torch>=2.9"
    assert "the stable ABI is promised since 2.9.0" in finding.message


def test_undeclared() -> None:
    assert found_for({"a.so": STABLE}, claims()) == {"torch-undeclared": Severity.WARNING}
    assert found_for({"a.so": library("malloc")}, claims()) == {}
    linked = {"a.so": library("malloc", needed=TORCH)}
    (finding,) = run_rules(subject(linked, claims()), CATALOG)
    assert (finding.rule, finding.help) == ("torch-undeclared", "add Requires-Dist: torch")


def test_undeclared_for_some() -> None:
    promised = claims(torch=('torch>=2.10; python_version >= "3.12"',))
    (finding,) = run_rules(subject({"a.so": STABLE}, promised), CATALOG)
    assert finding.message.endswith("only under a marker that does not hold everywhere")


@pytest.mark.parametrize(
    ("torch", "unpinned"),
    [
        (("torch==2.10.0",), False),
        (("torch==2.9.*",), False),
        (("torch>=2.10,<2.11",), False),
        (("torch>=2.9,<2.11",), True),
        (("torch>=2.11",), True),
        (("torch",), True),
        ((), True),
        (("torch==2.77.*",), False),  # a release that the catalog does not know, and one only
    ],
)
def test_unpinned(torch: tuple[str, ...], unpinned: bool) -> None:  # noqa: FBT001
    assert ("torch-unpinned" in found_for({"a.so": UNSTABLE}, claims(torch=torch))) is unpinned


def test_unpinned_says_what_is_admitted() -> None:
    def message(*torch: str) -> str:
        findings = run_rules(subject({"a.so": UNSTABLE}, claims(torch=torch)), CATALOG)
        (only,) = [finding.message for finding in findings if finding.rule == "torch-unpinned"]
        return only.rpartition("the metadata ")[2]

    assert message("torch>=2.9,<2.11") == "admits torch 2.9 to 2.10"
    assert message("torch>=2.10") == "admits torch 2.10 to 2.11 and any later release"
    assert message("torch>=2.11") == "admits torch 2.11 and any later release"
    assert message("torch>2.11") == "admits any later release of torch"
    assert message("torch") == "admits every release of torch"
    assert message() == "requires no release of torch"


def test_torch_itself_needs_no_torch() -> None:
    libraries = {
        "torch/lib/libtorch_cpu.so": library("_ZN3c105ErrorD1Ev", needed=("libc10.so",)),
        "torch/lib/libc10.so": library(exports=("_ZN3c105ErrorD1Ev",)),
    }
    assert found_for(libraries, claims(name="torch")) == {}
    assert found_for(libraries, claims(name="x")) == {"bundled-libtorch": Severity.ERROR}


ABI3 = claims(f"cp310-abi3-{LINUX}")
MODULE = library("PyObject_Call", exports=("PyInit__C",))
PRIVATE = library("_PyObject_GetDictPtr", exports=("PyInit__C",))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cp310-abi3", {"abi3-violation": Severity.ERROR}),
        ("cp310-cp310", {}),
        ("cp315-abi3t", {"abi3-violation": Severity.ERROR}),
    ],
)
def test_abi3_violation(tag: str, expected: dict[str, Severity]) -> None:
    assert found_for({"_C.so": PRIVATE}, claims(f"{tag}-{LINUX}")) == expected


@pytest.mark.parametrize(
    ("tag", "python", "understated"),
    [
        ("cp310-abi3", "", True),
        ("cp310.cp312-abi3", "", True),  # the oldest of a compressed set counts
        ("cp311-abi3", "", False),
        ("cp38-abi3", ">=3.11", False),
        ("cp38-abi3", ">=3.10.2", True),
        ("cp310-cp310", "", False),
    ],
)
def test_abi3_floor(tag: str, python: str, understated: bool) -> None:  # noqa: FBT001
    libraries = {"_C.so": library("PyObject_GetBuffer", exports=("PyInit__C",))}
    rules = found_for(libraries, claims(f"{tag}-{LINUX}", python=python))
    assert ("abi3-floor-understated" in rules) is understated


@pytest.mark.parametrize(
    ("path", "item", "promised", "severity"),
    [
        ("_C.cpython-310-x86_64-linux-gnu.so", MODULE, ABI3, Severity.ERROR),
        ("x/_C.cp310-win_amd64.pyd", MODULE, ABI3, Severity.ERROR),
        ("x/_C.pypy310-pp73-x86_64-linux-gnu.so", MODULE, ABI3, Severity.ERROR),
        ("x/_C.abi3.so", MODULE, ABI3, None),
        ("x/_C.so", MODULE, ABI3, None),
        ("x/_C.pyd", MODULE, ABI3, None),
        # loaded by its path, so its name does not matter
        ("x/_C.cpython-310-x86_64-linux-gnu.so", library("f"), ABI3, None),
        # no working module: it uses nothing of the C API
        (
            "x/_C.cpython-310-x86_64-linux-gnu.so",
            library(exports=("PyInit__C",)),
            ABI3,
            Severity.WARNING,
        ),
        # the promise is for that one Python
        (
            "x/_C.cpython-310-x86_64-linux-gnu.so",
            MODULE,
            claims(f"cp310-abi3-{LINUX}", python="<3.11"),
            None,
        ),
        ("x/_C.cpython-310-x86_64-linux-gnu.so", MODULE, claims(f"cp310-cp310-{LINUX}"), None),
    ],
)
def test_abi3_suffix(path: str, item: Library, promised: Claims, severity: Severity | None) -> None:
    assert found_for({path: item}, promised).get("abi3-suffix") is severity


def test_abi3_suffix_beside_a_general_module() -> None:
    libraries = {"x/_C.cpython-310-x86_64-linux-gnu.so": MODULE, "x/_C.abi3.so": MODULE}
    assert found_for(libraries, ABI3) == {"abi3-suffix": Severity.WARNING}


@pytest.mark.parametrize(
    ("tag", "item", "severity"),
    [
        ("py39-none", MODULE, Severity.ERROR),
        ("py3-none", PRIVATE, Severity.ERROR),
        ("cp312-none", PRIVATE, Severity.WARNING),  # CPython 3.12 alone installs it
        ("py39-none", library("PyObject_Call"), Severity.WARNING),  # Python does not import it
        ("py39-none", library("malloc", exports=("PyInit__C",)), None),
        ("cp312-cp312", PRIVATE, None),
    ],
)
def test_python_api_in_none_wheel(tag: str, item: Library, severity: Severity | None) -> None:
    rules = found_for({"_C.so": item}, claims(f"{tag}-{LINUX}"))
    assert rules.get("python-api-in-none-wheel") is severity


def test_filename_tag_mismatch() -> None:
    promised = claims(wheel_tag="py39-none-linux_x86_64")
    assert found_for({}, promised) == {"filename-tag-mismatch": Severity.WARNING}
    both = "py2.py3-none-any"
    assert found_for({}, claims(both, wheel_tag=both)) == {}


@pytest.mark.parametrize(
    ("promised", "item", "severity"),
    [
        (claims("py3-none-any"), library("malloc"), Severity.ERROR),
        (claims(purelib=True), library("malloc"), Severity.ERROR),
        (claims("py3-none-any"), library("malloc", executable=True), Severity.WARNING),
        (claims(), library("malloc"), None),
    ],
)
def test_binaries_in_pure_wheel(promised: Claims, item: Library, severity: Severity | None) -> None:
    assert found_for({"a": item}, promised).get("binaries-in-pure-wheel") is severity


@pytest.mark.parametrize(
    ("platform", "arch", "wrong"),
    [
        ("manylinux_2_28_x86_64", "x86_64", False),
        ("manylinux_2_28_x86_64", "aarch64", True),
        ("manylinux2014_aarch64.manylinux_2_17_aarch64", "aarch64", False),
        ("musllinux_1_2_armv7l", "arm", False),
        ("linux_i686", "i686", False),
        ("macosx_11_0_universal2", "arm64", False),
        ("macosx_11_0_arm64", "x86_64", True),
        ("win_amd64", "x86_64", False),
        ("win32", "x86_64", True),
        ("any", "x86_64", False),
    ],
)
def test_wrong_architecture(platform: str, arch: str, wrong: bool) -> None:  # noqa: FBT001
    rules = found_for({"a.so": library(arch=arch)}, claims(f"py39-none-{platform}"))
    assert ("wrong-architecture" in rules) is wrong


def test_a_helper_for_another_machine_is_a_warning() -> None:
    other = library(arch="aarch64")
    assert found_for({"a.so": library(), "b.so": other}, claims()) == {
        "wrong-architecture": Severity.WARNING
    }
    needing = library(needed=("b.so",))
    assert found_for({"a.so": needing, "b.so": other}, claims()) == {
        "wrong-architecture": Severity.ERROR
    }


def test_unreadable() -> None:
    broken = Subject(claims(), (), (Member("x/_C.so", None, "truncated"),))
    (finding,) = run_rules(broken, CATALOG)
    assert (finding.rule, finding.library) == ("unreadable-library", "x/_C.so")
    assert judge(broken, (finding,), TorchAbi.NONE, strict=False) is Verdict.ERROR


@pytest.mark.parametrize(
    ("libraries", "torch", "strict", "verdict"),
    [
        ({"a.so": STABLE}, ("torch>=2.10",), False, Verdict.SAFE),
        ({"a.so": STABLE}, (), False, Verdict.SAFE),  # a warning
        ({"a.so": STABLE}, (), True, Verdict.UNSAFE),
        ({"a.so": STABLE}, ("torch",), False, Verdict.UNSAFE),
        ({"a.so": UNSTABLE}, ("torch==2.10.*",), False, Verdict.UNSAFE),
        ({"a.so": library("malloc")}, (), False, Verdict.NOT_APPLICABLE),
        ({}, (), True, Verdict.NOT_APPLICABLE),
        ({"a.so": library("malloc", needed=TORCH)}, ("torch",), False, Verdict.SAFE),
    ],
)
def test_verdicts(
    libraries: dict[str, Library],
    torch: tuple[str, ...],
    strict: bool,  # noqa: FBT001
    verdict: Verdict,
) -> None:
    item = subject(libraries, claims(torch=torch))
    abi = TorchAbi.STABLE if STABLE in libraries.values() else TorchAbi.NONE
    assert judge(item, run_rules(item, CATALOG), abi, strict=strict) is verdict
