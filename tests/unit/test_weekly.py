from __future__ import annotations

from typing import Any

from tests.weekly import changes


def surveyed(releases: list[str], **packages: dict[str, Any]) -> Any:
    usual = {"version": "1.0", "abi": "not started", "loads": ["2.14"], "errors": []}
    return {
        "catalog": {"torch_releases": releases},
        "packages": [{"project": name, **usual, **of} for name, of in packages.items()],
    }


def test_what_changes_for_packages() -> None:
    old = surveyed(["2.14.0"], one={}, two={"errors": ["a"]}, gone={})
    new = surveyed(
        ["2.14.0", "2.15.0"], one={"loads": ["2.14-2.15"]}, two={"errors": ["a", "b|c"]}, new={}
    )
    assert changes(old, new) == (
        "Torch 2.15.0 added. What changes for 3 packages:\n\n"
        "| package | release | | before | after |\n|---|---|---|---|---|\n"
        "| one | 1.0 | loads on torch | 2.14 | 2.14-2.15 |\n"
        "| two | 1.0 | errors | a | a<br>b\\|c |\n"
    )


def test_nothing_changes() -> None:
    same = surveyed(["2.14.0"], one={})
    assert changes(same, same) == ("Nothing changes for the newest releases of 1 package.\n")
