"""The build script of test_wheels/: what it rejects, links, compares and accepts."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from test_wheels import build, expected, scenario
from torch_abi_audit.formats import BytesSource
from torch_abi_audit.formats.macho import read_macho

TEST_WHEELS = expected.SCENARIOS
WHEEL = '[wheel]\nname = "x"\npython = "py39"\nabi = "none"\nplatform = "any"\n'
LIBRARY = '[[library]]\npath = "x/_C.so"\nsource = "ops.c"\n'


def make(folder: Path, text: str) -> scenario.Scenario:
    (folder / "scenario.toml").write_text(text, encoding="utf-8")
    (folder / "ops.c").write_text("int one(void) { return 1; }\n", encoding="utf-8")
    return scenario.read_scenario(folder)


def test_the_documented_keys_are_those_that_are_read() -> None:
    rows = re.findall(r"^\| +(`\S+`)? +\| `?([^`|]+?)`? +\|", str(scenario.__doc__), re.MULTILINE)
    documented: dict[str, list[str]] = {}
    for table, key in rows:
        documented.setdefault(table or list(documented)[-1], []).append(key)
    kinds = {
        "`[wheel]`": scenario.Wheel,
        "`[[library]]`": scenario.Library,
        "`[[file]]`": scenario.File,
        "`[archive]`": scenario.Archive,
    }
    for table, kind in kinds.items():
        keys = [item.name.replace("_", "-") for item in fields(kind)]
        assert documented[table] == [key for key in keys if key != "exports"]


@pytest.mark.parametrize("name", expected.names())
def test_every_scenario_is_read(name: str) -> None:
    read = scenario.read_scenario(TEST_WHEELS / name)
    assert len(read.wheels) == len(expected.wheels_of(name))


def test_no_source_is_there_twice() -> None:
    sources = [path.read_bytes() for path in TEST_WHEELS.glob("*/*.c*")]
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[wheels]", "unknown table [wheels] (did you mean 'wheel'?)"),
        (LIBRARY, "no [wheel]"),
        (WHEEL.replace("abi", "ABI"), "[wheel]: unknown key 'ABI'"),
        (WHEEL + "pure-lib = true", "[wheel]: unknown key 'pure-lib' (did you mean 'purelib'?)"),
        (WHEEL.replace('abi = "none"\n', ""), "[wheel]: missing key 'abi'"),
        (WHEEL + 'purelib = "yes"', "[wheel]: purelib must be true or false"),
        (WHEEL + 'requires-dist = "torch"', "[wheel]: requires-dist must be a list of strings"),
        (WHEEL + "[[also]]\npyton = 'cp312'", "[[also]]: unknown key 'pyton' (did you mean"),
        (WHEEL + "[also]\npython = 'cp312'", "[also] must be written [[also]]"),
        (WHEEL + LIBRARY + "run-path = []", "[[library]]: unknown key 'run-path' (did you mean"),
        (WHEEL + LIBRARY.replace("ops", "oops"), "[[library]] x/_C.so: no source 'oops.c'"),
        (WHEEL + LIBRARY + "keep-bytes = true", "[[library]]: keep-bytes must be an integer"),
        (WHEEL + LIBRARY + "exports = {a = 1}", "exports.a must be a list of strings"),
        (WHEEL + LIBRARY + "needed = ['lib.so']\nexports = {'lub.so' = ['f']}", "mean 'lib.so'?)"),
        (
            WHEEL + LIBRARY + "target = 'x86_64-plan9-gnu'",
            "is not a Linux, macOS or Windows target",
        ),
        (WHEEL + LIBRARY + "target = 'x86_64'", "'x86_64' is not a Linux, macOS or Windows target"),
        (WHEEL + LIBRARY + "target = 'a-macos-none'\ntargets = ['b-macos-none']", "not both"),
        (WHEEL + LIBRARY + "rpath = ['a']\nrunpath = ['b']", "either rpath or runpath"),
        (
            WHEEL + LIBRARY + "target = 'aarch64-macos.11.0'\nrunpath = ['a']",
            "[[library]] x/_C.so: runpath: aarch64-macos.11.0 has none",
        ),
        (
            WHEEL + LIBRARY + "target = 'x86_64-windows-gnu'\nrpath = ['a']",
            "[[library]] x/_C.so: rpath: x86_64-windows-gnu has none",
        ),
        (WHEEL + "[[file]]\npath = 'x/a'\ntxt = ''", "[[file]]: unknown key 'txt' (did you mean"),
        (WHEEL + "[archive]\ntwise = []", "[archive]: unknown key 'twise' (did you mean 'twice'?)"),
        (WHEEL + LIBRARY + "[archive]\ntwice = ['x/C.so']", "no file 'x/C.so' (did you mean 'x/_C"),
        (WHEEL + "[", "scenario.toml: "),
    ],
)
def test_mistakes_are_errors(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(scenario.ScenarioError) as raised:
        make(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path.name}/scenario.toml: ")
    assert reason in message
    assert "\n" not in message


def test_errors_of_the_command_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check", "mixd"]) == 2
    assert capsys.readouterr().err == ("error: no scenario 'mixd' (did you mean 'mixed'?)\n")


def elf_paths(data: bytes) -> dict[str, str]:
    """The search paths of an ELF file, as pyelftools reads them."""
    segments = ELFFile(io.BytesIO(data)).iter_segments()
    dynamic = next(item for item in segments if isinstance(item, DynamicSegment))
    tags = {"DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
    return {
        tags[tag.entry.d_tag]: getattr(tag, tags[tag.entry.d_tag])
        for tag in dynamic.iter_tags()
        if tag.entry.d_tag in tags
    }


@pytest.mark.parametrize(
    ("line", "paths"),
    [
        ("runpath = ['$ORIGIN/../x.libs', '/opt/x']", {"runpath": "$ORIGIN/../x.libs:/opt/x"}),
        ("rpath = ['$ORIGIN/a,b']", {"rpath": "$ORIGIN/a,b"}),
        ("", {}),
    ],
)
def test_search_paths_of_elf_libraries(line: str, paths: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    for target in ("x86_64-linux-gnu.2.28", "aarch64-linux-gnu.2.28"):
        read = make(tmp_path, f"{WHEEL}{LIBRARY}target = '{target}'\n{line}")
        data = build.build_library(tmp_path, read.libraries[0], tmp_path)
        assert elf_paths(data) == paths


def test_search_paths_of_macos_libraries(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    lines = "targets = ['aarch64-macos.11.0', 'x86_64-macos.11.0']\nrpath = ['/a', '/b']"
    read = make(tmp_path, f"{WHEEL}{LIBRARY}{lines}")
    slices = read_macho(BytesSource(build.build_library(tmp_path, read.libraries[0], tmp_path)))
    assert [item.rpath for item in slices] == [("/a", "/b")] * 2


@pytest.fixture
def ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one scenario, in a folder where it is the only one."""
    folder = tmp_path / "test_wheels" / "ignored"
    shutil.copytree(TEST_WHEELS / "ignored", folder)
    shutil.copytree(TEST_WHEELS / "sources", folder.parent / "sources")
    monkeypatch.setattr(expected, "SCENARIOS", folder.parent)
    monkeypatch.setattr(build, "HERE", folder.parent)
    return folder


def test_check_names_the_wheels_that_differ(
    ignored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ziglang")
    assert build.main(["--check"]) == 0
    assert capsys.readouterr().out == "1 scenario: 0 wheels not as built\n"
    (wheel,) = ignored.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    shutil.copy(wheel, ignored / "y-1.0-py39-none-any.whl")
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"ignored/{wheel.name}: differs",
        "ignored/y-1.0-py39-none-any.whl: not built by the scenario",
        "1 scenario: 2 wheels not as built",
    ]


def test_accept_keeps_the_optional_keys(ignored: Path) -> None:
    path = ignored / "expected.json"
    good = path.read_text(encoding="utf-8")
    wrong = json.loads(good) | {"verdict": "unsafe", "ignored": [], "releases": {"2.9.1": ""}}
    path.write_text(json.dumps(wrong), encoding="utf-8")
    assert build.main(["--accept", "ignored"]) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(good) | {
        "releases": {"2.9.1": "breaks"}
    }
    path.unlink()
    assert build.main(["--accept"]) == 0
    basic = json.loads(good)
    del basic["ignored"]
    assert path.read_text(encoding="utf-8") == expected.as_text(basic)
