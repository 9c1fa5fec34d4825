"""A case from its first wheel to the one that passes: built, audited, run and fixed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builds.cases import Case
from tests.builds.comparing import ROOT, audited, cell, disagreements, libraries, rules
from tests.builds.projects import BuildError, Project, build
from tests.builds.running import Outcome, run


@dataclass(frozen=True)
class Row:
    """A wheel, what the audit says of it, and what became of it.

    Attributes:
        case: The name of its case.
        built_with: The release of torch.
        state: The fixes that are applied.
        wheel: Its filename.
        report: The audit's.
        outcomes: What became of it beside each release.
        wrong: What is not as the audit says, or not as the case expects.
        expected: What the calls must return.
    """

    case: str
    built_with: str
    state: str
    wheel: str
    report: Mapping[str, Any]
    outcomes: Mapping[str, Outcome]
    wrong: Sequence[str]
    expected: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.case} built with {self.built_with}, {self.state}: {self._verdict()}"]
        lines += [f"    torch {release}: {self._cell(release)}" for release in self.outcomes]
        lines += [f"    DISAGREES: {text}" for text in self.wrong]
        return "\n".join(lines)

    def _verdict(self) -> str:
        found = ", ".join(sorted(rules(self.report)))
        return f"{self.report['verdict']} ({found})" if found else self.report["verdict"]

    def _cell(self, release: str) -> str:
        said = cell(self.report, release)
        outcome = self.outcomes[release]
        layout = "layouts changed" if said["layout"] == "changed" else ""
        words = [" ".join(filter(None, (said["status"], layout)))]
        if outcome.refused:
            words.append(f"pip refuses ({outcome.refused})")
        missing = {_brief(error) for error in outcome.errors.values() if error}
        words.append("; ".join(sorted(missing)) or "loads")
        if outcome.returned is not None:
            right = outcome.returned == self.expected
            words.append("right" if right else f"WRONG {json.dumps(outcome.returned)}")
        elif not missing:
            words.append(_brief(outcome.failure))
        return ", ".join(words)

    def line(self) -> str:
        """Return the line of the table."""
        agrees = "; ".join(self.wrong) or "yes"
        cells = (self.case, self.built_with, self.state, self._verdict())
        return _line([*cells, *map(self._cell, self.outcomes), agrees])


def table(rows: Sequence[Row]) -> str:
    """Return all rows as a table in Markdown."""
    releases = [f"with torch {release}" for release in rows[0].outcomes]
    head = ["build", "torch", "state", "audit", *releases, "agrees"]
    lines = [_line(head), _line(["---"] * len(head)), *(row.line() for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _brief(error: str) -> str:
    found = re.search(r"undefined symbol: \S+|\S+: cannot open shared object file", error)
    text = found[0] if found else error
    return text if len(text) <= 60 else f"{text[:57]}..."


def follow(case: Case, release: str, releases: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a case: as built, with each fix of the build, with that of the metadata."""
    project = case.project
    row = _row(case, project, release, releases, "as built")
    expected = [f"the verdict is {case.verdict}"] if row.report["verdict"] != case.verdict else []
    if rules(row.report) != case.rules:
        expected.append(f"the rules are expected to be {', '.join(sorted(case.rules))}")
    yield replace(row, wrong=[*row.wrong, *expected])
    for change in case.changes:
        wrong = []
        fixes = [f["fix"] for f in row.report["findings"] if f["rule"] == change.rule]
        if change.fix not in fixes:
            wrong.append(f"the fix of {change.rule} is {fixes}")
        if change.refused and not _is_refused(change.refused, release):
            wrong.append("what the fix says that the compiler rejects is compiled")
        project = change.project
        row = _row(case, project, release, releases, f"fixed: {change.rule}")
        yield replace(row, wrong=[*row.wrong, *wrong])
    yield from _of_metadata(case, project, row, release, releases)


def _is_refused(project: Project, release: str) -> bool:
    try:
        build(project, release)
    except BuildError as error:
        return "TORCH_TARGET_VERSION" in str(error)
    return False


def _of_metadata(
    case: Case, project: Project, row: Row, release: str, releases: Sequence[str]
) -> Iterator[Row]:
    """Yield the wheel with the metadata that its report gives, pasted and written by `repair`."""
    lines = _lines(row.report, release)
    pasted = replace(project, dependencies="\n".join(lines))
    last = _row(case, pasted, release, releases, f"fixed: {'; '.join(lines)}")
    wrong = list(last.wrong)
    if last.report["verdict"] != case.passes:
        wrong.append(f"the verdict is expected to be {case.passes}")
    if rules(last.report) != case.rules_fixed:
        wrong.append(f"the rules are expected to be {', '.join(sorted(case.rules_fixed))}")
    if case.target and Version(last.report["torch"]["floor"]) > Version(case.target):
        wrong.append(f"it needs torch {last.report['torch']['floor']}")
    repaired = _repaired(build(project, release), last.report["claims"]["requires_torch"])
    if repaired["verdict"] != case.passes:
        wrong.append(f"repair makes it {repaired['verdict']}")
    if repaired["claims"]["requires_torch"] != last.report["claims"]["requires_torch"]:
        wrong.append(f"repair writes {repaired['claims']['requires_torch']}")
    yield replace(last, wrong=wrong)


def _lines(report: Mapping[str, Any], release: str) -> list[str]:
    """Return the lines to paste; of a choice, those for the release that it was built with."""
    fix = report["fix"]
    if fix["lines"]:
        return list(fix["lines"])
    public = Version(release).public
    for choice in fix["choices"]:
        if SpecifierSet(choice["metadata"]["requires_torch"]).contains(public):
            return list(choice["lines"])
    raise AssertionError(f"{report['target']}: no fix of the metadata for torch {release}")


def _row(case: Case, project: Project, release: str, releases: Sequence[str], state: str) -> Row:
    wheel = build(project, release)
    report = audited(wheel)
    paths = libraries(report)
    outcomes = {item: run(wheel, item, paths, case.calls) for item in releases}
    wrong = [
        text
        for item, outcome in outcomes.items()
        for text in disagreements(report, item, outcome, case.calls)
    ]
    return Row(case.name, release, state, wheel.name, report, outcomes, wrong, case.calls)


def _repaired(wheel: Path, requirement: str) -> dict[str, Any]:
    """Return the report of the wheel that `repair` writes with a requirement of torch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch_abi_audit", "repair", "--no-config", str(wheel)]
        command += ["--wheel-dir", folder, "--require-torch", requirement]
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        (written,) = Path(folder).glob("*.whl")
        return audited(written)
