"""Which Pythons install a wheel, by its tags and ``Requires-Python``."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.version import Version

from tests.builders import claims
from torch_abi_audit.claims.python_tags import (
    admits_release,
    admitted_implementations,
    admitted_interpreters,
    claims_abi3t,
    installing_interpreters,
    is_installable,
    releases,
)
from torch_abi_audit.model import PythonVersion


@pytest.mark.parametrize(
    ("tag", "python", "installing", "admitted"),
    [
        ("cp312-cp312", "", "3.12", "3.12"),
        ("cp313-cp313t", "", "3.13t", "3.13t"),
        ("cp312-none", "", "3.12", ""),
        ("cp313-none", "", "3.13 3.13t", ""),
        ("cp312-cp312.none", "", "3.12", "3.12"),
        ("py3-none", ">=3.12,<3.14", "3.12 3.13 3.13t", ""),
        ("cp312-abi3", "<3.14", "3.12 3.13", "3.12 3.13"),
        ("cp313-abi3t", "<3.15", "3.13t 3.14t", "3.13t 3.14t"),
        ("cp312-cp312t", "", "", ""),  # of 3.12 there is no such build
        ("pp311-pypy311_pp73", "", "", ""),
        ("cp311.cp312-cp312", ">=3.12", "3.12", "3.12"),
        ("cp311.pp312-none", "", "3.11", ""),  # of 3.12 it is PyPy that installs it
    ],
)
def test_builds(tag: str, python: str, installing: str, admitted: str) -> None:
    promised = claims(f"{tag}-any", python=python)
    assert " ".join(map(str, installing_interpreters(promised))) == installing
    assert " ".join(map(str, admitted_interpreters(promised))) == admitted


def test_implementations() -> None:
    def found(tag: str, python: str = "") -> str:
        named = admitted_implementations(claims(f"{tag}-any", python=python))
        return " ".join(f"{name}-{version}" for name, version in named)

    assert found("py3-none", "==3.12.*") == "cpython-3.12 graalpy-3.12 pypy-3.12"
    assert found("cp312-cp312") == "cpython-3.12"
    assert found("pp311-pypy311_pp73.cp312") == "pypy-3.11"
    assert found("cp311.pp310-none") == "cpython-3.11 pypy-3.10"
    assert found("xx311-none") == ""


def test_releases_that_there_may_ever_be() -> None:
    found = releases(PythonVersion(3, 12))
    assert list(map(str, found[:11])) == [*(f"3.12.0a{n}" for n in range(10)), "3.12.0b0"]
    assert list(map(str, found[29:31])) == ["3.12.0rc9", "3.12.0"]
    assert str(found[-1]) == "3.12.39"
    assert len(found) == 70


def test_pre_releases_count_as_what_they_come_before() -> None:
    asked = SpecifierSet(">=3.12")
    assert admits_release(asked, Version("3.12.0rc1"))
    assert admits_release(asked, Version("3.12.1"))
    assert not admits_release(asked, Version("3.11.9"))
    assert admits_release(SpecifierSet("<3.12"), Version("3.11.9"))
    assert admits_release(SpecifierSet(">=3.12.0a1,<3.12.0b1"), Version("3.12.0a5"))


@pytest.mark.parametrize(
    ("tags", "installable"),
    [
        ("py3-none py2-none py312-none py27-none cp27-cp27mu cp32-cp32dmu cp37-cp37m", True),
        ("cp313-cp313t cp313-cp313td cp312-cp312d cp39-none cp39-abi3 cp39-abi3t", True),
        ("pp3-x ip27-none jy27-none graalpy312-graalpy250_312_native", True),
        ("py4-none py1-none py3123-none cp3123-none py3-abi3 py3-cp312 xx39-none", False),
        ("cp2-none cp3-cp3 cp312t-cp312t cp312-cp311 cp312-cp312t cp38-cp38m cp33-cp33u", False),
        ("cp312-cp312x cp312-pypy312 cp312-cp3123 py-none", False),
    ],
)
def test_tags_that_somebody_installs(tags: str, installable: bool) -> None:  # noqa: FBT001
    for text in tags.split():
        (tag,) = parse_tag(f"{text}-any")
        assert (text, is_installable(tag)) == (text, installable)


def test_the_stable_abi_of_free_threaded_python() -> None:
    assert claims_abi3t(claims("cp315-abi3.abi3t-any"))
    assert not claims_abi3t(claims("cp315-abi3-any"))
