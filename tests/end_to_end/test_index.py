"""`torch-abi-audit index`: of published wheels it says what an audit of the same files says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from tests.builders import METADATA, NAME, TEST_WHEELS, a_library, load_schema, write_wheel
from tests.indexes import be_quick, offer, pages_only, small_parts, without_settings
from tests.servers import Fault, Page, Server, html_page
from torch_abi_audit.cli import main

WHEELS = sorted(TEST_WHEELS.glob("*/*.whl"))
(UNSAFE,) = (TEST_WHEELS / "unstable").glob("*.whl")
(SAFE,) = (TEST_WHEELS / "stable-2.10").glob("*.whl")
SIZE = UNSAFE.stat().st_size
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals")


class Ran(NamedTuple):
    """What a run came to; the server's address and the wheels' names are left out of errors."""

    code: int
    out: str
    errors: list[str]

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    @property
    def verdicts(self) -> dict[str, str]:
        return {item["target"]: item["verdict"] for item in self.report["targets"]}


class Index:
    """A server, and the command that reads it."""

    def __init__(self, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.cache = folder / "cache"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        more: tuple[str, ...] = () if "--config" in arguments else ("--no-config",)
        more += ("-i", self.server.index, "-j", "1", "--cache-dir", str(self.cache))
        return self.run("index", *more, *arguments)

    def run(self, *arguments: str) -> Ran:
        code = main(arguments)
        said = self._capsys.readouterr()
        errors = said.err.replace(self.server.host, "HOST").replace("torch-abi-audit: ", "")
        return Ran(code, said.out, errors.splitlines())


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        without_settings(patch, tmp_path)
        be_quick(patch)
        (tmp_path / "tmp").mkdir()
        patch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        yield
        assert list((tmp_path / "tmp").iterdir()) == []  # nothing is left behind


@pytest.fixture
def index(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Index:
    return Index(server, tmp_path, capsys)


def comparable(report: Any) -> Any:
    """Return a report with wheels by their names, in their order."""
    if isinstance(report, dict):
        return {key: comparable(value) for key, value in report.items()}
    if isinstance(report, list):
        found = list(map(comparable, report))
        named = found and isinstance(found[0], dict) and "target" in found[0]
        return sorted(found, key=lambda item: item["target"]) if named else found
    return Path(report).name if isinstance(report, str) and report.endswith(".whl") else report


# The same as of files


@pytest.mark.parametrize(("form", "verify"), [("json", ()), ("html", ("--verify",))])
def test_every_wheel_is_what_its_file_is(index: Index, verify: tuple[str, ...], form: str) -> None:
    """Verdicts, matrix and findings, also about releases as a whole."""
    of = offer(index.server, WHEELS)
    if form == "html":
        for project, pages in index.server.projects.items():
            index.server.serve(f"/simple/{project}/", html_page(pages), "text/html")
    local = index.run("--json", "--no-config", *verify, *map(str, WHEELS))
    with small_parts():
        published = index("--json", *verify, *of)
    assert published.errors == [
        re.sub(r"^.*?/([^/]+\.whl: )", r"\1", line) for line in local.errors
    ]
    assert published.code == local.code == 2
    assert comparable(published.report) == comparable(local.report)
    jsonschema.validate(published.report, load_schema())
    partial = [request for request in index.server.requests if "Range" in request.headers]
    assert bool(partial) is not bool(verify)

    asked = len(index.server.requests)
    assert index("--json", *verify, *of) == published
    assert pages_only(index.server, asked)
    assert len(index.server.requests) == asked + len(of)


def test_several_processes(index: Index) -> None:
    of = offer(index.server, WHEELS[:12])
    one = index("--json", "--no-cache", *of)
    assert index("--json", "-j", "2", *of) == one
    asked = len(index.server.requests)
    assert index("--json", "-j", "2", *of) == one
    assert pages_only(index.server, asked)


@pytest.mark.parametrize("name", ["release-disagrees", "alternatives", "ignored"])
def test_text_is_the_same_too(index: Index, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = TEST_WHEELS / name
    wheels = sorted(folder.glob("*.whl"))
    offer(index.server, wheels)
    config = folder / "pyproject.toml"
    more = ["--config", str(config)] if config.exists() else []
    monkeypatch.chdir(folder)
    assert (
        index(*more, name)[:2]
        == index.run(*(more or ["--no-config"]), *(wheel.name for wheel in wheels))[:2]
    )


def test_wheels_of_a_folder(index: Index, tmp_path: Path) -> None:
    folder = TEST_WHEELS / "release-in-agreement"
    arguments = ("--json", "--no-config", "--no-index", "-j", "1", "-f", str(folder))
    found = index.run("index", *arguments, "--no-cache", "release-in-agreement")
    local = index.run("--json", "--no-config", *map(str, sorted(folder.glob("*.whl"))))
    assert comparable(found.report) == comparable(local.report)
    cache = ("--cache-dir", str(tmp_path / "unused"))
    assert index.run("index", *arguments, *cache, "release-in-agreement").code == local.code
    assert "results for 0 wheels" in index.run("cache", "show", *cache).out


# The cache


def test_the_cache_can_be_shown_and_cleared(index: Index) -> None:
    offer(index.server, [SAFE, UNSAFE])
    cache = ("--cache-dir", str(index.cache))
    names = ("stable-2.10", "unstable")
    assert index.run("cache", "show", *cache).out.startswith(f"{index.cache}: results for 0 wheels")
    first = index("--json", *names)
    shown = index.run("cache", "show", *cache)
    assert (shown.code, shown.errors) == (0, [])
    assert re.fullmatch(r".*: results for 2 wheels, 0\.\d MB\n", shown.out)
    assert index.run("cache", "clear", *cache)[:2] == (0, f"{index.cache}: 0.0 MB deleted\n")
    asked = len(index.server.requests)
    assert index("--json", *names) == first
    assert not pages_only(index.server, asked)


def test_no_cache(index: Index) -> None:
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    for times in (1, 2):
        assert index("--no-cache", "stable-2.10").code == 0
        assert len(index.server.asked(path)) == times
    assert not index.cache.exists()


def test_another_configuration_is_judged_again_without_reading(index: Index) -> None:
    offer(index.server, [UNSAFE])
    assert index("unstable").code == 1
    asked = len(index.server.requests)
    ignoring = index("--ignore", "unstable-torch-symbol", "--ignore", "torch-unpinned", "unstable")
    assert ignoring.code == 0
    assert index("--torch", "2.12", "--require-stable", "unstable").code == 1
    assert pages_only(index.server, asked)


def test_what_was_not_verified_is_read_again_to_verify_it(index: Index) -> None:
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    assert index("stable-2.10").code == 0
    assert index("--verify", "stable-2.10").code == 0
    assert len(index.server.asked(path)) == 2


def test_the_configuration_can_ask_to_verify(index: Index, tmp_path: Path) -> None:
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    config = tmp_path / "pyproject.toml"
    config.write_text("[tool.torch-abi-audit]\nverify = true\n", encoding="utf-8")
    assert index("--config", str(config), "stable-2.10").code == 0
    assert ["Range" in request.headers for request in index.server.asked(path)] == [False]


def test_a_cache_that_cannot_be(index: Index) -> None:
    shown = index.run("cache", "show", "--cache-dir", "a" * 300)
    assert (shown.code, shown.errors[0].rpartition(": ")[2]) == (2, "File name too long")


def test_showing_a_cache_makes_none(index: Index, tmp_path: Path) -> None:
    cache = ("--cache-dir", str(tmp_path / "typo" / "x"))
    assert index.run("cache", "show", *cache)[0] == 0
    assert not (tmp_path / "typo").exists()
    index.cache.mkdir()
    (index.cache / "results.sqlite").write_bytes(b"not a database" * 100)
    shown = index.run("cache", "show", "--cache-dir", str(index.cache))
    assert (shown.code, shown.out) == (2, "")
    (line,) = shown.errors
    assert line.startswith(f"the cache is not used: {index.cache / 'results.sqlite'}: ")


def test_a_cache_that_cannot_be_used(index: Index, tmp_path: Path) -> None:
    offer(index.server, [SAFE])
    right = index("--json", "stable-2.10")
    (index.cache / "results.sqlite").write_bytes(b"not a database" * 100)
    found = index("--json", "stable-2.10")
    assert found[:2] == right[:2]
    (line,) = found.errors
    assert line.startswith("the cache is not used: ")
    (tmp_path / "file").touch()
    index.cache = tmp_path / "file" / "cache"
    assert index("--json", "stable-2.10")[:2] == right[:2]


# Which wheels, and exit codes


def test_which_wheels(index: Index) -> None:
    wheels = [*TEST_WHEELS.glob("release-disagrees/*.whl")]
    offer(index.server, wheels)
    server = index.server
    server.add("release-disagrees", "release_disagrees-0.9-py3-none-any.whl", b"", yanked=True)
    server.add("release-disagrees", "release_disagrees-1.0.tar.gz", b"")
    found = index("--json", "release-disagrees")
    assert set(found.verdicts) == {wheel.name for wheel in wheels}
    assert found.errors == [
        "release-disagrees: 1 yanked file not audited: release_disagrees-0.9-py3-none-any.whl",
        "release-disagrees: 1 source distribution not audited: release_disagrees-1.0.tar.gz",
    ]
    some = index("--json", "--python", "3.10", "--platform", "linux_x86_64", "release_disagrees==1")
    assert {name for name in found.verdicts if "-cp310-" in name} == set(some.verdicts)
    both = index("--json", "release-disagrees", "release-disagrees>=1", "release-disagrees")
    assert both.verdicts == found.verdicts  # each once


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("nowhere", "no project nowhere on HOST"),
        ("empty", "no published release matches"),
        ("unstable>=2", "no published release matches"),
        ("yanked", "the releases that match have no wheels to audit; the newest is 1.0"),
    ],
)
def test_nothing_to_audit(index: Index, requirement: str, message: str) -> None:
    offer(index.server, [UNSAFE, SAFE])
    index.server.projects["empty"] = []
    index.server.add("yanked", "yanked-1.0-py3-none-any.whl", b"", yanked=True)
    found = index("--json", requirement, "stable-2.10")
    assert found.code == 2
    assert found.errors[-1] == f"{requirement}: {message}"
    assert found.verdicts == {requirement: "error", SAFE.name: "safe"}
    jsonschema.validate(found.report, load_schema())


def test_other_requirements_are_refused(index: Index) -> None:
    assert index("unstable[x]", "stable-2.10") == Ran(
        2, "", ["'unstable[x]': a requirement on an index has no extra"]
    )
    assert index.server.requests == []


def test_baselines_checks_and_files(index: Index, tmp_path: Path) -> None:
    offer(index.server, [UNSAFE, SAFE])
    names = ("unstable", "stable-2.10")
    outputs = [tmp_path / "report.json", tmp_path / "report.md", tmp_path / "report.html"]
    forms = ("json", "markdown", "html")
    options = [f"--output={form}={path}" for form, path in zip(forms, outputs, strict=True)]
    found = index(*options, *names)
    assert (found.code, found.errors) == (1, [])
    report = json.loads(outputs[0].read_text(encoding="utf-8"))
    jsonschema.validate(report, load_schema())
    assert all(UNSAFE.name in path.read_text(encoding="utf-8") for path in outputs)
    assert report == index("--format", "json", *names).report

    known = ("--baseline", str(outputs[0]), "--fail-on", "new")
    assert index(*known, *names).code == 0
    assert index("--fail-on", "new", "--baseline", str(SAFE), "unstable").code == 1
    assert index("--check", "abi3", *names).code == 0
    assert index("-o", f"json={tmp_path / 'none' / 'x.json'}", *names).code == 2


# Servers that do it wrong

READ = "cannot be read from HOST: "
FAULTS = {
    "401": (
        Fault(status=401),
        f"{READ}the server answered 401 Unauthorized; no credentials were found",
    ),
    "403": (Fault(status=403), f"{READ}the server answered 403 Forbidden"),
    "404": (Fault(status=404), f"{READ}the server answered 404 Not Found"),
    "429": (Fault(status=429), f"{READ}the server answered 429 Too Many Requests"),
    "500": (Fault(status=500), f"{READ}the server answered 500 Internal Server Error"),
    "silent": (Fault(silent=True), f"{READ}the server sent nothing for 0.4 s"),
    "hangs up": (Fault(hang_up=True), f"{READ}the connection broke off"),
    "headers drip": (Fault(drip_headers=0.05), f"{READ}the server did not answer within 0.8 s"),
    "body drips": (Fault(drip_body=0.02), rf"{READ}only \d+ bytes came in 0.3 s"),
    "breaks off": (Fault(break_after=100), f"{READ}the connection broke off after 100 bytes"),
    "too long": (
        Fault(headers={"Content-Length": "99999"}),
        rf"{READ}the server sent nothing for 0.4 s after {SIZE} bytes",
    ),
    "redirects": (
        Fault(status=302, headers={"Location": f"/files/{UNSAFE.name}"}),
        f"{READ}more than 5 redirects",
    ),
    "to a file": (
        Fault(status=302, headers={"Location": "file:///etc/passwd"}),
        f"{READ}the address that the server redirects to is not HTTP",
    ),
    "endless": (
        Fault(ignore_range=True, endless=True),
        f"{READ}the server sent more than 102400 bytes",
    ),
    "compressed": (Fault(gzip=True), f"{READ}the server sent the file encoded as gzip"),
    "another file": (
        Fault(body=bytes(SIZE)),
        r"the file has another hash \(sha256=[0-9a-f]{64}\) than the index says",
    ),
}
OF_RANGES = {
    "another range": (
        Fault(headers={"Content-Range": "bytes 0-9/10"}),
        f"{READ}the server sent more than 10 bytes",
    ),
    "no range": (
        Fault(headers={"Content-Range": ""}),
        f"{READ}the server sent a range with no Content-Range",
    ),
    "another total": (
        Fault(headers={"Content-Range": f"bytes 0-{SIZE - 1}/99999"}),
        f"{READ}the server sent bytes 0-{SIZE - 1} of 99999 instead of the last 262144 bytes",
    ),
    "too short": (
        Fault(headers={"Content-Length": "5"}),
        f"{READ}the server sent 5 bytes of {SIZE}",
    ),
    "several parts": (
        Fault(headers={"Content-Type": "multipart/byteranges; boundary=x"}),
        f"{READ}the server sent several parts instead of one range",
    ),
    "another size": (
        Fault(
            body=b"<html>log in</html>",
            headers={"Content-Length": "19", "Content-Range": "bytes 0-18/19"},
        ),
        f"the server has 19 bytes, but the index says {SIZE}",
    ),
}
OF_FILES = {
    "too short": (
        Fault(headers={"Content-Length": "5"}),
        f"the server has 5 bytes, but the index says {SIZE}",
    ),
    "no whole file": (Fault(code=206), f"{READ}the server answered 206 Partial Content"),
}


def check_fault(index: Index, fault: Fault, message: str, *more: str) -> None:
    """One line for the wheel, the other one is audited, and later all is well."""
    offer(index.server, [UNSAFE, SAFE])
    path = f"/files/{UNSAFE.name}"
    index.server.misbehave(path, fault)
    arguments = ("--json", "--limit", "download=100K", *more, "unstable", "stable-2.10")
    began = time.monotonic()
    found = index(*arguments)
    assert time.monotonic() - began < 5
    assert found.code == 2
    (line,) = found.errors
    name, _, reason = line.partition(": ")
    assert name == UNSAFE.name
    assert re.fullmatch(message, reason)
    assert found.verdicts == {UNSAFE.name: "error", SAFE.name: "safe"}

    index.server.mend()
    asked = len(index.server.asked(path))
    again = index(*arguments)
    assert (again.code, again.errors) == (1, [])
    assert again.verdicts == {UNSAFE.name: "unsafe", SAFE.name: "safe"}
    assert len(index.server.asked(path)) == asked + 1
    assert len(index.server.asked(f"/files/{SAFE.name}")) == 1  # which was kept


@pytest.mark.parametrize("name", [*FAULTS, *OF_RANGES])
def test_a_server_that_does_it_wrong(index: Index, name: str) -> None:
    check_fault(index, *(FAULTS | OF_RANGES)[name])


@pytest.mark.parametrize("name", [*FAULTS, *OF_FILES])
def test_a_server_that_does_it_wrong_when_all_is_read(index: Index, name: str) -> None:
    check_fault(index, *(FAULTS | OF_FILES)[name], "--verify")


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_server_that_stops_half_way(index: Index, after: int) -> None:
    """The wheel was opened, and then a part of it does not come."""
    offer(index.server, [UNSAFE, SAFE])
    path = f"/files/{UNSAFE.name}"
    index.server.misbehave(path, Fault(), times=after)
    index.server.misbehave(path, Fault(status=500))
    with small_parts():
        found = index("--json", "unstable", "stable-2.10")
        assert found.code == 2
        assert found.errors == [
            f"{UNSAFE.name}: {READ}the server answered 500 Internal Server Error"
        ]
        assert found.verdicts == {UNSAFE.name: "error", SAFE.name: "safe"}
        index.server.mend()
        assert index("--json", "unstable", "stable-2.10").verdicts[UNSAFE.name] == "unsafe"


def test_a_file_that_changes_while_it_is_read(index: Index) -> None:
    (path,) = offer(index.server, [UNSAFE])["unstable"]
    index.server.misbehave(path, Fault(), times=1)
    index.server.misbehave(path, Fault(headers={"Content-Range": "bytes 0-63/99999"}))
    with small_parts():
        (line,) = index("unstable").errors
    assert re.fullmatch(
        rf"{UNSAFE.name}: {READ}the server sent bytes \d+-\d+ of 99999 instead of {SIZE}", line
    )


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(hang_up=True), Fault(break_after=9)])
def test_failures_that_pass(index: Index, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setenv("PIP_RETRIES", "2")
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    index.server.misbehave(path, fault, times=2)
    found = index("stable-2.10")
    assert (found.code, found.errors) == (0, [])
    assert len(index.server.asked(path)) == 3


@pytest.mark.parametrize(
    "fault", [Fault(ignore_range=True), Fault(ignore_range=True, chunked=True), Fault(status=416)]
)
def test_a_server_without_ranges(index: Index, fault: Fault) -> None:
    """The wheel is downloaded to a temporary file, and its hash is checked."""
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    index.server.misbehave(path, fault, times=1)
    found = index("--json", "stable-2.10")
    assert (found.code, found.errors) == (0, [])
    assert len(index.server.asked(path)) == 2
    index.server.files[path] = bytes(SAFE.stat().st_size), "application/zip"
    assert index("--json", "stable-2.10") == found  # by its hash


def test_a_redirect(index: Index) -> None:
    (path,) = offer(index.server, [SAFE])["stable-2-10"]
    index.server.serve("/elsewhere", SAFE.read_bytes())
    index.server.misbehave(path, Fault(status=302, headers={"Location": "/elsewhere"}))
    assert index("stable-2.10").code == 0


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("kind", ["sha256", "sha512", "md5"])
@pytest.mark.parametrize("verify", [(), ("--verify",)], ids=["in-place", "verify"])
@pytest.mark.parametrize("local", [True, False], ids=["folder", "server"])
def test_hashes_are_checked(
    index: Index, tmp_path: Path, kind: str, verify: tuple[str, ...], *, right: bool, local: bool
) -> None:
    """A small file is read whole, and so checked in any case."""
    data = SAFE.read_bytes()
    digest = hashlib.new(kind, data).hexdigest() if right else "0" * len(hashlib.new(kind).digest())
    page = f'<a href="{SAFE.name}#{kind}={digest}">x</a>'
    if local:
        (tmp_path / SAFE.name).write_bytes(data)
        (tmp_path / "links.html").write_text(page)
        links = str(tmp_path / "links.html")
    else:
        index.server.serve("/links/", page.encode(), "text/html")
        index.server.serve(f"/links/{SAFE.name}", data)
        links = index.server.url("/links/")
    found = index("--no-index", "-f", links, *verify, "stable-2-10")
    said = f"{SAFE.name}: the file has another hash ({kind}="
    assert (found.code, [line.startswith(said) for line in found.errors]) == (
        (0, []) if right else (2, [True])
    )


def test_files_with_one_address_are_all_read(index: Index) -> None:
    data = SAFE.read_bytes()
    for number in ("1.0", "2.0"):
        name = SAFE.name.replace("1.0", number)
        index.server.add("stable-2-10", name, data, url="../../files/one")
    index.server.serve("/files/one", data)
    found = index("stable-2-10", "--json")
    assert found.code == 1
    second = SAFE.name.replace("1.0", "2.0")  # which is another version than the wheel's own
    assert found.verdicts == {SAFE.name: "safe", second: "unsafe"}


def test_another_file_than_the_index_says(index: Index) -> None:
    """In parts, that is not seen; with `--verify` it is. And what was read so is for no other."""
    (path,) = offer(index.server, [UNSAFE])["unstable"]
    right = index.server.files[path]
    index.server.files[path] = UNSAFE.read_bytes()[:-2] + b"\x01\x00" + b"x", "application/zip"
    index.server.projects["unstable"][0].size += 1  # the same wheel with a comment
    with small_parts():
        assert index("unstable").code == 1
        (line,) = index("--verify", "unstable").errors
        assert re.fullmatch(
            rf"{UNSAFE.name}: the file has another hash .* than the index says", line
        )
        index.server.files[path] = right
        index.server.projects["unstable"][0].size -= 1
        asked = len(index.server.asked(path))
        assert index("unstable").code == 1
        assert len(index.server.asked(path)) == asked  # the same address and hash
        index.server.serve("/mirror.whl", right[0])
        index.server.projects["unstable"][0].url = f"../../mirror/{UNSAFE.name}"
        index.server.serve(f"/mirror/{UNSAFE.name}", right[0])
        assert index("unstable").code == 1
        assert index.server.asked(f"/mirror/{UNSAFE.name}")


PAGES = {
    "403": (Fault(status=403), "the server answered 403 Forbidden"),
    "500": (Fault(status=500), "the server answered 500 Internal Server Error"),
    "silent": (Fault(silent=True), "the server sent nothing for 0.4 s"),
    "drips": (Fault(drip_body=0.02), r"only \d+ bytes came in 0.3 s"),
    "breaks off": (Fault(break_after=50), "the connection broke off after 50 bytes"),
    "too short": (Fault(body=b"<html>"), "only 6 bytes came in 0.3 s"),
    "no JSON": (
        Fault(body=b"[]", headers={"Content-Length": "2"}),
        "not a page of a package index",
    ),
    "endless": (
        Fault(endless=True, body=b" " * (1 << 20)),
        "the server sent more than 67108864 bytes",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_does_not_come(index: Index, name: str) -> None:
    fault, message = PAGES[name]
    offer(index.server, [UNSAFE, SAFE])
    index.server.misbehave("/simple/unstable/", fault)
    began = time.monotonic()
    found = index("--json", "unstable", "stable-2.10")
    assert time.monotonic() - began < 5
    assert found.code == 2
    (line,) = found.errors
    assert re.fullmatch(f"unstable: cannot read unstable from HOST: {message}", line)
    assert found.verdicts == {"unstable": "error", SAFE.name: "safe"}


HOSTILE = [
    ("x-1.0-py3-none-any\x1b[31m.whl", None),
    ("../../x-1.0-py3-none-any.whl", None),
    ("x-1.0-py3-none-any.whl\n::error::y.whl", None),
    ("x-" + "1" * 5000 + "-py3-none-any.whl", None),
    ("x-1.0-py3-none-win32.whl", "file:///etc/passwd"),
    ("x-1.0-py3-none-win_amd64.whl", "gopher://x"),
]


def test_hostile_pages(index: Index, tmp_path: Path) -> None:
    """A line for each file that is not fit to be read, and for no more than some of them."""
    path = write_wheel(tmp_path, {"x/_C.abi3.so": a_library()})
    index.server.add("x", path.name, path.read_bytes())
    for name, url in HOSTILE:
        index.server.projects["x"].append(
            Page(
                name,
                "0" * 64,
                5,
                yanked=False,
                metadata=None,
                requires_python=None,
                url=url or "/x",
            )
        )
    found = index("--json", "x")
    assert found.code == 2
    assert NAME in found.verdicts
    assert found.verdicts[NAME] != "error"
    assert len(found.errors) == len(HOSTILE)
    for line in found.errors:
        assert line.isprintable()
        assert len(line) < 250
        assert line.startswith("x: HOST: ")
    assert not any("passwd" in request.path for request in index.server.requests)


def test_metadata_beside_the_wheel(index: Index, tmp_path: Path) -> None:
    """A copy that is not what the wheel has is not used, whatever hash the index gives."""
    noise = os.urandom(1 << 20)
    path = write_wheel(tmp_path, {"x/_C.abi3.so": a_library(), "x/data": noise})
    torch = METADATA + "Requires-Dist: torch==2.10\n"
    index.server.add("x", path.name, path.read_bytes(), metadata=torch.encode())
    with small_parts():
        claims = index("--json", "x").report["targets"][0]["claims"]
    assert index.server.asked(f"/files/{NAME}.metadata")
    assert claims["requires_torch"] is None


@pytest.mark.parametrize("more", [(), ("--verify",)], ids=["in-place", "verify"])
@pytest.mark.parametrize("kind", ["other", "wrong-hash", "local"])
def test_other_metadata_beside_the_wheel(
    index: Index, tmp_path: Path, more: tuple[str, ...], kind: str
) -> None:
    """Installers resolve by it, and pip refuses the wheel afterwards."""
    with zipfile.ZipFile(SAFE) as archive:
        right = archive.read("stable_2_10-1.0.dist-info/METADATA")
    other = right.replace(b"torch>=2.10", b"torch>=2.4")
    page = index.server.add("stable-2-10", SAFE.name, SAFE.read_bytes(), metadata=other)
    (entry,) = index.server.projects["stable-2-10"]
    if kind == "wrong-hash":
        index.server.serve(f"{page}.metadata", right, "text/plain")
    elif kind == "local":
        (tmp_path / SAFE.name).write_bytes(SAFE.read_bytes())
        (tmp_path / "links.html").write_text(
            f'<a href="{SAFE.name}" data-core-metadata="sha256={entry.metadata}">x</a>'
        )
        more = (*more, "--no-index", "-f", str(tmp_path / "links.html"))
    found = index("--json", *more, "stable-2-10")
    (target,) = found.report["targets"]
    assert (found.code, target["verdict"]) == (1, "unsafe")
    (defect,) = [f for f in target["findings"] if f["rule"] == "archive-integrity"]
    assert defect["message"] == (
        "the wheel has other metadata beside it on the index than inside, which is what installers"
        " resolve by"
    )
    assert defect["libraries"] == [f"{SAFE.name}.metadata"]
    if kind == "local":
        return
    # The same file with the right copy is another thing to know.
    index.server.serve(f"{page}.metadata", right, "text/plain")
    index.server.projects["stable-2-10"] = [
        replace(entry, metadata=hashlib.sha256(right).hexdigest())
    ]
    assert index("--json", *more, "stable-2-10").code == 0


# What ends it


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_ends_at_once(
    index: Index, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """With all of its processes, though a server does not answer; what was read is kept."""
    of = offer(index.server, [SAFE, UNSAFE, *TEST_WHEELS.glob("mixed/*.whl")])
    silent = [path for name, paths in of.items() if name != "stable-2-10" for path in paths]
    for path in silent:
        index.server.misbehave(path, Fault(silent=True))
    command = [sys.executable, "-m", "torch_abi_audit", "index", "--no-config", "-j", "2"]
    command += ["-i", index.server.index, "--cache-dir", str(index.cache), *of]
    environment = {**os.environ, "PIP_TIMEOUT": "60"}
    process = subprocess.Popen(  # the folder of the process is empty
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 30
    while not all(map(index.server.asked, silent)) and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == code
    assert said.splitlines()[-1].startswith("torch-abi-audit: ")
    assert "Traceback" not in said
    until = time.monotonic() + 10
    while _alive(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(process.pid)
    assert "results for 1 wheel," in index.run("cache", "show", "--cache-dir", str(index.cache)).out


def _alive(group: int) -> bool:
    """Whether a process of a group lives."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False
