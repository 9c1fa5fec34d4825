"""Installed packages, folders, libraries and whole environments, through the command line."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builders import TEST_WHEELS, a_library, load_schema, member_of
from tests.unit.test_catalog import declare, torch_wheel
from torch_abi_audit import TargetKind, audit
from torch_abi_audit.cli import main
from torch_abi_audit.targets.installed import Site, active_site


def wheel_of(scenario: str) -> Path:
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    return wheel


def install(folder: Path, *scenarios: str) -> None:
    for scenario in scenarios:
        with zipfile.ZipFile(wheel_of(scenario)) as archive:
            archive.extractall(folder)


def install_torch(folder: Path) -> None:
    """A torch in miniature, of which one library exports what nobody here asks for."""
    with zipfile.ZipFile(io.BytesIO(torch_wheel(declare("torch_ours()"), cuda=None))) as archive:
        archive.extractall(folder)
    library = folder / "torch" / "lib" / "libtorch_cpu.so"
    for name in ("libtorch.so", "libc10.so"):
        shutil.copy(library, library.with_name(name))
    (folder / "torch" / "lib" / "padding.bin").unlink()
    (folder / "torch-2.9.0.dist-info" / "RECORD").write_text(
        "".join(f"torch/lib/{item.name},,\n" for item in sorted(library.parent.iterdir()))
    )


@pytest.fixture(autouse=True)
def _no_other_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever environment is activated, the current one is that of the tests."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(folder, "stable-2.10", "links-only", "unstable-pinned", "no-torch", "abi3-broken")
    install_torch(folder)
    return folder


def run_json(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = main(["--json", *map(str, arguments)])
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, load_schema())
    return code, report


def test_an_environment(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--site-packages", str(site)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"torch 2.9.0 in {site}"
    rows = {line.split()[0]: line.split("  ")[-1].strip() for line in lines[3:6]}
    assert list(rows.items()) == [  # what is broken first
        ("stable-2-10", "does not load"),
        ("unstable-pinned", "does not load"),
        ("links-only", "guaranteed"),
    ]
    assert lines[6] == "and 2 other packages that do not use torch (--all)"
    assert lines[8:-2] == [
        (
            "stable-2-10 1.0 requires torch>=2.10 and does not load with torch 2.9.0: torch 2.10 or"
            " newer is needed for torch_call_dispatcher"
        ),
        '   = fix for this package alone: pip install "torch==2.15.*"',
        "",
        (
            "unstable-pinned 1.0 requires torch==2.14.* and does not load with torch 2.9.0:"
            " at::get_num_threads() (not in torch 2.9.0)"
        ),
        '   = fix for this package alone: pip install "torch==2.14.*"',
    ]
    assert lines[-1] == (
        "failed: 2 of 3 packages that use torch do not load with torch 2.9.0; torch 2.14 suits all"
        ' of them: pip install "torch==2.14.*"'
    )
    assert not any("TORCH_TARGET_VERSION" in line for line in lines)
    assert main(["--site-packages", str(site), "--all"]) == 1
    assert "no-torch" in capsys.readouterr().out
    assert main(["-q", "--site-packages", str(site)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_a_package_that_does_not_load_here(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By itself it may be published, but that is not what its user asks."""
    assert main(["--site-packages", str(site), "stable_2_10"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(
        "broken: stable-2-10 1.0 requires torch>=2.10 and does not load with torch"
    )


def test_an_environment_in_which_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "links-only")
    install_torch(tmp_path)
    (tmp_path / "torch-2.9.0.dist-info").rename(tmp_path / "torch-2.9.0+cpu.dist-info")
    assert main(["--site-packages", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"torch 2.9.0+cpu in {tmp_path}"
    assert lines[-1] == "passed: 1 package that uses torch loads with torch 2.9.0+cpu"
    assert main(["-q", "--site-packages", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("named", ["env", "env/bin/python", "env/lib/python3.11/site-packages"])
def test_an_environment_by_its_interpreter(
    site: Path, tmp_path: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    folder.parent.mkdir(parents=True)
    site.rename(folder)
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / "env" / "bin" / "python").symlink_to("/nowhere/python3.11")
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /nowhere\n")
    if named.endswith("python"):
        (tmp_path / "env" / "bin" / "python").unlink()
        (tmp_path / "env" / "bin" / "python").touch()
    assert main(["--python", str(tmp_path / named)]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"torch 2.9.0 in {folder}"
    assert main(["--python", str(tmp_path / named), "links_only"]) == 0


def test_an_environment_as_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each package is checked as its wheel is, and against the torch that is there."""
    code, report = run_json("--site-packages", site, capsys=capsys)
    assert code == 1
    assert report["environment"] == {
        "site_packages": [str(site)],
        "torch": "2.9.0",
        "error": None,
    }
    targets = {target["target"]: target for target in report["targets"]}
    assert list(targets) == sorted(targets)
    assert {target["kind"] for target in targets.values()} == {"package"}
    here = {name: target["here"] and target["here"]["status"] for name, target in targets.items()}
    assert here == {
        "abi3-broken": None,
        "links-only": "guaranteed",
        "no-torch": None,
        "stable-2-10": "breaks",
        "torch": None,
        "unstable-pinned": "breaks",
    }
    for scenario in ("stable-2.10", "unstable-pinned", "abi3-broken", "no-torch"):
        _, alone = run_json(wheel_of(scenario), capsys=capsys)
        (wheel,) = alone["targets"]
        wheel["claims"]["filename"] = None  # which is all that an installation does not keep
        installed = targets[wheel["name"].replace("_", "-")]
        for key in ("verdict", "torch", "python", "claims", "findings", "libraries"):
            assert installed[key] == wheel[key]


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        ("torch", {"unstable-pinned"}),
        ("abi3", {"abi3-broken"}),
        ("both", {"unstable-pinned", "abi3-broken"}),
    ],
)
def test_checks(
    site: Path, capsys: pytest.CaptureFixture[str], check: str, failing: set[str]
) -> None:
    names = ["abi3-broken", "links-only", "no-torch", "stable-2-10", "unstable-pinned"]
    codes = {name: main(["--site-packages", str(site), "--check", check, name]) for name in names}
    capsys.readouterr()
    assert codes == {name: int(name in failing) for name in names}
    assert main(["--site-packages", str(site), "--check", check]) == 1


def test_a_wheel_that_is_pinned_passes_unless_it_has_to_be_stable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pinned, undeclared = wheel_of("unstable-pinned"), wheel_of("unstable-undeclared")
    assert main([str(pinned)]) == 0
    said = "unstable ABI: loads on torch 2.9-2.15, pinned to 2.14; for Python 3.9 and newer, 3.13t"
    assert capsys.readouterr().out.splitlines() == [
        f"pinned: {pinned.name}: {said} and newer (1 note, -v)"
    ]
    assert main(["--require-stable", str(pinned)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "unsafe: do not publish: 1 library uses the unstable C++ ABI of libtorch (3 symbols)"
    )
    assert main([str(undeclared)]) == 1


@pytest.mark.parametrize("name", ["stable_2_10", "stable-2-10", "Stable.2.10"])
def test_a_package_by_its_names(site: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run_json("--site-packages", site, name, capsys=capsys)
    (target,) = report["targets"]
    assert (code, target["kind"], target["name"]) == (0, "package", "stable-2-10")
    assert target["here"]["status"] == "breaks"


def test_one_package_says_how_it_stands_here(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--site-packages", str(site), "links_only"]) == 0
    assert "  here: guaranteed with torch 2.9.0" in capsys.readouterr().out.splitlines()


def test_paths(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A package's folder is the package; other folders are what is in them."""
    library = site / "stable_2_10" / "_C.so"
    unpacked, wheels, plain = (tmp_path / name for name in ("unpacked", "wheels", "plain"))
    unpacked.mkdir()
    install(unpacked, "stable-2.10")
    for folder in (wheels, plain):
        folder.mkdir()
    shutil.copy(wheel_of("stable-2.10"), wheels)
    shutil.copy(wheel_of("no-torch"), wheels)
    shutil.copy(library, plain)
    expected = {
        site / "stable_2_10": [("package", "stable-2-10", ">=2.10")],
        library: [("library", "_C.so", None)],
        unpacked: [("directory", "stable-2-10", ">=2.10")],
        plain: [("directory", "plain", None)],
        wheels: [("wheel", "no-torch", None), ("wheel", "stable-2-10", ">=2.10")],
    }
    for path, targets in expected.items():
        code, report = run_json(path, capsys=capsys)
        assert code == 0
        assert [
            (item["kind"], item["name"], item["claims"] and item["claims"]["requires_torch"])
            for item in report["targets"]
        ] == targets
        assert report["targets"][-1]["torch"]["floor"] == "2.10.0"


def test_what_is_neither(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, empty = tmp_path / "x.txt", tmp_path / "empty"
    text.write_text("text")
    empty.mkdir()
    reasons = {
        text: "neither a wheel nor a library",
        empty: "no compiled file in the folder",
        site: "6 packages are installed in the folder: use --site-packages",
        tmp_path / "missing": "no such file",
    }
    for path, reason in reasons.items():
        assert main([str(path)]) == 2
        assert capsys.readouterr().err == f"torch-abi-audit: {path}: {reason}\n"
    assert main(["no_such_package_anywhere"]) == 2
    assert capsys.readouterr().err == (
        "torch-abi-audit: no_such_package_anywhere: no such file, and no package of that name in"
        f" {', '.join(map(str, active_site().folders))}\n"
    )
    assert main(["--site-packages", str(tmp_path / "missing")]) == 2
    assert "no such file or directory" in capsys.readouterr().err
    assert main(["--site-packages", str(empty)]) == 2
    assert capsys.readouterr().err == (
        f"torch-abi-audit: {empty}: no packages are installed in it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to audit: name wheels or packages, or use --env or --python"),
        (["--env", "x.whl"], "--env audits the whole environment"),
        (["--env", "--site-packages", "x"], "--env and --site-packages cannot be combined"),
        (["--env", "--python", "x"], "--env and --python cannot be combined"),
    ],
)
def test_targets_or_an_environment(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert said in capsys.readouterr().err


def test_a_name_that_is_both(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "links_only").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["--site-packages", str(site), "links_only"]) == 0
    assert capsys.readouterr().err == (
        "torch-abi-audit: links_only: the installed package was taken, not ./links_only\n"
    )
    shutil.copy(wheel_of("no-torch"), tmp_path / "links_only")
    assert main(["--site-packages", str(site), "links_only"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert wheel_of("no-torch").name in output.out


def test_a_package_that_can_not_be_read_hides_no_other(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = site / "stable_2_10" / "_C.so"
    library.write_bytes(library.read_bytes()[:700])
    (site / "no_torch-1.0.dist-info" / "METADATA").write_text("Name: no_torch\nVersion: one\n")
    assert main(["--site-packages", str(site)]) == 2
    output = capsys.readouterr()
    assert "no-torch could not be audited: the metadata can't be parsed" in output.out
    assert "stable-2-10 could not be audited: stable_2_10/_C.so: truncated" in output.out
    assert output.out.splitlines()[-1] == (
        "error: 1 of 2 packages that use torch does not load with torch 2.9.0; torch 2.14 suits all"
        ' of them: pip install "torch==2.14.*"; 2 packages could not be audited'
    )
    assert len(output.err.splitlines()) == 2


def test_files_that_are_recorded_and_not_there(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that is gone does not matter, a library does; no pipe is waited for."""
    record = site / "links_only-1.0.dist-info" / "RECORD"
    record.write_text(f"{record.read_text()}../../bin/gone,,\nlinks_only/pipe,,\n")
    os.mkfifo(site / "links_only" / "pipe")
    assert main(["--site-packages", str(site), "links_only"]) == 0
    assert capsys.readouterr().err == ""
    (site / "links_only" / "lib.so").unlink()
    assert main(["--site-packages", str(site), "links_only"]) == 2
    reason = "links_only/lib.so: it is recorded, and no such file is there"
    assert capsys.readouterr().err == f"torch-abi-audit: links-only: {reason}\n"


def test_without_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path, "stable-2.10")
    assert main(["--site-packages", str(tmp_path)]) == 1
    said = "failed: torch is not installed, but 1 package needs it"
    assert capsys.readouterr().out.splitlines()[-1] == said
    (tmp_path / "empty").mkdir()
    install(tmp_path / "empty", "no-torch")
    assert main(["--site-packages", str(tmp_path / "empty")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "passed: no package uses torch"


def test_libraries_that_record_puts_elsewhere_belong_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "sibling-symbols")
    _, report = run_json("--site-packages", tmp_path, "sibling_symbols", capsys=capsys)
    (target,) = report["targets"]
    assert {item["path"].split("/")[0] for item in target["libraries"]} == {
        "sibling_symbols",
        "sibling_symbols.libs",
    }


@pytest.mark.parametrize("style", ["pth", "relative", "finder"])
def test_editable_installs(tmp_path: Path, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    site, project = tmp_path / "site-packages", tmp_path / "project" / "src"
    package = project / "edited"
    info = site / "edited-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_C.so").write_bytes(a_library())
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: edited\nVersion: 1.0\n")
    origin = {"url": project.parent.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    if style != "finder":
        line = project if style == "pth" else "../project/src"
        name, text = "__editable__.edited.pth", f"import sys\n{line}\n"
    else:
        name = "__editable___edited_1_0_finder.py"
        text = f"import sys\nMAPPING: dict[str, str] = {{'edited': {str(package)!r}}}\n"
    (site / name).write_text(text)
    (info / "RECORD").write_text(f"{name},,\nedited-1.0.dist-info/METADATA,,\n")
    _, report = run_json("--site-packages", site, "edited", capsys=capsys)
    (target,) = report["targets"]
    assert [item["path"] for item in target["libraries"]] == ["edited/_C.so"]
    assert target["torch"]["floor"] == "2.10.0"


@pytest.mark.parametrize("line", ["/", "../../../../../../../../../.."])
def test_an_editable_install_is_never_all_there_is(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site-packages"
    info = package(site, record="pk.pth,,\n")
    (site / "pk.pth").write_text(f"{line}\n")
    origin = {"url": "file:///", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    _, report = run_json("--site-packages", site, "pk", capsys=capsys)
    assert report["targets"][0]["error"] == (
        "an editable install, and nothing of it was found at /"
    )


def test_namespace_packages(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "shared" / name
        folder.mkdir(parents=True)
        (folder / "_C.so").write_bytes(a_library())
        info = tmp_path / f"shared_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: shared-{name}\nVersion: 1\n")
        (info / "RECORD").write_text(f"shared/{name}/_C.so,,\n")
    site = Site([tmp_path])
    assert site.find("shared") == ["shared-one", "shared-two"]
    assert site.find("shared.two") == ["shared-two"]
    assert site.find("shared_one") == ["shared-one"]
    assert site.packages["shared-one"].import_names == {"shared", "shared.one"}


def test_from_python() -> None:
    """By name, in the interpreter that runs the tests: a dependency of this package."""
    (target,) = audit("pycxxfilt").targets
    assert target.kind is TargetKind.PACKAGE
    assert target.safe
    assert any(item.path.startswith("pycxxfilt/") for item in target.libraries)


def test_a_library_of_another_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "_C.pyd"
    path.write_bytes(member_of("windows-unstable-pinned", "windows_unstable_pinned/_C.dll"))
    code, report = run_json(path, capsys=capsys)
    (target,) = report["targets"]
    assert (code, target["verdict"], target["torch"]["abi"]) == (0, "unsafe", "unstable")
    assert [item["rule"] for item in target["findings"]] == ["unstable-torch-symbol"]
    assert main([str(path), "--check", "torch"]) == 1
    assert os.fspath(path) in capsys.readouterr().out


def package(site: Path, name: str = "pk", *, record: str | None = "pk/_C.so,,\n") -> Path:
    """A package with one library; return its `.dist-info`."""
    info = site / f"{name}-1.0.dist-info"
    (site / name).mkdir(parents=True)
    (site / name / "_C.so").write_bytes(a_library())
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    return info


NEEDS_TORCH = 1  # and none is installed


def audited(
    *arguments: str | Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[tuple[str, str, list[str]]]]:
    """The exit code, and for each target its name, verdict and libraries."""
    code, report = run_json(*arguments, capsys=capsys)
    return code, [
        (item["target"], item["verdict"], [library["path"] for library in item["libraries"]])
        for item in report["targets"]
    ]


def test_without_a_record_the_packages_folder_is_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = package(tmp_path, record=None)
    assert audited("--site-packages", tmp_path, capsys=capsys) == (
        NEEDS_TORCH,
        [("pk", "safe", ["pk/_C.so"])],
    )
    shutil.move(tmp_path / "pk", tmp_path / "other")
    code, (target,) = audited("--site-packages", tmp_path, capsys=capsys)
    assert (code, target[1]) == (2, "error")
    (info / "top_level.txt").write_text("other\n")
    assert audited("--site-packages", tmp_path, capsys=capsys)[0] == NEEDS_TORCH


def test_a_folder_that_is_named_is_looked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the record says is in it."""
    package(tmp_path)
    (tmp_path / "pk" / "_D.so").write_bytes(a_library())
    _, (target,) = audited(tmp_path / "pk", capsys=capsys)
    assert target[2] == ["pk/_C.so", "pk/_D.so"]
    (tmp_path / "pk" / "_E.so").symlink_to("nowhere")
    assert audited(tmp_path / "pk", capsys=capsys)[0] == 2


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("METADATA", b"Name: pk\nVersion: 1.0\nAuthor: Jos\xe9\n"),
        ("RECORD", b"pk/_C.so,,\n\xff\xfe,,notanumber\na\0b,,\n"),
        ("direct_url.json", b"[" * 100_000),
        ("direct_url.json", b'{"url": 5, "dir_info": 7}'),
    ],
)
def test_odd_metadata_hides_nothing(
    tmp_path: Path, file: str, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (package(tmp_path) / file).write_bytes(data)
    package(tmp_path, "good", record="good/_C.so,,\n")
    code, targets = audited("--site-packages", tmp_path, capsys=capsys)
    assert code == NEEDS_TORCH
    assert [(name, libraries) for name, _, libraries in targets] == [
        ("good", ["good/_C.so"]),
        ("pk", ["pk/_C.so"]),
    ]
    assert audited("--site-packages", tmp_path, "good", capsys=capsys)[0] == 0


@pytest.mark.parametrize("file", ["METADATA", "RECORD"])
def test_metadata_that_is_not_there_is_an_error_of_its_own_package(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    info = package(tmp_path)
    (info / file).unlink()
    os.mkfifo(info / file)  # nor is a pipe waited for
    shutil.rmtree(tmp_path / "pk")
    package(tmp_path, "good", record="good/_C.so,,\n")
    code, targets = audited("--site-packages", tmp_path, capsys=capsys)
    assert code == 2
    assert [(name, verdict) for name, verdict, _ in targets] == [("good", "safe"), ("pk", "error")]


def test_what_pip_left_behind_is_no_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(package(tmp_path), tmp_path / "~k-0.9.dist-info")
    _, targets = audited("--site-packages", tmp_path, capsys=capsys)
    assert [name for name, _, _ in targets] == ["pk"]


@pytest.mark.parametrize("kind", ["egg-info", "egg-link"])
def test_installs_of_old(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    site, project = tmp_path / "site-packages", tmp_path / "project"
    home = site if kind == "egg-info" else project
    package(home, record=None)
    info = home / "pk.egg-info"
    (home / "pk-1.0.dist-info").rename(info)
    (info / "METADATA").rename(info / "PKG-INFO")
    (home / "pk" / "__init__.py").touch()
    if kind == "egg-link":
        site.mkdir()
        (site / "pk.egg-link").write_text(f"{project}\n.")
    found = audited("--site-packages", site, capsys=capsys)
    assert found == (NEEDS_TORCH, [("pk", "safe", ["pk/_C.so"])])


@pytest.mark.parametrize("mapping", ["{'pk': 5}", "{'pk': None}", "{", "{'pk': '/nowhere/pk'}"])
def test_an_editable_install_whose_source_is_gone(
    tmp_path: Path, mapping: str, capsys: pytest.CaptureFixture[str]
) -> None:
    info = package(tmp_path, record="__editable___pk_finder.py,,\ngone.pth,,\n")
    (tmp_path / "__editable___pk_finder.py").write_text(f"MAPPING = {mapping}\n")
    origin = {"url": "file:///nowhere/at/all", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    code, (target,) = audited("--site-packages", tmp_path, capsys=capsys)
    assert (code, target[1]) == (2, "error")


def test_an_editable_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The finder leaves its suffix out."""
    site, project = tmp_path / "site-packages", tmp_path / "project"
    info = package(site, record="__editable___pk_finder.py,,\n")
    project.mkdir()
    (project / "_top.cpython-311-x86_64-linux-gnu.so").write_bytes(a_library())
    mapping = {"_top": str(project / "_top")}
    (site / "__editable___pk_finder.py").write_text(f"MAPPING = {mapping!r}\n")
    origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    for name in ("pk", "_top"):
        _, (target,) = audited("--site-packages", site, name, capsys=capsys)
        assert target[2] == ["_top.cpython-311-x86_64-linux-gnu.so"]


def test_a_shared_folder_is_of_all_that_have_files_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        package(tmp_path, name, record=f"shared/{name}/_C.so,,\n")
        (tmp_path / "shared").mkdir(exist_ok=True)
        shutil.move(tmp_path / name, tmp_path / "shared" / name)
    _, report = run_json(tmp_path / "shared", capsys=capsys)
    assert [target["name"] for target in report["targets"]] == ["one", "two"]
    _, report = run_json(tmp_path / "shared" / "two", capsys=capsys)
    assert [target["name"] for target in report["targets"]] == ["two"]


def test_a_torch_that_can_not_be_read(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The packages are audited all the same, and the run says that something is missing."""
    shutil.rmtree(site / "torch")
    assert main(["--site-packages", str(site)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("torch-abi-audit: the installed torch can't be read: ")
    assert "stable-2-10" in output.out
    assert output.out.splitlines()[-1].startswith("error: the installed torch can't be read: ")
    assert main(["--site-packages", str(site), "stable_2_10"]) == 0
    assert "the torch installed alongside it can't be read" in capsys.readouterr().err


def test_in_worker_processes() -> None:
    """Reports travel between processes, and are the same there."""
    wheels = [str(wheel_of(name)) for name in ("stable-2.10", "unstable-pinned", "macos-stable")]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        apart = list(pool.map(audit, wheels))
    assert [report.targets for report in apart] == [audit(wheel).targets for wheel in wheels]
