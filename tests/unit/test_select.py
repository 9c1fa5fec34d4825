"""Which files of a project are audited."""

from __future__ import annotations

import platform as machine
import sys
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.builders import published_file
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.pages import FileKind, IndexFile
from torch_abi_audit.model import Interpreter, PythonVersion
from torch_abi_audit.published.select import (
    PLATFORMS,
    Selection,
    Wanted,
    claims_of,
    host_platform,
    host_python,
    parse_platforms,
    parse_python,
    parse_requirement,
    select,
    why_none,
)


def sdist(filename: str, version: str, **more: Any) -> IndexFile:
    return published_file(filename, version=Version(version), kind=FileKind.SDIST, **more)


def wheel(version: str, tags: str = "py3-none-any", **more: Any) -> IndexFile:
    return published_file(f"x-{version}-{tags}.whl", **more)


def chosen(files: list[IndexFile], requirement: str = "x", **wanted: Any) -> Selection:
    return select(files, Requirement(requirement), Wanted(**wanted))


def names(selection: Selection) -> list[str]:
    return [file.filename for file in selection.wheels]


def versions(selection: Selection) -> list[str]:
    return [str(file.version) for file in selection.wheels]


# Requirements


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("xformers", "xformers", ""),
        ("xformers==0.0.35", "xformers", "==0.0.35"),
        (" torchvision >=0.28, <1 ", "torchvision", "<1,>=0.28"),
        ("torch_scatter~=2.1", "torch_scatter", "~=2.1"),
        ("x===1.0+cu128", "x", "===1.0+cu128"),
    ],
)
def test_requirements(text: str, name: str, specifier: str) -> None:
    found = parse_requirement(text)
    assert (found.name, str(found.specifier)) == (name, specifier)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x @ https://a.invalid/x.whl", "a requirement on an index has no URL"),
        ("x; python_version>'3'", "a requirement on an index has no marker"),
        ("x[cuda]", "a requirement on an index has no extra"),
    ],
)
def test_what_an_index_does_not_know(text: str, message: str) -> None:
    with pytest.raises(AuditError) as caught:
        parse_requirement(text)
    assert str(caught.value) == f"{text!r}: {message}"


@pytest.mark.parametrize("text", ["", " ", "x 1.0", "x=1", "./dist", "-r x", "x\n==1", "\x1b[31mx"])
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(AuditError) as caught:
        parse_requirement(text)
    said = str(caught.value)
    assert said.startswith(f"{text!r} is not a requirement such as 'xformers>=0.0.30'")
    assert said.isprintable()
    assert not said.endswith(":")


# Options


@pytest.mark.parametrize(
    ("text", "shown"),
    [("3.12", "3.12"), ("cp312", "3.12"), ("312", "3.12"), ("3.13t", "3.13t"), ("cp313t", "3.13t")],
)
def test_pythons(text: str, shown: str) -> None:
    assert str(parse_python(text)) == shown


@pytest.mark.parametrize("text", ["", "3", "4.1", "3.12.1", "pp310", "3.x", "3.123", "cp3.12tt"])
def test_what_is_no_python(text: str) -> None:
    with pytest.raises(AuditError) as caught:
        parse_python(text)
    assert str(caught.value) == f"{text!r} is not a Python release such as 3.12 or 3.13t"


def test_platforms() -> None:
    assert parse_platforms("all") == ()
    assert [parse_platforms(name) for name in PLATFORMS] == [(name,) for name in PLATFORMS]
    with pytest.raises(AuditError, match=r"^invalid choice: 'linux' \(choose from all, host, linu"):
        parse_platforms("linux")


@pytest.mark.parametrize(
    ("system", "arch", "found"),
    [
        ("linux", "x86_64", "linux_x86_64"),
        ("linux", "aarch64", "linux_aarch64"),
        ("darwin", "arm64", "macos_arm64"),
        ("win32", "AMD64", "windows_x86_64"),
        ("win32", "ARM64", "windows_arm64"),
    ],
)
def test_the_host(monkeypatch: pytest.MonkeyPatch, system: str, arch: str, found: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(machine, "machine", lambda: arch)
    assert host_platform() == found
    assert parse_platforms("host") == (found,)


def test_a_host_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd14")
    monkeypatch.setattr(machine, "machine", lambda: "riscv64")
    with pytest.raises(AuditError, match=r"^name a --platform: freebsd14_riscv64 is none that"):
        parse_platforms("host")


def test_the_python_of_the_host() -> None:
    assert str(host_python()).rstrip("t") == "{}.{}".format(*sys.version_info)


# Releases


RELEASES = [wheel(version) for version in ("1.9", "1.10", "2.0", "2.1rc1", "1.10.post1")]


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("x", ["2.0", "1.10.post1", "1.10", "1.9"]),
        ("x>=1.10", ["2.0", "1.10.post1", "1.10"]),
        ("x==1.10", ["1.10"]),
        ("x<2", ["1.10.post1", "1.10", "1.9"]),
        ("x>=2.1rc1", ["2.1rc1"]),
        ("x==2.1rc1", ["2.1rc1"]),
        ("x>2.0", ["2.1rc1"]),  # there are no others
        ("x>3", []),
    ],
)
def test_releases_that_match(requirement: str, found: list[str]) -> None:
    selection = chosen(RELEASES, requirement)
    assert versions(selection) == found
    assert list(map(str, selection.releases)) == found
    assert selection.left_out == ()


def test_pre_releases_where_there_is_nothing_else() -> None:
    assert versions(chosen([wheel("1.0a1"), wheel("1.0.dev3")])) == ["1.0a1", "1.0.dev3"]


def test_local_versions() -> None:
    files = [wheel("1.0+cu128"), wheel("1.0"), wheel("1.0+cpu")]
    assert versions(chosen(files, "x==1.0")) == ["1.0+cu128", "1.0+cpu", "1.0"]
    assert versions(chosen(files, "x==1.0+cpu")) == ["1.0+cpu"]


@pytest.mark.parametrize(("latest", "found"), [(1, ["2.0"]), (2, ["2.0", "1.10.post1"]), (9, 4)])
def test_the_newest_releases(latest: int, found: list[str] | int) -> None:
    got = versions(chosen(RELEASES, latest=latest))
    assert (len(got) if isinstance(found, int) else got) == found


@pytest.mark.parametrize(
    ("requirement", "latest", "older"),
    [
        ("x", None, None),
        ("x", 1, "1.8"),  # neither 1.9, which has no such wheel, nor a pre-release
        ("x>=2", None, "1.8"),
        ("x", 2, "1.7"),
        ("x<1.8", None, None),
        ("x>3", None, None),
    ],
)
def test_the_release_before_those_that_are_looked_at(
    requirement: str, latest: int | None, older: str | None
) -> None:
    files = [
        *(wheel("2.0"), wheel("1.10rc1"), wheel("1.9", "cp312-cp312-win_amd64")),
        *(wheel("1.9", yanked=True), sdist("x-1.8.1.tar.gz", "1.8.1"), wheel("1.8"), wheel("1.7")),
    ]
    found = chosen(files, requirement, latest=latest, platforms=("linux_x86_64",)).older
    assert (None if found is None else str(found)) == older


def test_the_newest_releases_are_those_with_wheels() -> None:
    """A release without one for the platform, or that was yanked, does not count."""
    files = [
        wheel("4.0", "cp312-cp312-win_amd64"),
        wheel("3.0", yanked=True),
        sdist("x-2.5.tar.gz", "2.5"),
        wheel("2.0"),
        wheel("1.0"),
    ]
    selection = chosen(files, latest=1, platforms=("linux_x86_64",))
    assert versions(selection) == ["2.0"]
    assert list(map(str, selection.releases)) == ["4.0", "3.0", "2.5", "2.0", "1.0"]


def test_the_wheels_of_a_release_come_together_and_in_order() -> None:
    tags = ["cp39-abi3-win_amd64", "cp39-abi3-linux_x86_64"]
    files = [wheel(version, tag) for tag in tags for version in ("1.0", "2.0")]
    assert names(chosen(files)) == [
        *("x-2.0-cp39-abi3-linux_x86_64.whl", "x-2.0-cp39-abi3-win_amd64.whl"),
        *("x-1.0-cp39-abi3-linux_x86_64.whl", "x-1.0-cp39-abi3-win_amd64.whl"),
    ]


# Platforms


@pytest.mark.parametrize(
    ("tag", "platforms"),
    [
        ("manylinux_2_28_x86_64", {"linux_x86_64"}),
        ("manylinux2014_x86_64.manylinux_2_17_x86_64", {"linux_x86_64"}),
        ("manylinux_2_28_aarch64", {"linux_aarch64"}),
        ("linux_x86_64", {"linux_x86_64"}),
        ("manylinux_2_28_ppc64le", set()),
        ("musllinux_1_2_x86_64", set()),  # where torch has no wheels
        ("macosx_11_0_arm64", {"macos_arm64"}),
        ("macosx_10_9_x86_64", {"macos_x86_64"}),
        ("macosx_11_0_universal2", {"macos_arm64", "macos_x86_64"}),
        ("win_amd64", {"windows_x86_64"}),
        ("win_arm64", {"windows_arm64"}),
        ("win32", set()),
        ("any", set(PLATFORMS)),
        ("no_such_platform", set()),
    ],
)
def test_wheels_for_a_platform(tag: str, platforms: set[str]) -> None:
    file = wheel("1.0", f"cp312-cp312-{tag}")
    assert {name for name in PLATFORMS if chosen([file], platforms=(name,)).wheels} == platforms
    assert chosen([file]).wheels == (file,)


def test_several_platforms() -> None:
    files = [wheel("1.0", f"py3-none-{tag}") for tag in ("linux_x86_64", "win_amd64", "win_arm64")]
    found = chosen(files, platforms=("linux_x86_64", "windows_arm64"))
    assert names(found) == ["x-1.0-py3-none-linux_x86_64.whl", "x-1.0-py3-none-win_arm64.whl"]


# Pythons


@pytest.mark.parametrize(
    ("tags", "requires", "pythons"),
    [
        ("cp312-cp312", None, {"3.12"}),
        ("cp310-abi3", None, {"3.10", "3.12", "3.13", "3.14"}),
        ("cp310-abi3", ">=3.13", {"3.13", "3.14"}),
        ("cp313-cp313t", None, {"3.13t"}),
        ("cp315-abi3.abi3t", None, set()),
        ("cp39.cp310-cp39.cp310", None, {"3.10"}),
        ("py3-none", None, {"3.10", "3.12", "3.13", "3.13t", "3.14"}),
        ("py3-none", "<3.13", {"3.10", "3.12"}),
        ("pp310-pypy310_pp73", None, set()),
    ],
)
def test_wheels_for_a_python(tags: str, requires: str | None, pythons: set[str]) -> None:
    file = wheel("1.0", f"{tags}-linux_x86_64", requires_python=requires)
    asked = ("3.10", "3.12", "3.13", "3.13t", "3.14")
    assert {name for name in asked if chosen([file], python=parse_python(name)).wheels} == pythons


def test_a_newer_stable_abi() -> None:
    file = wheel("1.0", "cp315-abi3.abi3t-linux_x86_64")
    for free_threaded in (False, True):
        python = Interpreter(PythonVersion(3, 15), free_threaded)
        assert chosen([file], python=python).wheels == (file,)


# What is left out


def test_what_is_left_out_is_named() -> None:
    files = [
        wheel("1.0"),
        wheel("1.1", yanked=True),
        sdist("x-1.1.tar.gz", "1.1", yanked=True),
        sdist("x-1.0.tar.gz", "1.0"),
        published_file("x-1.0.win32.exe", kind=FileKind.OTHER, version=Version("1.0")),
        published_file("x-stable.zip", kind=FileKind.SDIST),
    ]
    selection = chosen(files)
    assert names(selection) == ["x-1.0-py3-none-any.whl"]
    assert selection.left_out == (
        "2 yanked files not audited: x-1.1-py3-none-any.whl, x-1.1.tar.gz",
        "1 source distribution not audited: x-1.0.tar.gz",
        "2 other files not audited: x-1.0.win32.exe, x-stable.zip",
    )


def test_what_does_not_match_is_not_named() -> None:
    """Neither another release nor another platform: nobody asked for it."""
    files = [
        wheel("2.0", "py3-none-win_amd64"),
        sdist("x-1.0.tar.gz", "1.0"),
        wheel("1.0", yanked=True),
        wheel("2.0", "py3-none-linux_x86_64"),
    ]
    selection = chosen(files, "x==2.0", platforms=("windows_x86_64",))
    assert names(selection) == ["x-2.0-py3-none-win_amd64.whl"]
    assert selection.left_out == ()


def test_releases_that_are_all_left_out() -> None:
    selection = chosen([wheel("1.0", yanked=True)])
    assert (selection.wheels, list(map(str, selection.releases))) == ((), ["1.0"])
    assert selection.left_out == ("1 yanked file not audited: x-1.0-py3-none-any.whl",)
    assert chosen([]) == Selection(())


@pytest.mark.parametrize(
    ("files", "wanted", "said"),
    [
        ([], Wanted(), "no published release matches"),
        (
            [wheel("1.0", yanked=True)],
            Wanted(),
            "the releases that match have no wheels to audit; the newest is 1.0",
        ),
        (
            [sdist("x-1.0.tar.gz", "1.0"), sdist("x-2.0.tar.gz", "2.0")],
            Wanted(("linux_x86_64",)),
            "the releases that match have no wheels to audit; the newest is 2.0",
        ),
        (
            [wheel("1.0", "cp311-cp311-win_amd64")],
            Wanted(("linux_x86_64", "linux_aarch64")),
            "the only wheel is not for linux x86_64, linux aarch64",
        ),
        (
            [wheel(f"{number}.0", "cp311-cp311-win_amd64") for number in range(3)],
            Wanted((), Interpreter(PythonVersion(3, 12))),
            "none of 3 wheels is for Python 3.12",
        ),
        (
            [wheel("1.0", "cp311-cp311-win_amd64"), wheel("2.0", "cp311-cp311-win_amd64")],
            Wanted(("windows_x86_64",), Interpreter(PythonVersion(3, 13), free_threaded=True)),
            "none of 2 wheels is for Python 3.13t on windows x86_64",
        ),
    ],
)
def test_why_there_are_none(files: list[IndexFile], wanted: Wanted, said: str) -> None:
    selection = select(files, Requirement("x"), wanted)
    assert selection.wheels == ()
    assert why_none(selection, wanted) == said


def test_many_files_are_not_all_named() -> None:
    files = [wheel(f"1.{number}", yanked=True) for number in range(300)]
    (line,) = chosen(files).left_out
    assert line.startswith("300 yanked files not audited: x-1.0-py3-none-any.whl, x-1.1-py3")
    assert line.endswith(", and 280 more")


def test_a_name_that_says_nothing_is_wanted_so_that_the_audit_says_so() -> None:
    file = published_file("x-1.0-nonsense.whl", version=Version("1.0"))
    python = Interpreter(PythonVersion(3, 12), free_threaded=False)
    assert claims_of(file) is None
    assert chosen([file], platforms=("linux_x86_64",), python=python).wheels == (file,)


def test_a_specifier_that_is_none() -> None:
    assert claims_of(wheel("1.0", requires_python="latest")) is None
    claims = claims_of(wheel("1.0", "cp39-abi3-win_amd64", requires_python=">=3.9"))
    assert claims is not None
    assert (claims.name, str(claims.version), str(claims.requires_python)) == ("x", "1.0", ">=3.9")
