"""The documents about published wheels, as plain values: what JSON has, and pages are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from packaging.version import Version

    from torch_abi_audit.report.shape import CellDocument
    from torch_abi_audit.report.survey_shape import (
        AnswerDocument,
        CompatibilityDocument,
        RowDocument,
        StateDocument,
        SurveyDocument,
    )
    from torch_abi_audit.survey.compatibility import Answer, CompatibilityRow, CompatibilityTable
    from torch_abi_audit.survey.ecosystem import PackageState
    from torch_abi_audit.survey.wheel import TorchCell


def compatibility_document(  # noqa: PLR0913 -- all that stands in it
    tables: Iterable[CompatibilityTable],
    answers: Iterable[Answer] = (),
    *,
    releases: Sequence[Version],
    version: str,
    day: date | None = None,
    platform: str | None = None,
) -> CompatibilityDocument:
    """Return the document of `compat`.

    Args:
        tables: The tables, one for each package.
        answers: The answers, if a torch was named.
        releases: The known torch releases, oldest first.
        version: The version of this tool.
        day: The day on which the index was read.
        platform: The platform whose wheels were read; None for all.
    """
    return {
        "schema_version": 1,
        "tool": {"name": "torch-abi-audit", "version": version},
        "catalog": {"torch_releases": list(map(str, releases))},
        "day": None if day is None else day.isoformat(),
        "platform": platform,
        "packages": [
            {"project": table.project, "rows": list(map(_row, table.rows))} for table in tables
        ],
        "answers": list(map(_answer, answers)),
    }


def _row(row: CompatibilityRow) -> RowDocument:
    wheel = row.wheel
    return {
        "version": wheel.version,
        "verdict": wheel.verdict,
        "abi": wheel.abi,
        "pythons": list(row.pythons),
        "platforms": list(row.platforms),
        "requires_torch": wheel.requires_torch,
        "allowed": list(wheel.asked),
        "releases": {release: _cell(cell) for release, cell in wheel.releases.items()},
        "cuda": list(wheel.cuda),
        "cuda_build": wheel.cuda_build,
        "built_with": list(wheel.built_with),
        "differences": list(row.differences),
        "error": wheel.error,
        "wheels": [item.filename for item in row.wheels],
    }


def _cell(cell: TorchCell) -> CellDocument:
    return {
        "status": cell.status,
        "layout": cell.layout,
        "reasons": [
            {"cause": reason.cause, "name": reason.name, "detail": reason.detail}
            for reason in cell.reasons
        ],
        "libstdcxx": cell.libstdcxx,
    }


def _answer(answer: Answer) -> AnswerDocument:
    return {
        "project": answer.project,
        "torch": answer.torch,
        "kind": answer.kind.value,
        "version": answer.version,
        "command": answer.command,
        "why": answer.why,
    }


def survey_document(
    states: Iterable[PackageState],
    *,
    releases: Sequence[Version],
    version: str,
    day: date | None = None,
) -> SurveyDocument:
    """Return the document of `survey`.

    Args:
        states: The state of each package.
        releases: The known torch releases, oldest first.
        version: The version of this tool.
        day: The day on which the index was read.
    """
    return {
        "schema_version": 1,
        "tool": {"name": "torch-abi-audit", "version": version},
        "catalog": {"torch_releases": list(map(str, releases))},
        "day": None if day is None else day.isoformat(),
        "packages": list(map(_state, states)),
    }


def _state(state: PackageState) -> StateDocument:
    return {
        "project": state.project,
        "version": state.version,
        "uploaded": state.uploaded,
        "wheels": state.wheels,
        "progress": state.progress.value,
        "abi": state.abi,
        "since": state.since,
        "requires_torch": list(state.declared),
        "loads": list(state.loads),
        "pythons": list(state.pythons),
        "cuda": list(state.cuda),
        "errors": list(state.errors),
    }
