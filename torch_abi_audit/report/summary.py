"""How a target is told in few words: what all reports for people say alike.

Everything here takes the document of a target (see `document.py`), and what it returns is
text as it is in the document: whoever renders it escapes it.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torch_abi_audit.abi.mangling import demangle
from torch_abi_audit.claims.python_tags import ANY_LATER
from torch_abi_audit.claims.variants import TORCH_PROPERTY
from torch_abi_audit.model import (
    PASSING,
    BuildSource,
    Check,
    Evidence,
    EvidenceKind,
    HostNeed,
    LayoutStatus,
    PythonAbi,
    ReleaseStatus,
    Severity,
    Sign,
    TargetKind,
    Verdict,
)
from torch_abi_audit.rules import TORCH_UNUSED, UNSTABLE_ABI
from torch_abi_audit.wording import (
    count,
    does,
    either,
    first_of,
    join,
    last_part,
    number_runs,
    pythons,
    ranges,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch_abi_audit.report.shape import (
        BuiltWithDocument,
        CellDocument,
        CheckDocument,
        Document,
        EvidenceDocument,
        FindingDocument,
        HostLibraryDocument,
        PlanDocument,
        ProjectReleaseDocument,
        ReadableDocument,
        ReasonDocument,
        TargetDocument,
    )


class Mark(StrEnum):
    """What a cell of a drawn matrix shows, the best first.

    Those that are a `ReleaseStatus` have its value.
    """

    GUARANTEED = "guaranteed"
    LINKS = "links"
    CHANGED = "changed"
    BREAKS = "breaks"
    EXCLUDED = "excluded"
    UNKNOWN = "unknown"


LEGEND: dict[Mark, str] = {
    Mark.GUARANTEED: "guaranteed",
    Mark.LINKS: "loads, not guaranteed",
    Mark.CHANGED: "loads, but class layouts changed",
    Mark.BREAKS: "does not load",
    Mark.EXCLUDED: "does not load, not allowed",
    Mark.UNKNOWN: "unknown",
}
_SIGNS: dict[Mark, tuple[str, str]] = {  # in Unicode, and in ASCII
    Mark.GUARANTEED: ("✓", "G"),
    Mark.LINKS: ("~", "L"),
    Mark.CHANGED: ("c", "c"),
    Mark.BREAKS: ("✗", "X"),
    Mark.EXCLUDED: ("·", "."),
    Mark.UNKNOWN: ("?", "?"),
}

BROKEN = "broken"
GOOD_WORDS = frozenset({"safe", "pinned", "passed"})


def sign(mark: Mark, *, in_ascii: bool) -> str:
    """Return the one character that is drawn for a mark.

    Args:
        mark: The mark.
        in_ascii: Whether it is for a stream that takes no other characters.
    """
    return _SIGNS[mark][in_ascii]


class Fact(NamedTuple):
    """What was found of one topic beside what is claimed; None where there is no metadata."""

    topic: str
    found: str
    claimed: str | None


def is_fine(target: TargetDocument) -> bool:
    """Whether there is nothing to read but the verdict: a wheel without error or warning.

    Of anything else somebody asks what it is, not whether it may be published. With checks it is
    what passes them.
    """
    if target["checks"]:
        return not target["fails"]
    if target["kind"] != TargetKind.WHEEL or target["verdict"] not in PASSING:
        return False
    return not any(map(counts_for_more, target["findings"]))


def failing(target: TargetDocument) -> bool:
    """Whether a target is what a reader looks for first: it fails, or does not load here."""
    return _fails(target) or target["verdict"] in (Verdict.UNSAFE, Verdict.ERROR)


def _fails(target: TargetDocument) -> bool:
    here = target["here"]
    broken = here is not None and here["status"] == ReleaseStatus.BREAKS
    return target["fails"] or broken


def failures_first(targets: Iterable[TargetDocument]) -> list[TargetDocument]:
    """Return targets in the order of their weight, and within it as they were named.

    First is what could not be audited, then what fails, or does not load where it is
    installed, then what else is unsafe, then what has warnings.
    """

    def weight(target: TargetDocument) -> int:
        fails = [target["error"] is not None, _fails(target), failing(target)]
        order = (Verdict.PINNED, Verdict.SAFE, Verdict.NOT_APPLICABLE)
        known = [target["verdict"] == verdict for verdict in order]
        return [*fails, not is_fine(target), *known, True].index(True)

    return sorted(targets, key=weight)


def essence(target: TargetDocument) -> bytes:
    """Return a digest of all that is said of a target but the names of its files.

    Two targets with the same digest differ in nothing that a reader looks for.
    """
    digest = sha256()
    said = target["summary"].rpartition("; for Python ")[0] or target["summary"]
    rest = target["checks"], target["fix"], target["torch"]["releases"], target["here"]
    needed = [*host(target), *from_host(target)]
    digest.update(repr((said, target["error"], rest, needed)).encode())
    for finding in (*target["findings"], *target["ignored"]):
        if not counts_for_more(finding):
            digest.update(finding["rule"].encode())
            continue
        whole = {**finding, "libraries": len(finding["libraries"]), "evidence": ()}
        digest.update(repr(whole).encode())
        for item in finding["evidence"]:  # one by one: a hostile file has any number
            digest.update(repr({**item, "library": None}).encode())
    return digest.digest()


def counts(document: Document) -> list[tuple[Verdict, int]]:
    """Return how many targets have each verdict that one has, in a fixed order."""
    order = (Verdict.SAFE, Verdict.PINNED, Verdict.UNSAFE, Verdict.NOT_APPLICABLE, Verdict.ERROR)
    found = Counter(target["verdict"] for target in document["targets"])
    return [(verdict, found[verdict]) for verdict in order if found[verdict]]


def headline(document: Document, joint: str = " · ") -> str:
    """Say what the targets come to, in a few words and without the names of files."""
    match document["targets"]:
        case []:
            return document["conclusion"]["why"]
        case [target]:
            name = " ".join(filter(None, (target["name"], target["version"])))
            return name or f"1 {target['kind']}"
        case _:
            return joint.join(f"{number} {words(verdict)}" for verdict, number in counts(document))


def run_asides(document: Document) -> list[str]:
    """Return what else decides a run than the verdicts, and where it was audited."""
    checks, total = document["options"]["check"], len(document["targets"])
    said = []
    if checks and total:
        fails = sum(target["fails"] for target in document["targets"])
        said.append(f"--check {','.join(checks)}: {fails} of {count(total, 'target')} failed")
    if document["run_fails"]:
        rules = dict.fromkeys(f["rule"] for f in document["findings"] if counts_for_more(f))
        said.append(f"all targets together failed: {', '.join(rules)}")
    if document["environment"] is not None:
        said.append(document["conclusion"]["why"])
    return said


def counts_for_more(finding: FindingDocument) -> bool:
    """Whether a finding is more than an aside."""
    return finding["counts"]


def sentence(target: TargetDocument) -> str:
    """Return what a target comes to in one sentence: by the checks, where there are any."""
    if not target["checks"] or target["error"] is not None:
        return broken_here(target) or target["summary"]
    unused = [f["message"] for f in target["findings"] if f["rule"] == TORCH_UNUSED]
    ignored = _unstable_symbols(target["ignored"])
    return "; ".join([*unused, *(_checked(item, ignored) for item in target["checks"])])


def word(target: TargetDocument) -> str:
    """Return what a target comes to in one word: its verdict, or what came of the checks.

    A package that does not fit the installed torch is `BROKEN`, whatever its wheel is.
    """
    if target["error"] is not None:
        return target["verdict"]
    if target["checks"]:
        return "failed" if target["fails"] else "passed"
    return target["verdict"] if broken_here(target) is None else BROKEN


def fails_without_finding(target: TargetDocument) -> bool:
    """Whether a check fails for what no finding is about: a wheel may well be for one Python."""
    failed = any(not result["passed"] for result in target["checks"])
    return failed and not any(map(counts_for_more, target["findings"]))


def _checked(result: CheckDocument, ignored: int) -> str:
    """Say what came of a check, and how many unstable symbols are ignored."""
    number = len(result["libraries"])
    some = does(number, "library", "use") if number else "no library uses"
    match result["check"]:
        case Check.TORCH:
            more = f", {ignored} ignored" if ignored else ""
            symbols = f" ({count(result['symbols'], 'symbol')}{more})" if number else ""
            but = f", except for {count(ignored, 'ignored symbol')}" if ignored else ""
            said = f"{some} the unstable ABI{symbols or but}"
        case _:
            which = count(number, "library") if number else "no library"
            named = f" ({first_of(result['libraries'])})" if number else ""
            said = f"{which} {'is' if number <= 1 else 'are'} tied to one Python{named}"
    return f"--check {result['check']}: {said}"


def aside_of(findings: Sequence[FindingDocument]) -> str:
    """Count the findings that are asides, by severity: ``2 notes``, ``3 other findings``."""
    rest = [finding for finding in findings if not counts_for_more(finding)]
    notes = all(finding["severity"] == Severity.NOTE for finding in rest)
    return count(len(rest), "note" if notes else "other finding") if rest else ""


def words(verdict: str) -> str:
    """Return a verdict as it stands in a sentence."""
    return verdict.replace("-", " ")


def filename(target: TargetDocument) -> str:
    """Return what a target is called in a table: the last part of its path."""
    return last_part(str(target["target"]))


def contents(target: TargetDocument) -> str:
    """Say how many libraries there are in it, and how well they could be read."""
    files = {item["path"]: item for item in target["libraries"]}
    modules = sum(item["kind"] == "extension" for item in files.values())
    unread = sum(item["error"] is not None for item in files.values())
    parts = [count(len(files), "library")]
    parts += [count(modules, "Python extension module")] if modules else []
    parts += [f"{unread} unreadable"] if unread else []
    return ", ".join([*parts, *cut_short(target)])


def cut_short(target: TargetDocument) -> list[str]:
    """Say how many libraries were read no further than their tables."""
    cut = {i["path"] for i in target["libraries"] if i["error"] is None and not i["verified"]}
    return [f"{len(cut)} not read to the end, --verify"] if cut else []


def facts(target: TargetDocument) -> list[Fact]:
    """Return what was found of torch, Python and the machine, beside what is claimed of them."""
    claims = target["claims"]
    found = [("torch", found_torch(target)), ("python", found_python(target))]
    found.append(("machine", _set(item["arch"] for item in readable(target))))
    claimed: list[str | None] = [None, None, None]
    if claims is not None:
        tags = [tag.split("-") for tag in claims["tags"]]
        asked = claims["requires_torch"]
        python = claims["requires_python"]
        of_torch, others = _properties(claims["variant_properties"])
        claimed = [
            required_torch(asked) + of_torch,
            _set(f"{tag[0]}-{tag[1]}" for tag in tags)
            + (f", Requires-Python {python}" if python else ""),
            _set(tag[2] for tag in tags) + others,
        ]
    return [Fact(topic, said, claim) for (topic, said), claim in zip(found, claimed, strict=True)]


def _properties(properties: Sequence[str]) -> tuple[str, str]:
    """Return what the properties of a variant say of torch, and of the machine."""
    of_torch = [item for item in properties if item.startswith(TORCH_PROPERTY)]
    others = [item for item in properties if item not in of_torch]
    said = (f", {first_of(items)}" if items else "" for items in (of_torch, others))
    return next(said), next(said)


def required_torch(required: str | None) -> str:
    """Return what the metadata requires of torch: None for nothing, "" for any release."""
    if required is None:
        return "not declared"
    return f"torch{required}" if required else "any release"


def readable(target: TargetDocument) -> list[ReadableDocument]:
    """Return the libraries that could be read."""
    return [item for item in target["libraries"] if item["torch"] is not None]


def found_torch(target: TargetDocument) -> str:
    """Say how a target uses torch."""
    users = [
        item["torch"]
        for item in readable(target)
        if item["torch"]["abi"] != "none" or item["torch"]["needed"]
    ]
    torch = target["torch"]
    if not users:
        return "not used"
    if torch["abi"] == "unstable":
        unstable = sum(item["abi"] == "unstable" for item in users)
        of_all = f" in {unstable} of {len(users)} libraries" if unstable < len(users) else ""
        built = torch["built_with"]
        return f"unstable ABI{of_all}{f', built with {_built_with(built)}' if built else ''}"
    if torch["floor"] is None:
        return "linked, but no symbol used"
    newer = ", perhaps a newer one" if any(item["unknown_shims"] for item in users) else ""
    because = "" if torch["floor_symbols"] else ", the first with a stable ABI"
    return f"stable ABI, needs {short(Version(torch['floor']))} or newer{newer}{because}"


def _built_with(built: BuiltWithDocument) -> str:
    """Say what a target was built with, and what tells."""
    dated = f"dated {built['date']}" if built["date"] else ""
    if built["sign"] == Sign.DATE:
        return f"torch {built['newest']} or older ({dated})"
    signs = filter(None, (_SIGNS_OF_BUILD[Sign(built["sign"])], dated))
    return f"torch {either(list(map(Version, built['releases'])))} ({', '.join(signs)})"


_SIGNS_OF_BUILD = {
    Sign.ASSERTIONS: "by inlined assertions",
    Sign.NAME: "by its name",
    Sign.PIN: "by its pin",
}


def found_python(target: TargetDocument) -> str:
    """Say how a target uses CPython's C API."""
    match target["python"]["abi"]:
        case "none":
            return "C API not used"
        case "version-specific":
            users = [i for i in readable(target) if i["python"]["abi"] == "version-specific"]
            return f"tied to one Python, by {count(len(users), 'library')}"
        case "abi3t":
            return f"abi3t, {target['python']['floor']} or newer"
        case _:
            return f"abi3, {target['python']['floor']} or newer"


def asides(target: TargetDocument) -> list[str]:
    """Return what is no finding and worth knowing."""
    torch = [item["torch"] for item in readable(target)]
    weak = sum(len({*use["weak_symbols"]} - {*use["unstable_symbols"]}) for use in torch)
    progress = target["torch"]["progress"]
    stable, unstable = progress["stable"], progress["unstable"]
    said = []
    if weak:
        said.append(f"{count(weak, 'weak torch import')} ignored (optional at load time)")
    if stable and unstable:
        said.append(f"{stable} of {stable + unstable} libraries on the stable ABI")
    said += host(target)
    said += since_baseline(target)
    ignored = _unstable_symbols(target["ignored"])
    if ignored:
        left = _unstable_symbols(target["findings"])
        said.append(f"{count(left, 'unstable symbol')} left, {ignored} ignored")
    return said


def host(target: TargetDocument) -> list[str]:
    """Say which libraries the host has to provide, and which may come from elsewhere."""
    needed = from_host(target)
    of_others: list[str] = []
    optional: list[str] = []
    for item in target["host"]["libraries"]:
        if item["dependencies"] and item["need"] != HostNeed.DRIVER:
            of_others.append(f"{_versions(item)} ({' or '.join(item['dependencies'])})")
        elif item["need"] in (HostNeed.OPTIONAL, HostNeed.PLUGIN):
            optional.append(_versions(item))
    head = "host must provide" if target["claims"] else "needed from elsewhere"
    exact = [name for name in needed if "{" not in name]
    versions = [name for name in needed if "{" in name]
    if versions:
        each = " each" if len(versions) > 1 else ""
        versions[0] = f"one version{each} of {versions[0]}"
    lines = (
        (head, [*exact, *versions]),
        ("dependencies may provide", of_others),
        ("optional, or only for plugins", optional),
    )
    return [f"{head}: {_some(dict.fromkeys(names))}" for head, names in lines if names]


def from_host(target: TargetDocument) -> list[str]:
    """Return the libraries that the host has to provide, each once for all of its versions.

    Those that each torch release brings that the target is checked against are left out.
    """
    asked = target["torch"]["asked"]
    found = []
    for item in target["host"]["libraries"]:
        name, brings = _versions(item), set(item["torch"])
        if item["need"] == HostNeed.DRIVER:
            found.append(f"{name} (NVIDIA driver)")
        elif item["need"] in (HostNeed.REQUIRED, HostNeed.ONE_OF) and not item["dependencies"]:
            if asked and brings.issuperset(asked):
                continue
            without = [release for release in asked if release not in brings]
            on = ranges(
                map(Version, without), list(map(Version, target["torch"]["releases"] or asked))
            )
            found.append(f"{name} (on torch {on})" if len(without) < len(asked) else name)
    return list(dict.fromkeys(found))


def _versions(item: HostLibraryDocument) -> str:
    """Return the versions of a library, any one of which is enough: ``libavutil.so.{58-60}``."""
    names = item["one_of"]
    parts = [re.split(r"([0-9]+)", name) for name in names]
    differ = [place for place, texts in enumerate(zip(*parts, strict=False)) if len(set(texts)) > 1]
    if len(differ) != 1 or any(len(part[differ[0]]) > _DIGITS for part in parts):
        return " or ".join(names) or item["name"]
    (place,) = differ
    runs = number_runs({int(part[place]) for part in parts})
    numbers = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    before, after = "".join(parts[0][:place]), "".join(parts[0][place + 1 :])
    return f"{before}{{{numbers}}}{after}"


# What `repair` goes by as well; it takes no option for it.
_OF_METADATA = (BuildSource.REQUIREMENT, BuildSource.VERSION)
_DIGITS = 9  # of a version: more are no version
_LISTED = 12  # libraries in one line


def _some(names: Iterable[str]) -> str:
    """Return names in their order, of very many the first."""
    names = list(names)
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def conditions(target: TargetDocument) -> list[str]:
    """Say which cells of the matrix depend on the host's libstdc++."""
    cells = target["torch"]["releases"]
    known = list(map(Version, cells))
    found: dict[str, list[Version]] = {}
    for release, cell in cells.items():
        if cell["libstdcxx"]:
            found.setdefault(cell["libstdcxx"], []).append(Version(release))
    return [
        f"torch {ranges(releases, known)}: loads where libstdc++ has {version}, newer than the tags"
        " promise"
        for version, releases in found.items()
    ]


def since_baseline(target: TargetDocument) -> list[str]:
    """Say what changed since the baseline."""
    found = target["baseline"]
    if found is None:
        return []
    name = found["version"] or last_part(found["target"])
    before, now = found["unstable_before"], count(found["unstable_now"], "unstable symbol")
    parts = [f"{before} -> {now}" if before != found["unstable_now"] else f"{now}, as before"]
    moved, back = len(found["moved"]), len(found["back"])
    parts += [f"{count(moved, 'library')} moved to the stable ABI"] if moved else []
    parts += [f"{count(back, 'library')} left the stable ABI"] if back else []
    return [f"since {name}: {', '.join(parts)}"]


def _unstable_symbols(findings: Iterable[FindingDocument]) -> int:
    """Count the symbols that keep libraries off the stable ABI, each library's by itself."""
    return sum(len(item["evidence"]) for item in findings if item["rule"] == UNSTABLE_ABI)


def named_libraries(target: TargetDocument) -> Iterator[tuple[str, ReadableDocument]]:
    """Yield the libraries that could be read by name; slices of a universal file with theirs."""
    found = readable(target)
    slices = Counter(item["path"] for item in found)
    for item in found:
        several = slices[item["path"]] > 1
        yield f"{item['path']} ({item['arch']})" if several else item["path"], item


def torch_in_short(target: TargetDocument) -> str:
    """Return the ABI of torch that a target uses, and its floor, for a table."""
    if target["error"] is not None and not target["libraries"]:
        return "-"
    floor = f" {target['torch']['floor']}" if target["torch"]["floor"] else ""
    return f"{target['torch']['abi']}{floor}"


def python_in_short(target: TargetDocument) -> str:
    """Return the ABI of CPython that a target uses, and its floor, for a table."""
    if target["error"] is not None and not target["libraries"]:
        return "-"
    if target["python"]["abi"] == PythonAbi.NONE:
        return "no C API"
    floor = f" {target['python']['floor']}" if target["python"]["floor"] else ""
    return f"{target['python']['abi']}{floor}"


def severities(findings: Iterable[FindingDocument], severity: Severity) -> int:
    """Count the findings of a severity."""
    return sum(finding["severity"] == severity for finding in findings)


class MatrixCell(NamedTuple):
    """A cell of the matrix, and whether the metadata allows that release at all."""

    mark: Mark
    asked: bool


class MatrixTable(NamedTuple):
    """The compatibility matrix, ready to be drawn.

    Attributes:
        major: What the releases share, as ``2.``, and the labels leave out.
        labels: The releases; patch releases share a column where they agree.
        rows: Each with its name and its cells: the target's own, and libraries that agree.
    """

    major: str
    labels: list[str]
    rows: list[tuple[str, list[MatrixCell]]]


def _asked(target: TargetDocument, releases: Iterable[str]) -> list[bool]:
    """Whether releases are among those that a target was judged against."""
    asked = set(target["torch"]["asked"])
    return [release in asked for release in releases]


def drawn(status: ReleaseStatus, layout: LayoutStatus | None, *, asked: bool) -> MatrixCell:
    """Return what is drawn for a release, given whether the metadata allows it."""
    mark = Mark(status)
    if mark is Mark.LINKS and layout == LayoutStatus.CHANGED:
        mark = Mark.CHANGED
    elif mark is Mark.BREAKS and not asked:  # nobody installs it there
        mark = Mark.EXCLUDED
    return MatrixCell(mark, asked)


def _drawn(cell: CellDocument, *, asked: bool) -> MatrixCell:
    return drawn(cell["status"], cell["layout"], asked=asked)


def matrix(target: TargetDocument) -> MatrixTable | None:
    """Return the matrix of a target; None where nothing of it needs torch."""
    row = target["torch"]["releases"]
    if not row:
        return None
    releases = [Version(release) for release in row]
    asked = _asked(target, row)

    def draw(cells: Iterable[CellDocument]) -> tuple[MatrixCell, ...]:
        return tuple(_drawn(cell, asked=of) for cell, of in zip(cells, asked, strict=True))

    own = draw(row.values())
    rows = [(f"the whole {target['kind']}", own)]
    names: dict[tuple[MatrixCell, ...], list[str]] = {}
    for name, item in named_libraries(target):
        cells = item["torch"]["releases"]
        if cells:
            names.setdefault(draw(cells.values()), []).append(name)
    if set(names) != {own}:  # one line says it all where all libraries agree
        for drawn, of_row in names.items():
            rows.append((first_of(of_row), drawn))
    major, columns = fold(releases, [drawn for _, drawn in rows])
    return MatrixTable(
        major,
        [label for label, _ in columns],
        [(name, [drawn[place] for _, place in columns]) for name, drawn in rows],
    )


def fold(
    releases: Sequence[Version], rows: Sequence[Sequence[MatrixCell]]
) -> tuple[str, list[tuple[str, int]]]:
    """Return the columns to print, each with its label and the place of its release.

    Patch releases stand in one column with the first of their minor where all rows agree,
    on whether they are allowed too.
    A major number that all share is returned first, and left out of the labels.
    """
    shared = f"{releases[0].major}." if len({r.major for r in releases}) == 1 else ""
    columns: list[tuple[str, int]] = []
    for place, release in enumerate(releases):
        before = columns[-1][1] if columns else None
        if (
            before is not None
            and releases[before].release[:2] == release.release[:2]
            and all(row[before] == row[place] for row in rows)
        ):
            continue
        label = f"{release.major}.{release.minor}" if release.micro == 0 else str(release)
        columns.append((label.removeprefix(shared), place))
    return shared, columns


def overview(targets: Sequence[TargetDocument], known: Sequence[str]) -> MatrixTable:
    """Return one matrix of all targets; where a target has no cell the status is unknown.

    Args:
        targets: Their documents; those without a cell at all have an empty row.
        known: The releases of torch that the catalog has.
    """
    rows: list[tuple[str, list[MatrixCell]]] = []
    for target in targets:
        cells = target["torch"]["releases"]
        drawn_row = [
            _drawn(cells[release], asked=asked)
            if release in cells
            else MatrixCell(Mark.UNKNOWN, asked)
            for release, asked in zip(known, _asked(target, known), strict=True)
        ]
        rows.append((filename(target), drawn_row if cells else []))
    drawn = [cells for _, cells in rows if cells]
    if not drawn:
        return MatrixTable("", [], rows)
    major, columns = fold(list(map(Version, known)), drawn)
    return MatrixTable(
        major,
        [label for label, _ in columns],
        [(name, [cells[place] for _, place in columns if cells]) for name, cells in rows],
    )


def fixes(target: TargetDocument) -> list[str]:
    """Return what to change, the first thing first: the proven fix, else those of findings."""
    if word(target) == BROKEN:
        command = (target["here"] or {"remedy": None})["remedy"]
        return [command["command"]] if command and command["command"] else []
    plan = None if target["checks"] else target["fix"]
    if plan is not None and plan["lines"]:
        return list(plan["lines"])
    if plan is not None and plan["choices"]:
        return ["pin the torch release that it was built with"]
    for severity in (Severity.ERROR, Severity.WARNING):
        counting = filter(counts_for_more, target["findings"])
        found = [f for f in counting if f["severity"] == severity and f["fix"]]
        if found:
            # The one line to change first, then what takes a rewrite.
            found.sort(key=lambda finding: finding["fix_line"] is None)
            return list(dict.fromkeys(finding["fix"] or "" for finding in found))
    return []


def fix_parts(finding: FindingDocument) -> tuple[str, str]:
    """Return the line of a fix to paste, and what else there is to say; what is no line alone."""
    fix, line = finding["fix"] or "", finding["fix_line"] or ""
    return (line, fix.removeprefix(line)) if line and fix.startswith(line) else (fix, "")


def fix_lines(target: TargetDocument) -> list[tuple[str, str]]:
    """Return what to change about a target that does not pass, as lines with a label."""
    plan = target["fix"]
    if plan is None or target["checks"]:  # which it is not about
        return []
    lines = []
    if plan["choices"]:
        lines = [("fix", "pin the torch release that the wheel was built with, one of:")]
        lines += [("", ", ".join(choice["lines"])) for choice in plan["choices"]]
    elif plan["passes"]:
        lines = [("fix", plan["lines"][0]), *(("", line) for line in plan["lines"][1:])]
        what = "the release that it was built with; " if _pins_build(plan, target) else ""
        # `not-applicable` says nothing of what was wrong.
        is_told = plan["verdict"] != Verdict.NOT_APPLICABLE
        becomes = f"is {plan['verdict']}, and passes" if is_told else "passes"
        lines.append(("", f"({what}with it the wheel {becomes})"))
        build = target["torch"]["build"]
        if build is None or build["source"] in _OF_METADATA:  # `repair` takes no other
            lines.append(("", "or let `torch-abi-audit repair WHEEL` write that wheel"))
    elif plan["why_not"]:
        # The closing sentence has it too, unless another finding is what it is about.
        why = "" if plan["why_not"] in target["summary"] else f": {plan['why_not']}"
        lines = [("fix", f"no change of metadata found that makes it pass{why}")]
    told = {finding["fix"] for finding in target["findings"]}
    return [*lines, *(("build", text) for text in plan["build"] if text not in told)]


def _pins_build(plan: PlanDocument, target: TargetDocument) -> bool:
    """Whether a fix pins the release that a target was built with, if that is known."""
    built, change = target["torch"]["built_with"], plan["metadata"]
    if plan["verdict"] != Verdict.PINNED or built is None or built["sign"] == Sign.DATE:
        return False
    releases = list(map(Version, built["releases"]))
    pin = change["requires_torch"] if change is not None else None
    if pin is None or not any(SpecifierSet(pin).filter(releases)):
        return False
    pinned = SpecifierSet(pin).filter(map(Version, target["torch"]["releases"]))
    return len({release.release[:2] for release in [*pinned, *releases]}) == 1


def here(target: TargetDocument) -> str | None:
    """Say how a package stands with the torch that is installed alongside it."""
    found = target["here"]
    if found is None:
        return None
    status = LEGEND[Mark(found["status"])]
    return broken_here(target) or f"{status} with torch {found['torch']}"


def legend(table: MatrixTable) -> list[Mark]:
    """Return the marks that a matrix has, in the order of their worth."""
    used = {cell.mark for _, cells in table.rows for cell in cells}
    return [mark for mark in Mark if mark in used]


def evidence(finding: FindingDocument) -> list[EvidenceDocument]:
    """Return the evidence of a finding; where that is of one library, without its name.

    A symbol of several libraries is there once.
    """
    if _of_symbols(finding):
        names = {item["name"]: item for item in reversed(finding["evidence"])}
        return [{**item, "library": None} for item in reversed(names.values())]
    several = len(finding["libraries"]) > 1
    return [
        {**item, "library": item["library"] if several else None} for item in finding["evidence"]
    ]


def evidence_text(item: EvidenceDocument) -> str:
    """Return a piece of evidence in one line, without its declaration."""
    return str(Evidence(**item))


def told(item: EvidenceDocument) -> str:
    """Return a piece of evidence in one line: a symbol as it is declared, if it is."""
    if item["declaration"] is None:
        return evidence_text(item)
    return ": ".join(filter(None, (item["library"], item["declaration"], item["detail"])))


def evidence_lines(item: EvidenceDocument) -> list[str]:
    """Return a piece of evidence: a symbol by its declaration first, then as it is mangled."""
    return [told(item), *([] if item["declaration"] is None else [item["name"]])]


def library_lines(finding: FindingDocument) -> list[str]:
    """Return the libraries of a finding, each with how much of the evidence is of it."""
    if names_libraries(finding) and not _of_symbols(finding):
        return []
    numbers = Counter(item["library"] for item in finding["evidence"])
    several = len(finding["libraries"]) > 1
    return [
        f"{path} ({count(numbers[path], 'symbol')})"
        if several and numbers[path] and _of_symbols(finding)
        else path
        for path in finding["libraries"]
    ]


def _of_symbols(finding: FindingDocument) -> bool:
    return all(item["kind"] == EvidenceKind.SYMBOL for item in finding["evidence"])


def names_libraries(finding: FindingDocument) -> bool:
    """Whether the evidence of a finding says which library each piece is of."""
    found = evidence(finding)
    return bool(found) and all(item["library"] for item in found)


def reason_name(reason: ReasonDocument) -> str:
    """Return what is missing or changed: a symbol as it is declared."""
    return demangle(reason["name"]) or reason["name"]


def reason_text(reason: ReasonDocument) -> str:
    """Return in one line why a library does not load."""
    return f"{reason_name(reason)}: {reason['detail']}"


def conclusion(document: Document) -> str:
    """Return the closing sentence."""
    return "{word}: {why}".format(**document["conclusion"])


def matrix_notes(target: TargetDocument) -> list[str]:
    """Return what has to be said of a matrix: its builds of torch, its conditions, alternatives."""
    return [*_of_builds(target), *conditions(target), *alternatives(target)]


def _of_builds(target: TargetDocument) -> list[str]:
    """Say which builds of torch a target was checked against, and which of them were measured."""
    use = target["torch"]["build"]
    if use is None:
        return []
    known = [*map(Version, target["torch"]["releases"])]
    said = [
        f"{ranges(map(Version, releases), known)} {how}"
        for releases, how in (
            (use["measured"], "measured"),
            (use["derived"], "derived from PyPI's builds"),
        )
        if releases
    ]
    return [f"torch's {use['name']} builds ({use['source']}): {', '.join(said) or 'not known'}"]


def alternatives(target: TargetDocument) -> list[str]:
    """Say which libraries were taken for alternatives, of which torch's release chooses one."""
    groups: dict[str, list[tuple[int, ...]]] = {}
    for item in target["torch"]["alternatives"]:
        release = tuple(map(int, item["release"].split(".")))
        groups.setdefault(item["group"], []).append(release)
    return [
        f"{group}: alternatives, each for one release of torch"
        f" ({', '.join('.'.join(map(str, release)) for release in sorted(set(releases)))})"
        for group, releases in groups.items()
    ]


def broken_here(target: TargetDocument) -> str | None:
    """Say why a package does not fit the torch installed alongside it, and what to run."""
    found = target["here"]
    if found is None or found["remedy"] is None:
        return None
    why, command = found["remedy"]["why"], found["remedy"]["command"]
    return why if command is None else f"{why}; fix: {command}"


def coverage(release: ProjectReleaseDocument, known: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return what the wheels of a release cover: platform, Pythons, releases of torch."""
    releases = list(map(Version, known))
    return [
        (
            row["platform"] if row["variant"] is None else f"{row['platform']} ({row['variant']})",
            f"Python {pythons(row['pythons'], ANY_LATER.minor) or 'none'}",
            ""
            if row["torch"] is None
            else f"loads on torch {ranges(map(Version, row['torch']), releases) or 'none'}",
        )
        for row in release["coverage"]
    ]


def _set(names: Iterable[str]) -> str:
    return join(set(names))
