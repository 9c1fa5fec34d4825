"""`torch-abi-audit compat`: tables and answers from the wheels of a local index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import TEST_WHEELS, load_schema
from tests.end_to_end.test_index import UNSAFE, Index, Ran
from tests.indexes import be_quick, offer, pages_only, without_settings
from tests.servers import Fault, Server

LINUX = ("--platform", "linux_x86_64")
WHEELS = sorted(TEST_WHEELS.glob("*/*.whl"))


class Compat(Index):
    def __call__(self, *arguments: str) -> Ran:
        more = ("-i", self.server.index, "-j", "1", "--cache-dir", str(self.cache))
        return self.run("compat", *more, *arguments)


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch, tmp_path)
    be_quick(monkeypatch)


@pytest.fixture
def compat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Compat]:
    with Server() as server:
        offer(server, WHEELS)
        yield Compat(server, tmp_path, capsys)


def rows(found: Ran) -> list[dict[str, Any]]:
    jsonschema.validate(found.report, load_schema("compat"))
    return [row for package in found.report["packages"] for row in package["rows"]]


def test_the_table_as_text(compat: Compat) -> None:
    found = compat(*LINUX, "release-disagrees")
    assert (found.code, found.errors) == (0, [])
    title, _, header, *more = found.out.splitlines()
    assert title == "release-disagrees: PyTorch releases that each release loads on (linux x86_64)"
    assert header.split()[-3:] == ["metadata", "CUDA", "Python"]
    assert [line.split()[-1] for line in more if "torch>=" in line] == ["3.12", "3.13"]
    assert "  1.0: does not allow 2.10, guaranteed there" in more


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("markdown", r"\| 1\.0 \|.*✓.*\| torch&gt;=2\.10 \|"),
        ("html", r"<h1>.*stable-2-10"),
        ("text", r"guaranteed"),
    ],
)
def test_other_formats(compat: Compat, tmp_path: Path, form: str, wanted: str) -> None:
    to = tmp_path / "table"
    found = compat(*LINUX, "--format", form, "-o", f"json={to}", "stable-2-10")
    assert (found.code, found.errors) == (0, [])
    assert re.search(wanted, found.out)
    document = json.loads(to.read_text(encoding="utf-8"))
    jsonschema.validate(document, load_schema("compat"))


def test_the_table_says_what_the_audit_says(compat: Compat) -> None:
    """Of every wheel, for all platforms."""
    names = list(compat.server.projects)
    found = compat("--platform", "all", "--json", *names)
    assert found.code == 2
    assert [line.partition(":")[0] for line in found.errors] == [
        "build_unknown-1.0+rocm6.4-py39-none-manylinux_2_28_x86_64.whl",
        "corrupt_library-1.0-py39-none-manylinux_2_28_x86_64.whl",
    ]
    of_wheels = {wheel: row for row in rows(found) for wheel in row["wheels"]}
    audits = compat.run("--json", "--no-config", *map(str, WHEELS)).report["targets"]
    assert len(of_wheels) == len(audits) == len(WHEELS)
    for audit in audits:
        row = of_wheels[Path(audit["target"]).name]
        assert row["abi"] == audit["torch"]["abi"]
        claims = audit["claims"] or {"requires_torch": None}  # of an unknown build of torch
        assert row["requires_torch"] == claims["requires_torch"]
        assert bool(row["error"]) == (audit["verdict"] == "error")
        cells = {name: cell["status"] for name, cell in row["releases"].items()}
        assert cells == {name: cell["status"] for name, cell in audit["torch"]["releases"].items()}


def test_nothing_is_read_twice(compat: Compat) -> None:
    first = compat(*LINUX, "--json", "stable-2-10", "unstable")
    asked = len(compat.server.requests)
    assert compat(*LINUX, "--json", "stable-2-10", "unstable") == first
    assert compat(*LINUX, "--torch", "2.10", "--python", "3.12", "unstable").code == 0
    assert compat.run("index", "--no-config", "-i", compat.server.index, "-j", "1", "--cache-dir",
                      str(compat.cache), "unstable").code == 1  # fmt: skip
    assert pages_only(compat.server, asked)


@pytest.mark.parametrize(
    ("packages", "torch", "code", "kinds", "commands"),
    [
        (["stable-2-10"], "2.10", 0, ["guaranteed"], ["pip install stable-2-10==1.0"]),
        (["stable-2-10"], "2.9", 1, ["none"], [None]),
        (["unstable"], "2.10", 0, ["loads"], ["pip install unstable==1.0"]),
        (
            ["unstable-pinned"],
            "2.11",
            1,
            ["not-allowed"],
            ["pip install --no-deps unstable-pinned==1.0"],
        ),
        (["no-torch"], "2.10", 0, ["guaranteed"], ["pip install no-torch==1.0"]),
        (["stable-2-10"], "2.99", 2, ["unknown"], [None]),
        (
            ["stable-2-10", "stable-2-12"],
            "2.10",
            1,
            ["guaranteed", "none"],
            ["pip install stable-2-10==1.0", None],
        ),
    ],
)
def test_answers(
    compat: Compat,
    packages: list[str],
    torch: str,
    code: int,
    kinds: list[str],
    commands: list[str | None],
) -> None:
    found = compat(*LINUX, "--python", "3.12", "--torch", torch, "--json", *packages)
    jsonschema.validate(found.report, load_schema("compat"))
    answers = found.report["answers"]
    assert [answer["kind"] for answer in answers] == kinds
    assert [answer["command"] for answer in answers] == commands
    assert (found.code, found.errors) == (code, [])
    text = compat(*LINUX, "--python", "3.12", "--torch", torch, *packages)
    assert all(f"\n  {command}\n" in text.out for command in commands if command)


def test_what_was_not_looked_at_is_not_answered(compat: Compat) -> None:
    (wheel,) = TEST_WHEELS.glob("stable-2.10/*.whl")
    name = wheel.name.replace("1.0", "0.9")
    compat.server.add("stable-2-10", name, wheel.read_bytes())
    of_python = " with a wheel for Python 3.12 on linux x86_64 is known to work with torch 2.9"
    for asked, said in (
        (["stable-2-10"], f"no release of stable-2-10{of_python}"),
        (["stable-2-10>=1"], f"no release of stable-2-10>=1{of_python}"),
    ):
        answer = compat(*LINUX, "--python", "3.12", "--torch", "2.9", *asked).out
        assert said in answer
        assert "not looked at" not in answer
    of_one = compat(*LINUX, "--python", "3.12", "--torch", "2.9", "--latest", "1", "stable-2-10")
    assert "; 0.9 and older were not looked at" in of_one.out


def test_an_answer_reads_no_more_than_it_needs(compat: Compat) -> None:
    """Where the newest release is guaranteed, old ones are not read."""
    (wheel,) = TEST_WHEELS.glob("stable-2.10/*.whl")
    old = [
        compat.server.add("stable-2-10", wheel.name.replace("1.0", f"0.{n}"), wheel.read_bytes())
        for n in range(40)
    ]
    found = compat(*LINUX, "--python", "3.12", "--torch", "2.11", "stable-2-10")
    assert (found.code, found.errors) == (0, [])
    assert "pip install stable-2-10==1.0" in found.out
    assert len([path for path in old if compat.server.asked(path)]) < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no project nowhere on HOST"),
        (["macos-stable"], "macos-stable: the only wheel is not for linux x86_64"),
        (["unstable>=2"], "unstable>=2: no published release matches"),
        (["--torch", "2.10", "--python", "3.12", "nowhere"], "nowhere: no project nowhere on HOST"),
    ],
)
def test_nothing_to_show(compat: Compat, arguments: list[str], message: str) -> None:
    found = compat(*LINUX, *arguments)
    assert (found.code, found.errors) == (2, [message])
    assert "nowhere: PyTorch releases" not in found.out


def test_the_others_are_shown(compat: Compat) -> None:
    compat.server.misbehave(f"/files/{UNSAFE.name}", Fault(status=403))
    compat.server.misbehave("/simple/mixed/", Fault(status=500))
    found = compat(*LINUX, "--json", "unstable", "mixed", "stable-2-10")
    assert found.code == 2
    assert found.errors == [
        f"{UNSAFE.name}: cannot be read from HOST: the server answered 403 Forbidden",
        "mixed: cannot read mixed from HOST: the server answered 500 Internal Server Error",
    ]
    unread, read = rows(found)
    assert unread["error"] == "cannot be read from HOST: the server answered 403 Forbidden".replace(
        "HOST", compat.server.host
    )
    assert (read["error"], read["abi"]) == (None, "stable")
    compat.server.mend()
    again = compat(*LINUX, "--json", "unstable", "mixed", "stable-2-10")
    assert (again.code, again.errors) == (0, [])
    assert [row["error"] for row in rows(again)] == [None] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--torch", "2.10", "--platform", "all", "unstable"],
        ["--torch", "nonsense", "unstable"],
        ["--format", "sarif", "unstable"],
        ["--python", "two", "unstable"],
    ],
)
def test_wrong_usage(compat: Compat, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        compat(*arguments)
    assert caught.value.code == 2
    assert compat.server.requests == []


def test_wrong_arguments(compat: Compat) -> None:
    assert compat(*LINUX, "unstable[x]")[::2] == (
        2,
        ["'unstable[x]': a requirement on an index has no extra"],
    )
    (line,) = compat(*LINUX, "-o", "sarif=x.sarif", "unstable").errors
    assert line.startswith("--output: no tables in sarif (choose from text, markdown, json, html)")
