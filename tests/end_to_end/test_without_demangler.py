"""Without pycxxfilt, as on Windows on ARM: the same verdicts, or none, and never a better one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from test_wheels.expected import arguments_of, expected, names, wheels_of
from torch_abi_audit.abi import demangler, layouts, mangling, msvc
from torch_abi_audit.cli import main

NOTICE = (
    "pycxxfilt can't be imported: C++ symbols are shown mangled, ignores match only mangled"
    " symbols, and what uses the unstable ABI can't be audited"
)
REFUSED = (
    "it uses the unstable ABI, and pycxxfilt can't be imported, which tells the classes whose"
    " layouts it depends on (pip install pycxxfilt)"
)
UNSTABLE = {
    "alternatives",
    "layout-changed",
    "macos-moved-symbol",
    "macos-unstable-pinned",
    "migrating",
    "mixed",
    "newer-torch-unstable",
    "sibling-not-searched",
    "unstable",
    "unstable-pinned",
    "unstable-undeclared",
    "variant-mismatch",
    "variant-pinned",
    "weak-unstable",
    "windows-unstable-pinned",
}
CACHES = (mangling.demangle, msvc.demangle, layouts._named)  # noqa: SLF001


@pytest.fixture
def _without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(demangler, "AVAILABLE", False)
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


def told(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """All that is concluded of each target, without the names of symbols."""
    return [
        (
            item["verdict"],
            item["torch"]["floor"],
            {release: cell["status"] for release, cell in item["torch"]["releases"].items()},
            [(found["rule"], found["severity"], found["libraries"]) for found in item["findings"]],
            [found["rule"] for found in item["ignored"]],
            item["fix"],
        )
        for item in report["targets"]
    ]


@pytest.mark.usefixtures("_without")
@pytest.mark.parametrize("name", names())
def test_scenarios(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = main(["--json", *arguments_of(name)])
    output = capsys.readouterr()
    report = json.loads(output.out)
    lines = output.err.splitlines()
    assert lines[0] == f"torch-abi-audit: {NOTICE}"
    if name in UNSTABLE:
        assert (code, len(report["targets"])) == (2, len(wheels_of(name)))
        assert {item["error"] for item in report["targets"]} == {REFUSED}
        assert lines[1:] == [
            f"torch-abi-audit: {item['target']}: {REFUSED}" for item in report["targets"]
        ]
        return
    assert code == expected(name)["exit_code"]
    monkeypatch.setattr(demangler, "AVAILABLE", True)
    for cache in CACHES:
        cache.cache_clear()
    main(["--json", *arguments_of(name)])
    assert told(report) == told(json.loads(capsys.readouterr().out))


def test_a_process_without_it(tmp_path: Path) -> None:
    """Whatever imports it: nothing crashes, and symbols are mangled."""
    wheels = [str(wheel) for name in ("foreign-symbol", "unstable") for wheel in wheels_of(name)]
    code = "import sys; sys.modules['pycxxfilt'] = None; from torch_abi_audit.cli import main"
    results = [
        subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(main(sys.argv[1:]))", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        for arguments in (["-v", *wheels], ["repair", "-w", str(tmp_path), *wheels])
    ]
    audited, repaired = results
    assert audited.returncode == 2
    assert audited.stderr == (
        f"torch-abi-audit: {NOTICE}\ntorch-abi-audit: {wheels[1]}: {REFUSED}\n"
    )
    assert repaired.returncode == 2
    name = Path(wheels[1]).name
    assert repaired.stderr == (
        f"torch-abi-audit: {NOTICE}\ntorch-abi-audit: {name}: not repaired: {REFUSED}\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [Path(wheels[0]).name]
