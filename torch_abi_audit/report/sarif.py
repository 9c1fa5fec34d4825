"""The report as SARIF 2.1.0 (OASIS), which code scanning services read."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from torch_abi_audit.model import Severity
from torch_abi_audit.report import told
from torch_abi_audit.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = Mapping[str, Any]

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
# SARIF's levels have the names of our severities.
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_INDICES = {name: number for number, name in enumerate(RULES)}


def render_sarif(document: Document) -> str:
    """Return the report of a whole document."""
    return json.dumps(_log(document), indent=2) + "\n"


def _log(document: Document) -> dict[str, Any]:
    targets = document["targets"]
    results = [
        _result(finding, target["target"]) for target in targets for finding in target["findings"]
    ]
    results += [_result(finding, None) for finding in document["findings"]]
    for target in targets:
        for item in target["ignored"]:
            suppression = {"kind": "external", "justification": item["ignore"]["reason"]}
            result = _result(item, target["target"])
            results.append({**result, "suppressions": [suppression]})
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
                        "properties": {key: target[key] for key in ("kind", "verdict", "summary")},
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
        "rules": [
            {
                "id": rule.name,
                "name": "".join(part.capitalize() for part in rule.name.split("-")),
                "shortDescription": {"text": _plain(rule.title)},
                "fullDescription": {"text": rule.why},
                "help": {"text": rule.fix, "markdown": _with_code(rule.fix)},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in RULES.values()
        ],
    }


def _result(finding: Document, target: str | None) -> dict[str, Any]:
    text = finding["message"]
    if finding["evidence"]:
        text += "\n" + "\n".join(finding["evidence"])
    if finding["help"]:
        text += f"\nhelp: {finding['help']}"
    return {
        "ruleId": finding["rule"],
        "ruleIndex": _INDICES[finding["rule"]],
        "level": _LEVELS[Severity(finding["severity"])],
        "message": {"text": text},
        "locations": [] if target is None else [_location(target, finding["libraries"])],
        "partialFingerprints": {"finding/v1": _fingerprint(finding, target)},
        "properties": {key: finding[key] for key in ("libraries", "evidence", "help")},
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


def _fingerprint(finding: Document, target: str | None) -> str:
    """Return what stays the same while a finding does: not the message, nor the version."""
    name = "" if target is None else told.filename({"target": target}).partition("-")[0]
    parts = "\0".join([finding["rule"], name, *finding["libraries"]])
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _notifications(document: Document) -> Iterator[dict[str, Any]]:
    for target in document["targets"]:
        if target["error"]:
            yield {
                "level": "error",
                "message": {"text": f"{target['target']}: {target['error']}"},
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
