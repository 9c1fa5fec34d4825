"""The Python API: options as strings, reports as JSON, and all that they are made of."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import torch_abi_audit
from test_wheels.expected import wheels_of
from torch_abi_audit import (
    AuditError,
    Check,
    Ignore,
    Limits,
    Options,
    Report,
    StrictIgnores,
    audit,
)
from torch_abi_audit.cli import main

ROOT = Path(__file__).parents[2]
(WHEEL,) = wheels_of("unstable")


def test_options_take_strings() -> None:
    rule = "unstable-torch-symbol"
    said = Options(
        torch=">=2.10",
        min_torch="2.10",
        against="site-packages",
        check="torch,abi3",
        ignore=[f"{rule}:x/*.so", Ignore(rule, "why")],
        strict_ignores="all",
    )
    meant = Options(
        torch=SpecifierSet(">=2.10"),
        min_torch=Version("2.10"),
        against=Path("site-packages"),
        check=[Check.TORCH, Check.ABI3],
        ignore=(Ignore(rule, "--ignore", "x/*.so"), Ignore(rule, "why")),
        strict_ignores=StrictIgnores.ALL,
    )
    assert said == meant
    assert Options(ignore=rule).ignore == (Ignore(rule, "--ignore"),)
    assert Options(strict_ignores=True).strict_ignores is StrictIgnores.STALE
    assert str(Options(torch="2.10.0").torch) == "==2.10.0"
    assert Options() == Options(limits=Limits())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"torch": "two"}, "Invalid specifier"),
        ({"min_torch": "two"}, "'two' is not a torch release"),
        ({"check": "clams"}, "invalid choice: 'clams'"),
        ({"check": ["torch", "clams"]}, "invalid choice: 'clams'"),
        ({"ignore": ["abi3-sufix"]}, "did you mean abi3-suffix?"),
        ({"ignore": "abi3-suffix:at::x"}, "is no pattern of libraries"),
        ({"strict_ignores": "some"}, "must be true, false"),
    ],
)
def test_what_they_can_not_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(AuditError, match="^.*" + said.replace("?", r"\?")):
        Options(**options)


@pytest.mark.parametrize("options", [{}, {"check": "torch"}, {"strict": True}])
def test_the_json_is_that_of_the_command(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report = audit(str(WHEEL), options=Options(**options))
    given = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items()]
    assert main(["--no-config", "--json", *given, str(WHEEL)]) == report.exit_code
    assert capsys.readouterr().out == report.to_json()
    assert report.to_dict()["targets"][0]["verdict"] == "unsafe"


def test_an_empty_run_is_not_safe() -> None:
    report = audit()
    assert (report.safe, report.exit_code, report.to_dict()["targets"]) == (False, 2, [])


def made_of(kind: object, seen: set[object]) -> Iterator[type]:
    """Yield the classes of the package that a class is made of."""
    if kind in seen:
        return
    seen.add(kind)
    for part in get_args(kind):
        yield from made_of(part, seen)
    if isinstance(kind, type) and kind.__module__.startswith("torch_abi_audit."):
        yield kind
        names = [item.name for item in fields(kind)] if is_dataclass(kind) else []
        names += getattr(kind, "_fields", ())
        if names:
            hints = get_type_hints(kind, globalns=_all_names(kind))
            for name in names:
                yield from made_of(hints[name], seen)


def _all_names(kind: type) -> dict[str, Any]:
    """What the annotations of a class may name: what is imported for type checkers too."""
    import datetime  # noqa: PLC0415
    import sys  # noqa: PLC0415
    from collections.abc import Collection, Mapping, Sequence  # noqa: PLC0415

    from packaging.requirements import Requirement  # noqa: PLC0415
    from packaging.tags import Tag  # noqa: PLC0415

    known = {**vars(torch_abi_audit), **vars(torch_abi_audit.model)}
    known |= {"date": datetime.date, "Mapping": Mapping, "Sequence": Sequence, "Tag": Tag}
    known |= {"Collection": Collection, "Requirement": Requirement, "Version": Version}
    return {**known, "SpecifierSet": SpecifierSet, **vars(sys.modules[kind.__module__])}


def test_all_that_a_report_is_made_of_is_exported() -> None:
    found = {kind.__name__ for kind in made_of(Report, set())}
    assert len(found) > 40
    assert found - set(torch_abi_audit.__all__) == set()


def test_the_examples_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = [part for part in text.split("\n## ") if part.startswith("Python API\n")]
    parser = doctest.DocTestParser()
    test = parser.get_doctest(section, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
