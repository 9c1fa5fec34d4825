"""The Python API: what the command does, for programs. README.md has examples of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch_abi_audit
from torch_abi_audit import model
from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.report.document import report_document
from torch_abi_audit.report.escape import json_text

if TYPE_CHECKING:
    from pathlib import Path

    from torch_abi_audit.report.shape import Document


@dataclass(frozen=True, slots=True)
class Report(model.Report):
    """The conclusions for all targets of one run, in the order they were named.

    Attributes:
        options: How they were checked.
    """

    options: Options = field(default_factory=Options)

    def to_dict(self) -> Document:
        """Return the report as the JSON report has it: strings, numbers, lists and dicts."""
        document: Document = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        """Return the JSON report, the same text as of `torch-abi-audit --json`."""
        version = torch_abi_audit.__version__
        build = self.options.build
        name = None if build is None else build.build.name
        return f"{json_text(report_document(self, version, self.options.policy, name))}\n"


def audit(*targets: str | Path, options: Options | None = None) -> Report:
    """Audit targets and report what they are.

    Bad input never raises: a target that can't be opened, or a member that can't be
    read, gives the verdict `error` with the reason, and the others are audited.

    Args:
        targets: Paths of wheels, of libraries, of folders with either, or the names of
            installed packages, by import or by distribution. None of them is imported.
        options: How to check; by default as the command line does without a configuration.

    Raises:
        AuditError: There is no torch at `options.against`, or none that is `options.torch`.
    """
    options = options or Options()
    auditor = Auditor(options)
    run = auditor.collector()
    reports = []
    for target in targets:
        for report in auditor.audit(target):
            run.add(report)
            reports.append(report)
    return Report(tuple(reports), auditor.catalog.releases, run.finish(), options)
