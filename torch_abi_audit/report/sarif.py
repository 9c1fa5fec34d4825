"""The report as SARIF 2.1.0 (OASIS), which code scanning services read."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from torch_abi_audit.model import Severity
from torch_abi_audit.report import summary
from torch_abi_audit.report.escape import json_text, sarif_message
from torch_abi_audit.rules import PROJECT_URL, RULES
from torch_abi_audit.wording import last_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.report.shape import Document, FindingDocument


_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
# SARIF's levels have the names of our severities.
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_SHOWN = 10  # pieces of evidence in a message
_FINGERPRINT = "primaryLocationLineHash"  # the one that code scanning goes by
_VERSION = re.compile(r"-[0-9][^-]*-")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_INDICES = {name: number for number, name in enumerate(RULES)}


def render_sarif(document: Document) -> str:
    """Return the report of a whole document."""
    return json_text(_log(document)) + "\n"


def _log(document: Document) -> dict[str, Any]:
    targets = summary.failures_first(document["targets"])
    # Services take no result without a place: what is found in all together is at each target.
    everywhere = [target["target"] for target in targets]
    places = [(target["findings"], target["ignored"], [target["target"]]) for target in targets]
    places.append((document["findings"], document["ignored"], everywhere))
    results = [_result(item, where) for findings, _, where in places for item in findings]
    results += [
        {
            **_result(item, where),
            "suppressions": [{"kind": "external", "justification": item["ignore"]["reason"]}],
        }
        for _, ignored, where in places
        for item in ignored
    ]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(document)},
                "artifacts": [
                    {
                        "location": {"uri": _uri(target["target"])},
                        "roles": ["analysisTarget"],
                        "properties": {
                            "kind": target["kind"],
                            "verdict": target["verdict"],
                            "summary": target["summary"],
                            "host": target["host"],
                        },
                    }
                    for target in targets
                ],
                "results": results,
                "invocations": [
                    {
                        "executionSuccessful": not any(target["error"] for target in targets),
                        "toolExecutionNotifications": list(_notifications(document)),
                    }
                ],
                "properties": {"counts": document["counts"]},
            }
        ],
    }


def _driver(document: Document) -> dict[str, Any]:
    return {
        "name": document["tool"]["name"],
        "version": document["tool"]["version"],
        "informationUri": PROJECT_URL,
        "rules": [
            {
                "id": rule.name,
                "helpUri": rule.url,
                "name": "".join(part.capitalize() for part in rule.name.split("-")),
                "shortDescription": {"text": _plain(rule.title)},
                "fullDescription": {"text": rule.why},
                "help": {"text": rule.fix, "markdown": _with_code(rule.fix)},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in RULES.values()
        ],
    }


def _result(finding: FindingDocument, targets: list[str]) -> dict[str, Any]:
    """Return a result; all of the evidence is among its properties."""
    where = [last_part(targets[0])] if len(targets) == 1 else []
    where += finding["libraries"] if len(finding["libraries"]) == 1 else []
    shown = list(map(summary.told, summary.evidence(finding)))
    lines = [": ".join([*where, finding["message"]]), *shown[:_SHOWN]]
    left = len(shown) - _SHOWN
    lines += [f"and {left} more"] if left > 0 else []
    lines += [f"Fix: {finding['fix']}"] if finding["fix"] else []
    return {
        "ruleId": finding["rule"],
        "ruleIndex": _INDICES[finding["rule"]],
        "level": _LEVELS[Severity(finding["severity"])],
        "message": {"text": sarif_message("\n".join(lines))},
        "locations": [_location(target, finding["libraries"]) for target in targets],
        "partialFingerprints": {_FINGERPRINT: _fingerprint(finding, targets)},
        "properties": {
            "libraries": finding["libraries"],
            "evidence": finding["evidence"],
            "fix": finding["fix"],
        },
    }


def _location(target: str, libraries: list[str]) -> dict[str, Any]:
    """Return where a finding is: the target, and in it the members."""
    members = [{"fullyQualifiedName": path, "kind": "resource"} for path in libraries]
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(target)},
            "region": {"startLine": 1},  # services that show sources ask for a line
        },
        **({"logicalLocations": members} if members else {}),
    }


def _fingerprint(finding: FindingDocument, targets: list[str]) -> str:
    """Return what stays the same while a finding does: neither versions nor counts."""
    names = [_VERSION.sub("-", last_part(target), count=1) for target in targets]
    said = _NUMBER.sub("", finding["message"]) if len(targets) != 1 else ""
    parts = "\0".join([finding["rule"], said, *sorted(set(names)), *finding["libraries"]])
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _notifications(document: Document) -> Iterator[dict[str, Any]]:
    """Yield what could not be audited, and what does not load where it is installed."""
    for target in summary.failures_first(document["targets"]):
        broken = summary.broken_here(target)
        if broken is not None:
            yield {
                "level": "warning",
                "message": {"text": sarif_message(broken)},
                "locations": [_location(target["target"], [])],
            }
        if target["error"]:
            yield {
                "level": "error",
                "message": {"text": sarif_message(f"{target['target']}: {target['error']}")},
                "locations": [_location(target["target"], [])],
            }


def _uri(path: str) -> str:
    return quote(path.replace("\\", "/"), safe="/~", errors="backslashreplace")


def _plain(text: str) -> str:
    return text.replace("`", "")


def _with_code(text: str) -> str:
    """Return paragraphs and indented code as Markdown."""
    lines: list[str] = []
    for line in text.split("\n"):
        code, before = line.startswith("    "), bool(lines) and lines[-1].startswith("    ")
        if lines and code is not before:
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
