"""What to install instead, from an index: `compat --for-env`, and `--index` of an audit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import TEST_WHEELS
from tests.end_to_end.test_environment import install, install_torch
from tests.indexes import be_quick, offer, without_settings
from tests.servers import Fault, Server
from torch_abi_audit.cli import main
from torch_abi_audit.commands.answers import _is_other

OLDER = "stable_2_10-0.9-py39-none-manylinux_2_28_x86_64.whl"


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch, tmp_path)
    be_quick(monkeypatch)
    monkeypatch.setattr("torch_abi_audit.commands.answers.DEFAULT_JOBS", 1)
    monkeypatch.setattr("torch_abi_audit.commands.answers.host_platform", lambda: "linux_x86_64")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index with an older release that loads on torch 2.9, and packages without one."""
    (source,) = (TEST_WHEELS / "links-only").glob("*.whl")
    older = tmp_path / OLDER
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(older, "w") as written:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("/METADATA"):
                data = b"Metadata-Version: 2.4\nName: stable-2-10\nVersion: 0.9\n"
            written.writestr(name.replace("links_only-1.0.dist", "stable_2_10-0.9.dist"), data)
    wheels = [path for name in ("stable-2.10", "unstable-pinned") for path in wheels_of(name)]
    with Server() as server:
        offer(server, [older, *wheels])
        monkeypatch.setenv("PIP_INDEX_URL", server.index)
        yield server


def wheels_of(scenario: str) -> list[Path]:
    return sorted((TEST_WHEELS / scenario).glob("*.whl"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "lib" / "python3.12" / "site-packages"
    folder.mkdir(parents=True)
    install(folder, "stable-2.10", "links-only", "unstable-pinned", "no-torch")
    install_torch(folder)
    return folder


def test_what_to_install_in_an_environment(
    server: Server, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compat", "--site-packages", str(site), "--json", "-j", "1"]) == 1
    captured = capsys.readouterr()
    answers = {item["project"]: item for item in json.loads(captured.out)["answers"]}
    assert answers.keys() == {"stable-2-10", "unstable-pinned"}
    assert answers["stable-2-10"]["command"] == "pip install stable-2-10==0.9"
    assert answers["stable-2-10"]["kind"] == "guaranteed"
    assert answers["unstable-pinned"]["command"] is None
    assert captured.err.count("does not load with torch 2.9.0") == 2
    assert not any("links-only" in request.path for request in server.requests)


def test_the_same_release_of_another_build(
    server: Server, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is installed is 1.0: 1.0+cpu is for torch's CPU builds, and another wheel."""
    (wheel,) = wheels_of("links-only")
    name = wheel.name.replace("links_only-1.0", "stable_2_10-1.0+cpu")
    server.add("stable-2-10", name, (site.parents[2] / OLDER).read_bytes())
    assert main(["compat", "--site-packages", str(site), "--json", "-j", "1"]) == 1
    capsys.readouterr()
    asked = [request.path for request in server.requests if "cpu" in request.path]
    assert asked


@pytest.mark.parametrize(
    ("version", "installed", "other"),
    [
        ("1.1", "1.0", True),
        ("1.0+cpu", "1.0", True),
        ("1.0+cpu", "1.0+cu128", True),
        ("1.0", "1.0", False),
        ("1.0+cpu", "1.0+cpu", False),
        ("1.0", "1.0+cpu", False),  # which pip takes for the 1.0 that is asked for
    ],
)
def test_what_pip_replaces(version: str, installed: str, *, other: bool) -> None:
    assert _is_other(Version(version), Version(installed)) is other
    assert not _is_other(None, Version(installed))


def test_the_report_of_an_environment(
    server: Server, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--python", str(site), "--index", "--json"]) == 1
    targets = {item["name"]: item for item in json.loads(capsys.readouterr().out)["targets"]}
    remedy = targets["stable-2-10"]["here"]["remedy"]
    assert remedy["command"] == "pip install stable-2-10==0.9"
    assert remedy["why"].endswith("0.9 loads with torch 2.9.0, guaranteed by the stable ABI")
    assert targets["stable-2-10"]["summary"].startswith(remedy["why"])
    other = targets["unstable-pinned"]["here"]["remedy"]
    assert other["command"] == 'pip install "torch==2.14.*"'
    assert (
        "unstable-pinned has no other release with a wheel for Python 3.12 on linux x86_64"
        in other["why"]
    )
    assert targets["links-only"]["here"]["remedy"] is None


def test_without_leave_nothing_is_asked(
    server: Server, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--python", str(site), "--json"]) == 1
    assert "0.9" not in json.dumps(json.loads(capsys.readouterr().out)["targets"])
    assert server.requests == []


def test_an_index_that_does_not_answer(
    server: Server, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.misbehave("/simple/stable-2-10/", Fault(status=500))
    assert main(["compat", "--site-packages", str(site), "-j", "1"]) == 2
    captured = capsys.readouterr()
    assert "stable-2-10: cannot read stable-2-10" in captured.err
    assert "unstable-pinned has no other release with a wheel for Python 3.12" in captured.out
    assert main(["--python", str(site), "--index", "-q"]) == 1
    captured = capsys.readouterr()
    assert 'pip install "torch==2.15.*"' in captured.out


def test_an_environment_in_which_all_loads(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fine"
    folder.mkdir()
    install(folder, "links-only")
    install_torch(folder)
    assert main(["compat", "--site-packages", str(folder), "-j", "1"]) == 0
    assert "every package that uses torch fits torch 2.9.0" in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name a package, or use --for-env"),
        (["x", "--for-env"], "--for-env is about the packages"),
        (["--for-env", "--torch", "2.10"], "--for-env is about the packages"),
        (["x", "--torch", "2.10", "--platform", "all"], "--torch is about one platform"),
    ],
)
def test_usage(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compat", *arguments])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_no_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compat", "--site-packages", str(tmp_path / "nowhere")]) == 2
    folder = tmp_path / "empty"
    folder.mkdir()
    install(folder, "links-only")
    assert main(["compat", "--site-packages", str(folder)]) == 2
    assert "torch is not installed in the environment" in capsys.readouterr().err
