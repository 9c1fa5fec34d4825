"""The tags that fixes name: which parts are replaced, and which Python they are for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.tags import parse_tag

from tests.builders import claims, library, subject
from torch_abi_audit.model import Library, PythonVersion
from torch_abi_audit.rules.retag import oldest_python, retag, stable_abi_fix

LINUX = "manylinux_2_28_x86_64"
HOOK = ("PyInit__C",)
STABLE = library("PyObject_GetAttrString", exports=HOOK)
FOR_ABI3T = library("PyObject_GetAttrString", exports=("PyModExport__C",))


def test_a_part_without_a_tag_makes_no_tags() -> None:
    item = subject({}, claims(f"cp312-cp312-{LINUX}"))
    changed = retag(item, platforms=["win_arm64", "win_amd64"])
    assert changed is not None
    assert changed.tags == "cp312-cp312-win_amd64.win_arm64"
    assert retag(item, platforms=[]) is None


def test_tags_that_no_filename_can_hold_have_no_replacement() -> None:
    """As those of an installed package, whose WHEEL file lists any that it likes."""
    several = parse_tag(f"cp312-cp312-{LINUX}") | parse_tag(f"cp310-abi3-{LINUX}")
    promised = replace(claims(), tags=several)
    assert retag(subject({}, promised), platforms=["win_amd64"]) is None


@pytest.mark.parametrize(
    ("tag", "python", "oldest"),
    [
        # A tag for a single release tells nothing of the wheels next to it.
        ("cp312-cp312", ">=3.10", (3, 10)),
        ("cp312-cp312", "", (3, 12)),
        # One for later releases too is no older than it says.
        ("py39-none", ">=3.8", (3, 9)),
        ("cp39-abi3", ">=3.8", (3, 9)),
        ("cp315-abi3t", ">=3.8", (3, 15)),
        ("py39.cp310-none", ">=3.8", (3, 9)),
        # Nothing names one.
        ("py3-none", "", (3, 8)),
        ("cp312-cp312", "<3", (3, 8)),
    ],
)
def test_the_oldest_python(tag: str, python: str, oldest: tuple[int, int]) -> None:
    item = subject({}, claims(f"{tag}-{LINUX}", python=python))
    assert oldest_python(item) == PythonVersion(*oldest)


@pytest.mark.parametrize(
    ("modules", "fix"),
    [
        ({"_C.abi3.so": STABLE, "_D.abi3.so": STABLE}, "tag the wheel cp310-abi3"),
        ({"_C.abi3t.so": FOR_ABI3T}, "tag the wheel cp315-abi3.abi3t"),
        # One of them is not for free-threaded Python.
        ({"_C.abi3t.so": FOR_ABI3T, "_D.abi3.so": STABLE}, "tag the wheel cp315-abi3"),
        # Nothing says of one of them that it was built for the stable ABI.
        (
            {"_C.abi3.so": STABLE, "_D.so": STABLE},
            (
                "build with -DPy_LIMITED_API=0x030a0000 and py_limited_api=True, and tag the wheel"
                " cp310-abi3"
            ),
        ),
    ],
)
def test_the_stable_abi_is_that_of_all_modules(modules: dict[str, Library], fix: str) -> None:
    item = subject(modules, claims(f"cp312-cp312-{LINUX}", python=">=3.10"))
    assert stable_abi_fix(item, item.libraries).text == fix
