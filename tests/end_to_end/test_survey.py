"""`torch-abi-audit survey`: the state of packages, and what is left of a run that is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import METADATA, TEST_WHEELS, a_library, load_schema, write_wheel
from tests.end_to_end.test_index import POSIX, Index, Ran
from tests.indexes import be_quick, offer, pages_only, project_of, without_settings
from tests.servers import Fault, Server

LINUX = ("--platform", "linux_x86_64")
WHEELS = sorted(TEST_WHEELS.glob("*/*.whl"))
NAMES = "stable-2.10\nUnstable\nmixed # in progress\n\n# a comment\nno_torch\nmacos-stable\n"


class Survey(Index):
    def __init__(self, server: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(server, folder, capsys)
        self.file = folder / "names.txt"

    def __call__(self, *arguments: str) -> Ran:
        """Survey the packages that the first argument names."""
        names, *more = arguments
        self.file.write_text(names, encoding="utf-8")
        return self.run("survey", *self.arguments, *more)

    @property
    def arguments(self) -> list[str]:
        index = ["-i", self.server.index, "-j", "1", "--cache-dir", str(self.cache)]
        return [*LINUX, *index, str(self.file)]


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch, tmp_path)
    be_quick(monkeypatch)


@pytest.fixture
def survey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Survey]:
    with Server() as server:
        offer(server, WHEELS)
        yield Survey(server, tmp_path, capsys)


def states(found: Ran) -> dict[str, dict[str, Any]]:
    jsonschema.validate(found.report, load_schema("survey"))
    return {state["project"]: state for state in found.report["packages"]}


def test_the_state_of_packages(survey: Survey) -> None:
    found = survey(NAMES, "--json")
    assert (found.code, found.errors) == (0, [])
    packages = states(found)
    assert {name: state["progress"] for name, state in packages.items()} == {
        "macos-stable": "no-wheels",
        "mixed": "in-progress",
        "no-torch": "no-torch",
        "stable-2-10": "complete",
        "unstable": "not-started",
    }
    assert packages["stable-2-10"]["abi"] == "stable: complete since 1.0"
    assert packages["macos-stable"]["abi"] == "no wheels for linux x86_64"
    assert packages["unstable"]["errors"]
    asked = len(survey.server.requests)
    assert survey(NAMES, "--json") == found
    assert pages_only(survey.server, asked)


def test_every_format(survey: Survey, tmp_path: Path) -> None:
    forms = ("text", "markdown", "json", "html")
    outputs = [arg for form in forms for arg in ("-o", f"{form}={tmp_path / form}")]
    found = survey(NAMES, *outputs)
    assert (found.code, found.errors) == (0, [])
    said = {form: (tmp_path / form).read_text(encoding="utf-8") for form in forms}
    assert said["text"] == found.out
    jsonschema.validate(json.loads(said["json"]), load_schema("survey"))
    for name in ("stable-2-10", "unstable", "mixed", "no-torch", "macos-stable"):
        assert all(name in text for text in said.values())
    assert all("complete since 1.0" in text for text in said.values())


def test_since_when_a_package_is_complete(survey: Survey) -> None:
    """Older releases are read as far as that takes, and no further."""
    (stable,) = TEST_WHEELS.glob("stable-2.10/*.whl")
    (unstable,) = TEST_WHEELS.glob("unstable/*.whl")
    sources = {"0.9": stable, "0.8": stable, "0.7": unstable, "0.6": unstable, "1.1rc1": unstable}
    paths = {
        version: survey.server.add(
            "stable-2-10", stable.name.replace("1.0", version), _renamed(wheel, version)
        )
        for version, wheel in sources.items()
    }
    found = survey("stable-2-10", "--json")
    assert (found.code, found.errors) == (0, [])
    (state,) = states(found).values()
    assert (state["version"], state["since"]) == ("1.0", "0.8")
    asked = {version: len(survey.server.asked(path)) for version, path in paths.items()}
    assert asked == {"0.9": 1, "0.8": 1, "0.7": 1, "0.6": 0, "1.1rc1": 0}
    for more in (["stable-2-10>=1"], ["stable-2-10", "--latest", "1"]):
        (state,) = states(survey(*more, "--json")).values()
        assert state["abi"] == "stable: complete since 1.0 or earlier"


def _renamed(wheel: Path, version: str) -> bytes:
    """Return a wheel as one of `stable_2_10`, of another version."""
    old = f"{wheel.name.partition('-')[0]}-1.0".encode()
    new = f"stable_2_10-{version}".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith(("/RECORD", "/METADATA", "/WHEEL")):
                data = data.replace(old, new)
            target.writestr(info.filename.replace(old.decode(), new.decode()), data)
    return made.getvalue()


def test_packages_of_which_nothing_can_be_had(survey: Survey) -> None:
    """What is no index looks like a project without files: that is no state of a package."""
    (wheel,) = TEST_WHEELS.glob("no-torch/*.whl")
    survey.server.serve("/simple/portal/", b"<html>log in</html>", "text/html")
    survey.server.add("gone", wheel.name.replace("no_torch", "gone"), b"", yanked=True)
    found = survey("portal\ngone", "--json")
    assert (found.code, found.errors) == (2, ["portal: no published release matches"])
    assert {name: state["abi"] for name, state in states(found).items()} == {
        "portal": "no published release matches",
        "gone": "no wheels",
    }


def test_wheels_that_cannot_be_read(survey: Survey) -> None:
    """Each is a line, and the others are in the table."""
    (path,) = [path for path in survey.server.files if path.startswith("/files/unstable-1.0")]
    survey.server.misbehave(path, Fault(status=403))
    survey.server.misbehave("/simple/mixed/", Fault(status=500))
    found = survey("corrupt-library\nnowhere\n" + NAMES, "--json")
    assert found.code == 2
    corrupt, forbidden = sorted(found.errors[:2])
    assert corrupt.startswith("corrupt_library-1.0-py39-none-manylinux_2_28_x86_64.whl: ")
    assert forbidden.endswith(".whl: cannot be read from HOST: the server answered 403 Forbidden")
    assert found.errors[2:] == [
        "nowhere: no project nowhere on HOST",
        "mixed: cannot read mixed from HOST: the server answered 500 Internal Server Error",
    ]
    packages = states(found)
    assert packages["unstable"]["abi"] == "wheels could not be read"
    assert packages["mixed"]["abi"] == packages["nowhere"]["abi"] == "could not be looked up"
    assert packages["stable-2-10"]["progress"] == "complete"
    survey.server.mend()
    again = survey(NAMES, "--json")
    assert (again.code, again.errors) == (0, [])
    assert states(again)["unstable"]["progress"] == "not-started"


def test_a_wheel_whose_name_says_nothing_is_asked_for_once(survey: Survey) -> None:
    """It has no record, so nothing is known of its release."""
    path = survey.server.add("x", "x-1.0-nonsense-a-b-c-d-e.whl", b"no wheel")
    found = survey("x", "--json")
    assert found.code == 2
    assert len(survey.server.asked(path)) <= 1


def test_a_wheel_that_says_it_is_another_project(survey: Survey, tmp_path: Path) -> None:
    metadata = METADATA.replace("Name: x", "Name: unstable").replace("1.0", "7.0")
    path = write_wheel(tmp_path, {"x/_C.abi3.so": a_library()}, metadata=metadata)
    survey.server.add("x", path.name, path.read_bytes())
    packages = states(survey("x\nunstable", "--json"))
    assert (packages["x"]["wheels"], packages["unstable"]["wheels"]) == (1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "names no package"),
        (b"\xff\xfex", "not UTF-8"),
        (b"x" * (1 << 20) + b"x", "larger than 1048576 bytes"),
        (b"two words\n", "'two words' is not a requirement such as 'xformers>=0.0.30': "),
        (b"mixed\nx[cuda]\n", "'x[cuda]': a requirement on an index has no extra"),
        (b"mixed>=1\nMixed\n", "names Mixed twice: mixed>=1 and Mixed"),
        (None, "No such file or directory"),
    ],
)
def test_files_that_are_refused(survey: Survey, content: bytes | None, message: str) -> None:
    if content is not None:
        survey.file.write_bytes(content)
    found = survey.run("survey", *survey.arguments)
    assert (found.code, found.out) == (2, "")
    (line,) = found.errors
    assert line.startswith(f"{survey.file}: {message}")
    assert survey.server.requests == []


def test_a_scheduler_is_for_dask(survey: Survey, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        survey("mixed", "--scheduler", "tcp://127.0.0.1:1")
    assert caught.value.code == 2
    assert "--scheduler requires --engine dask" in capsys.readouterr().err


@POSIX
def test_a_survey_that_is_killed_goes_on_where_it_stopped(survey: Survey) -> None:
    wheels = [wheel for wheel in WHEELS if "manylinux" in wheel.name][:8]
    names = "\n".join(sorted({project_of(wheel) for wheel in wheels}))
    survey.file.write_text(names, encoding="utf-8")
    last = f"/files/{wheels[-1].name}"
    survey.server.misbehave(last, Fault(silent=True))
    process = subprocess.Popen(
        [sys.executable, "-m", "torch_abi_audit", "survey", *survey.arguments],
        env={**os.environ, "PIP_TIMEOUT": "60"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not survey.server.asked(last) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    read = {path for path in survey.server.files if survey.server.asked(path)} - {last}
    assert read
    survey.server.mend()
    found = survey(names, "--json")
    assert (found.code, found.errors) == (0, [])
    assert all(len(survey.server.asked(path)) == 1 for path in read)
    assert len(survey.server.asked(last)) == 2
    fresh = survey(names, "--json", "--no-cache")
    assert fresh.report == found.report


def test_a_survey_on_a_dask_cluster(survey: Survey, tmp_path: Path) -> None:
    """It says the same, and keeps the same, as one on this machine."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    here = survey(NAMES, "--json", "--no-cache")
    with dask.config.set({"temporary-directory": str(tmp_path / "dask")}):
        there = survey(NAMES, "--json", "--engine", "dask", "-j", "2")
    assert (there.code, there.report) == (here.code, here.report)
    asked = len(survey.server.requests)
    assert survey(NAMES, "--json").report == here.report
    assert pages_only(survey.server, asked)
