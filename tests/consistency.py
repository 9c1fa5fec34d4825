"""What must hold between the parts of a report, whatever the target: nothing contradicts the rest.

Written against the JSON document alone, by other means than the code that makes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RUNS = r"(\d[\d.]*(?:-\d[\d.]*)?(?:, \d[\d.]*(?:-\d[\d.]*)?)*)"
_LOADS = re.compile(
    rf"loads on (?:CUDA builds of )?torch {_RUNS}( and newer)?( without ABI guarantee)?(?=[,;]|$)"
)
_ONLY_ON = re.compile(rf"\bloads (only )?on torch {_RUNS}, but ")
_NOWHERE = "does not load on any known torch release"
_NOT_ON = re.compile(rf"not on {_RUNS}, allowed by")
_PASSING = ("safe", "pinned", "not-applicable")


def contradictions(target: Mapping[str, Any]) -> list[str]:
    """Return what in the document of a target contradicts the rest of it."""
    return [
        *_of_verdict(target),
        *_of_sentence(target),
        *_of_unpinned(target),
        *_of_fix(target),
        *_of_host(target),
        *_of_missing(target),
    ]


def _of_verdict(target: Mapping[str, Any]) -> Iterator[str]:
    verdict, abi = target["verdict"], target["torch"]["abi"]
    errors = [item for item in target["findings"] if item["severity"] == "error"]
    if verdict in _PASSING and (errors or target["error"]):
        yield f"{verdict}, with errors"
    if verdict == "unsafe" and not errors:
        yield "unsafe, without an error"
    if verdict == "error" and not target["error"]:
        yield "error, and none is named"
    if (verdict, abi) in (("safe", "unstable"), ("pinned", "stable"), ("pinned", "none")):
        yield f"{verdict}, on the ABI {abi}"
    if verdict == "not-applicable" and target["torch"]["releases"]:
        yield "not applicable, with a matrix"
    rules = [(item["rule"], item["severity"], item["fix"]) for item in target["findings"]]
    if len(set(rules)) != len(rules):
        yield "two findings of one rule with one fix"


def _of_sentence(target: Mapping[str, Any]) -> Iterator[str]:
    sentence, row = target["summary"], target["torch"]["releases"]
    known = list(map(Version, row))
    good = {
        Version(release)
        for release, cell in row.items()
        if cell["status"] in ("guaranteed", "links") and cell["layout"] != "changed"
    }
    declared = target["claims"] is not None and target["claims"]["requires_torch"] is not None
    asked = set(map(Version, target["torch"]["asked"])) & set(known)
    unknown = {Version(r) for r, cell in row.items() if cell["status"] == "unknown"}
    missed = asked - good - unknown
    if target["verdict"] not in ("safe", "pinned"):
        if re.match(r"(safe|pinned|stable ABI)\b", sentence):
            yield f"{target['verdict']}: {sentence}"
        return
    found = _LOADS.search(sentence)
    if (found is not None) != bool(good):
        yield f"says that it loads: {found is not None}; cells that do: {len(good)}"
    said = f"{found[1]}-{known[-1]}" if found and found[2] else found and found[1]
    if said and _releases(said, known) != good:
        yield f"loads on {said}, and the matrix says {sorted(map(str, good))}"
    if found and found[2] and row[str(known[-1])]["status"] != "guaranteed":
        yield "newer ones, without a guarantee"
    at_least_one = (good & asked) or good
    links = any(row[str(release)]["status"] == "links" for release in at_least_one)
    if found and target["torch"]["abi"] == "stable" and bool(found[3]) != links:
        yield "a guarantee that the matrix does not give, or one that is left out"
    not_on = _NOT_ON.search(sentence)
    if declared and (not_on is not None) != bool(missed):
        yield f"allowed and not loading: {sorted(map(str, missed))}; said: {sentence}"
    if not_on and _releases(not_on[1], known) != missed:
        yield f"not on {not_on[1]}, and the matrix says {sorted(map(str, missed))}"


def _of_unpinned(target: Mapping[str, Any]) -> Iterator[str]:
    row = target["torch"]["releases"]
    known = list(map(Version, row))
    loads = {Version(r) for r, cell in row.items() if cell["status"] in ("guaranteed", "links")}
    for finding in (*target["findings"], *target["ignored"]):
        if finding["rule"] != "torch-unpinned":
            continue
        said = _ONLY_ON.search(finding["message"])
        if (_releases(said[2], known) if said else set()) != loads:
            yield f"loads on {sorted(map(str, loads))}; said: {finding['message']}"
        decided = any(cell["status"] != "unknown" for cell in row.values())
        if (_NOWHERE in finding["message"]) != (decided and not loads):
            yield f"loads nowhere; said: {finding['message']}"


def _of_fix(target: Mapping[str, Any]) -> Iterator[str]:
    plan = target["fix"]
    if (plan is not None) != (target["verdict"] == "unsafe" and target["kind"] == "wheel"):
        yield "a plan for what passes, or none for what does not"
    if plan and plan["passes"] != (plan["metadata"] is not None or bool(plan["choices"])):
        yield "passes without a change, or the reverse"
    if plan and plan["passes"] == (plan["why_not"] is not None):
        yield "says why not, and passes"
    if plan and plan["metadata"] and plan["lines"][0] not in target["summary"]:
        yield "the sentence does not name the fix"


def _of_host(target: Mapping[str, Any]) -> Iterator[str]:
    facts = {item["name"]: item for item in target["host"]["libraries"]}
    of_target = {item["path"] for item in target["libraries"]}
    for fact in facts.values():
        if not fact["needed_by"] or not of_target.issuperset(fact["needed_by"]):
            yield f"{fact['name']} is needed by {fact['needed_by']}"
        if fact["one_of"] and fact["need"] == "required":
            yield f"{fact['name']} is required, and one of {fact['one_of']}"
    for release, cell in target["torch"]["releases"].items():
        if cell["libstdcxx"] and cell["status"] == "unknown":
            yield f"{release} is unknown, and {cell['libstdcxx']} decides"


def _of_missing(target: Mapping[str, Any]) -> Iterator[str]:
    facts = {item["name"]: item for item in target["host"]["libraries"]}
    for finding in (*target["findings"], *target["ignored"]):
        if finding["rule"] != "needed-library-missing":
            continue
        for item in finding["evidence"]:
            fact = facts.get(item["name"])
            if fact is None or fact["need"] != "required" or fact["dependencies"]:
                yield f"{item['name']} is missing, and the host: {fact}"
            elif not set(fact["torch"]).isdisjoint(target["torch"]["asked"]):
                yield f"{item['name']} is missing, and torch has it"
            elif item["library"] not in fact["needed_by"]:
                yield f"{item['library']} does not need {item['name']}"


def _releases(runs: str, known: Sequence[Version]) -> set[Version]:
    """Return the releases that runs stand for: a minor release for all its patch releases."""
    found = set()
    for run in runs.split(", "):
        first, _, last = run.partition("-")
        found |= {r for r in known if _at_least(r, first) and _at_most(r, last or first)}
    return found


def _at_least(release: Version, bound: str) -> bool:
    return release >= Version(bound)


def _at_most(release: Version, bound: str) -> bool:
    limit = Version(bound)
    return release <= limit or (bound.count(".") == 1 and release.release[:2] == limit.release[:2])
