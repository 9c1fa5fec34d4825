"""The API of 0.3.0: what that version returned, and where this one differs on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

import torch_abi_audit
import torch_abi_audit.report
from tests.builders import library as library_facts
from tests.unit.record_030 import RECORD, WHEELS, described, linux_wheels, unpacked
from torch_abi_audit import compat
from torch_abi_audit.compat import (
    CPythonABIVerdict,
    EnvironmentReport,
    ExtensionReport,
    PackageReport,
    TorchABIVerdict,
    format_json,
    inspect_extension,
    inspect_package,
    inspect_site_packages,
    minimum_version,
    symbol_version,
)
from torch_abi_audit.model import Member

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")

RECORDED: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
BUNDLED = {"of": "bundled_libs"}
STABLE = {**BUNDLED, "uses_torch": True, "stable": True}
NEEDS_2_10 = {
    "stable_shim_count": 1,
    "min_torch_version": "2.10.0",
    "version_defining_symbols": ["torch_library_impl"],
}

# By the distribution, what differs from the record, and why. None: it is not there.
DIFFERENCES: dict[str, dict[str, Any]] = {
    # It is cut off: not "does not reference torch".
    "corrupt_library": {
        "torch_verdict": "error",
        "has_error": True,
        "error": "corrupt_library/_cut.so: truncated: bytes 752 to 1024 are outside its 700 bytes",
        "libraries": {
            "corrupt_library/_cut.so": {
                **BUNDLED,
                "uses_torch": True,
                "error": "truncated: bytes 752 to 1024 are outside its 700 bytes",
            }
        },
    },
    # Libraries are told by their first bytes and not by their names.
    "foreign_system": {"libraries": {"foreign_system/helper.dll": BUNDLED}},
    "odd_members": {
        "libraries": {
            "odd_members.libs/libplugin.so.1": {**STABLE, **NEEDS_2_10},
            "odd_members/plugin": {**STABLE, **NEEDS_2_10},
            "odd_members/libscript.so": None,  # a linker script
        }
    },
    # Names that begin with `torch_` and are another project's.
    "no_torch": {
        "torch_verdict": "no-torch",
        "min_torch_version": None,
        "min_torch_display": None,
        "has_unknown_shim_symbols": None,
        "libraries": {"no_torch/lib.so": BUNDLED},
    },
    "torch_required": {
        "torch_verdict": "no-torch",
        "min_torch_version": None,
        "min_torch_display": None,
        "has_unknown_shim_symbols": None,
        "libraries": {"torch_required/_C.so": BUNDLED},
    },
    # Names that look like torch's, which another library of the package defines.
    "sibling_symbols": {
        "torch_verdict": "torch-stable",
        "min_torch_display": "2.10.0",
        "has_unknown_shim_symbols": None,
        "libraries": {"sibling_symbols/_C.so": {**STABLE, **NEEDS_2_10}},
    },
    # `aoti_record_function_start` is a shim too.
    "stable_2_9": {
        "libraries": {
            "stable_2_9/_C.so": {**STABLE, "stable_shim_count": 3, "min_torch_version": "2.9.0"}
        }
    },
    # A weak import of a shim never stops a load.
    "weak_imports": {
        "min_torch_version": "2.10.0",
        "min_torch_display": "2.10.0",
        "libraries": {"weak_imports/_C.so": {**STABLE, **NEEDS_2_10}},
    },
    # A name in torch's namespace that can't be demangled.
    "weak_unstable": {
        "torch_verdict": "torch-unstable",
        "libraries": {
            "weak_unstable/_C.so": {
                **BUNDLED,
                "uses_torch": True,
                "unstable_symbols": ["_ZN3c104impl15tls_is_presentEv"],
                **NEEDS_2_10,
            }
        },
    },
}


def merged(old: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return what was recorded with what differs."""
    libraries = {**old["libraries"], **change.get("libraries", {})}
    found = {**old, **change, "libraries": libraries}
    found["libraries"] = {key: libraries[key] for key in libraries if libraries[key]}
    return {key: found[key] for key in found if found[key] is not None}


@pytest.mark.parametrize("wheel", linux_wheels(), ids=lambda path: path.name)
def test_a_package_is_what_0_3_0_said(wheel: Path, tmp_path: Path) -> None:
    old = RECORDED[wheel.name]
    found = described(unpacked(wheel, tmp_path))
    change = DIFFERENCES.get(wheel.name.partition("-")[0], {})
    assert found == merged(old, change)
    assert found != old or not change
    if found["libraries"].keys() == old["libraries"].keys():
        assert list(found["libraries"]) == list(old["libraries"])


def test_the_record_is_of_all_wheels() -> None:
    assert list(RECORDED) == [wheel.name for wheel in linux_wheels()]
    assert sum(len(item["libraries"]) for item in RECORDED.values()) > 90
    assert {name.partition("-")[0] for name in RECORDED} >= DIFFERENCES.keys()


@pytest.mark.parametrize("wheel", linux_wheels(), ids=lambda path: path.name)
def test_a_library_alone_is_what_it_is_in_the_package(wheel: Path, tmp_path: Path) -> None:
    report = inspect_package(unpacked(wheel, tmp_path))
    libraries = {item.path: item for item in (*report.extensions, *report.bundled_libs)}
    alone = {path: inspect_extension(path) for path in libraries}
    if wheel.name.startswith("sibling_symbols"):  # it is not seen that its sibling has them
        (path,) = (path for path in libraries if path.name == "_C.so")
        assert alone.pop(path).torch.unstable_symbols == ("at::ours(int)",)
        assert libraries.pop(path).torch.unstable_symbols == ()
    assert alone == libraries


# --- What is not there or can't be read

UNSAFE = TorchABIVerdict(uses_torch=True, stable=False)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Return a library on the stable ABI."""
    (wheel,) = (WHEELS / "stable-2.11").glob("*.whl")
    return unpacked(wheel, tmp_path / "wheel") / "stable_2_11" / "_C.so"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "no such file"),
        (b"hello", "named like a library, but text that is not a linker script"),
        (b"", "named like a library, but neither an object file nor text"),
        (b"GROUP ( libx.so.1 )", "not a library"),
        (b"\x7fELF", "an ELF file of an unknown class or byte order"),
    ],
)
def test_a_library_that_is_none_has_an_error(
    content: bytes | None, error: str, tmp_path: Path
) -> None:
    path = tmp_path / "_C.abi3.so"
    if content is not None:
        path.write_bytes(content)
    report = inspect_extension(path)
    assert report.error == error
    assert report.path == path.resolve()
    assert report.torch == UNSAFE
    assert report.cpython == CPythonABIVerdict(intent=True, compliant=False)
    assert inspect_extension(str(path)) == report


def test_a_truncated_library_is_an_error_of_its_package(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:700])
    report = inspect_extension(library)
    assert report.error is not None
    assert report.torch == UNSAFE
    (library.parent / "other.so").write_text("x", encoding="utf-8")
    package = inspect_package(library.parent)
    assert package.bundled_libs[0] == report
    assert package.error == f"_C.so: {report.error} (and 1 more)"
    assert package.torch_verdict == "error"


def test_a_folder_is_no_library(tmp_path: Path) -> None:
    assert inspect_extension(tmp_path).error == "not a library"
    assert inspect_extension(tmp_path).torch == UNSAFE


def test_a_dangling_link_is_an_error(library: Path) -> None:
    link = library.with_name("gone.so")
    link.symlink_to("nowhere.so")
    assert inspect_extension(link).error == "no such file"
    report = inspect_package(library.parent)
    assert report.torch_verdict == "error"
    assert report.error is not None


def test_a_folder_that_cannot_be_listed_is_an_error(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scandir(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = inspect_package(library.parent)
    assert report.error is not None
    assert "Permission denied" in report.error
    assert (report.torch_verdict, report.bundled_libs) == ("error", ())


def test_what_is_over_a_limit_is_an_error(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_abi_audit.budget import Budget, Limits  # noqa: PLC0415

    monkeypatch.setattr(compat, "Budget", lambda: Budget(Limits(symbols=1)))
    assert inspect_package(library.parent).torch_verdict == "error"
    assert inspect_extension(library).torch == UNSAFE


# --- Where a package is found


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no_such_package", "no package or module 'no_such_package' in sys.path"),
        ("no_such_package.inner", "no package or module 'no_such_package.inner' in sys.path"),
        ("json.nope", "no package or module 'json.nope' in sys.path"),
        ("json.decoder.inner", "no package or module 'json.decoder.inner' in sys.path"),
        ("_C.so", "no package or module '_C.so' in sys.path"),
        ("", "no package or module '' in sys.path"),
        ("..", "no package or module '..' in sys.path"),
        ("sys", "sys is part of the interpreter and has no file"),
        ("__main__", "__main__ is not found"),
    ],
)
def test_a_name_that_is_not_found_is_an_error(
    name: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    report = inspect_package(name)
    assert report.error is not None
    assert report.error.startswith(error)
    assert report == PackageReport(name, Path(name), error=report.error)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x" / "y.so"
    report = inspect_package(path)
    assert report.error == f"no such file or folder: {path.resolve()}"
    assert (report.name, report.root) == (str(path), path)
    assert inspect_package(str(path)) == report


@pytest.mark.parametrize("name", ["x.py", "x-1.0-py3-none-any.whl"])
def test_a_file_that_is_no_library_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("", encoding="utf-8")
    report = inspect_package(tmp_path / name)
    assert report.error == f"{name}: not a library"
    assert (report.name, report.root) == (name, tmp_path.resolve())


def test_names_are_looked_up_and_not_imported(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "of_030"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit", encoding="utf-8")
    file = package.resolve() / "inner" / f"_C{EXTENSION_SUFFIXES[-1]}"
    file.write_bytes(library.read_bytes())
    (package.parent / "module_030.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.syspath_prepend(str(package.parent))
    report = inspect_package("of_030")
    assert (report.name, report.root) == ("of_030", package.resolve())
    assert [item.path for item in report.bundled_libs] == [file]
    assert inspect_package("of_030.inner").bundled_libs == report.bundled_libs
    module = inspect_package("of_030.inner._C")
    assert (module.root, module.bundled_libs) == (file.parent, report.bundled_libs)
    assert inspect_package("module_030").error == "module_030.py: not a library"
    assert "of_030" not in sys.modules


def test_a_namespace_is_inspected_wherever_it_lies(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("one", "two"):
        folder = tmp_path / place / "namespace_030"
        folder.mkdir(parents=True)
        (folder / f"{place}.so").write_bytes(library.read_bytes())
        monkeypatch.syspath_prepend(str(tmp_path / place))
    report = inspect_package("namespace_030")
    assert report.root == (tmp_path / "two" / "namespace_030").resolve()
    assert [item.path.name for item in report.bundled_libs] == ["two.so", "one.so"]


def test_paths_are_resolved(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = library.parent
    (tmp_path / "link").symlink_to(package)
    library.with_name("_link.so").symlink_to("_C.so")
    monkeypatch.chdir(tmp_path)
    report = inspect_package(Path("link"))
    assert (report.name, report.root) == ("stable_2_11", package)
    assert [item.path for item in report.bundled_libs] == [library]
    assert inspect_package("./link") == report
    file = inspect_package(f"link{os.sep}_link.so")
    assert (file.name, file.root, file.bundled_libs) == ("_C.so", package, report.bundled_libs)
    assert inspect_package("link").error == "no package or module 'link' in sys.path"
    assert inspect_extension("link/_link.so").path == library


def test_a_package_without_libraries_does_not_use_torch(tmp_path: Path) -> None:
    assert inspect_package(tmp_path) == PackageReport(tmp_path.name, tmp_path.resolve())


def test_an_environment_is_its_packages_with_libraries(library: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    for name in ("b", "a/inner", "__pycache__", "x-1.0.dist-info", "x.data", "pure", "b.libs"):
        (site / name).mkdir(parents=True)
    for name in ("b/_C.so", "a/inner/_C.abi3.so", "__pycache__/a.so", "x.data/a.so", "top.so"):
        (site / name).write_bytes(library.read_bytes())
    (site / "b.libs" / "libz.so.1").write_bytes(library.read_bytes())
    (site / "broken.so").write_text("x", encoding="utf-8")
    (site / "module.py").write_text("", encoding="utf-8")
    (site / "x.so").mkdir()
    report = inspect_site_packages(site)
    assert report.site_packages == site.resolve()
    found = [(item.name, item.root.name, item.torch_verdict) for item in report.packages]
    assert found == [
        ("a", "a", "torch-stable"),
        ("b", "b", "torch-stable"),
        ("b.libs", "b.libs", "torch-stable"),
        ("broken.so", "site-packages", "error"),
        ("top.so", "site-packages", "torch-stable"),
    ]
    assert inspect_site_packages(str(site)) == report


def test_the_usual_environment_is_that_of_the_interpreter() -> None:
    report = inspect_site_packages()
    assert "pycxxfilt" in {item.name for item in report.packages}


def test_an_environment_has_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="not a folder"):
        inspect_site_packages(tmp_path / "nope")


def test_torch_itself_does_not_use_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_ZN2at6TensorD1Ev"
    user = library_facts(name, needed=("libtorch_cpu.so",), runpath=("$ORIGIN",))
    facts = {"_C.so": user, "libtorch_cpu.so": library_facts(exports=(name,))}
    members = [Member(path, (library,)) for path, library in facts.items()]
    monkeypatch.setattr(compat, "read_files", lambda _files, _budget: members)
    for package, verdict in (("torch", "no-torch"), ("x", "torch-unstable")):
        (tmp_path / package).mkdir()
        for path in facts:
            (tmp_path / package / path).touch()
        assert inspect_package(tmp_path / package).torch_verdict == verdict


def test_a_library_that_links_one_python_is_not_compliant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "_C.abi3.so"
    path.touch()
    for needed, compliant in (((), True), (("libpython3.12.so.1.0",), False)):
        facts = library_facts("PyList_New", needed=needed)
        members = [Member(path.name, (facts,))]
        monkeypatch.setattr(compat, "read_files", lambda _files, _budget, found=members: found)
        assert inspect_extension(path).cpython == CPythonABIVerdict(
            intent=True, compliant=compliant
        )


# --- What the classes say


def test_the_slices_of_a_universal_file_are_one_library(tmp_path: Path) -> None:
    (wheel,) = (WHEELS / "macos-universal2").glob("*.whl")
    report = inspect_package(unpacked(wheel, tmp_path))
    libraries = (*report.extensions, *report.bundled_libs)
    assert len({item.path for item in libraries}) == len(libraries)
    assert report.torch_verdict == "torch-stable"


def test_the_fields_are_those_of_0_3_0() -> None:
    names = {
        cls: " ".join(item.name for item in fields(cls))
        for cls in (
            CPythonABIVerdict,
            TorchABIVerdict,
            ExtensionReport,
            PackageReport,
            EnvironmentReport,
        )
    }
    assert names == {
        CPythonABIVerdict: "intent compliant violations",
        TorchABIVerdict: "uses_torch stable unstable_symbols stable_shim_count min_torch_version"
        " version_defining_symbols unknown_shim_symbols",
        ExtensionReport: "path cpython torch error",
        PackageReport: "name root extensions bundled_libs error",
        EnvironmentReport: "site_packages packages",
    }


ROOT = Path("/r")
YES, NO = CPythonABIVerdict(intent=False, compliant=True), CPythonABIVerdict(False, False)  # noqa: FBT003
STABLE_2_9 = TorchABIVerdict(True, True, (), 1, "2.9.0")  # noqa: FBT003
STABLE_2_10 = TorchABIVerdict(True, True, (), 3, "2.10.0", ("a",))  # noqa: FBT003
UNKNOWN = TorchABIVerdict(True, True, (), 3, "2.9.0", (), ("b",))  # noqa: FBT003
UNSTABLE = TorchABIVerdict(True, False, ("c10::x",))  # noqa: FBT003
NONE = TorchABIVerdict(False, False)  # noqa: FBT003


@pytest.mark.parametrize(
    ("uses", "verdict", "version", "display"),
    [
        ((), "no-torch", None, None),
        ((NONE,), "no-torch", None, None),
        ((NONE, STABLE_2_9), "torch-stable", "2.9.0", "2.9.0"),
        ((STABLE_2_9, STABLE_2_10), "torch-stable", "2.10.0", "2.10.0"),
        ((STABLE_2_10, UNKNOWN), "torch-stable", "2.10.0", ">=2.10.0"),
        ((UNSTABLE,), "torch-unstable", None, None),
        ((UNSTABLE, STABLE_2_9, NONE), "torch-unstable", "2.9.0", "2.9.0"),
    ],
)
@pytest.mark.parametrize("bundled", [False, True])
def test_a_package_is_its_worst_library(
    uses: tuple[TorchABIVerdict, ...],
    verdict: str,
    version: str | None,
    display: str | None,
    *,
    bundled: bool,
) -> None:
    libraries = tuple(ExtensionReport(ROOT / "x.so", NO, use) for use in uses)
    report = PackageReport("x", ROOT, *((), libraries) if bundled else (libraries,))
    assert report.torch_verdict == verdict
    assert report.min_torch_version == version
    assert report.min_torch_display == display
    assert report.has_unknown_shim_symbols == (UNKNOWN in uses)
    assert not report.has_error
    failed = replace(report, error="x")
    assert (failed.torch_verdict, failed.has_error) == ("error", True)
    if uses:
        broken = (replace(libraries[0], error="x"), *libraries[1:])
        report = PackageReport("x", ROOT, *((), broken) if bundled else (broken,))
        assert (report.torch_verdict, report.has_error) == ("error", True)


@pytest.mark.parametrize(
    ("extensions", "verdict"),
    [
        ((), "no-extensions"),
        ((YES,), "abi3-compliant"),
        ((NO,), "not-abi3"),
        ((YES, NO), "mixed"),
        ((YES, YES), "abi3-compliant"),
    ],
)
def test_only_extensions_say_how_a_package_uses_python(
    extensions: tuple[CPythonABIVerdict, ...], verdict: str
) -> None:
    libraries = tuple(ExtensionReport(ROOT / "x.so", use, NONE) for use in extensions)
    bundled = (ExtensionReport(ROOT / "y.so", NO, NONE),)
    assert PackageReport("x", ROOT, libraries, bundled).cpython_verdict == verdict


def test_shims_have_the_release_that_added_them() -> None:
    assert compat.BASELINE_VERSION == (2, 9, 0)
    assert symbol_version("torch_has_storage") == (2, 14, 0)
    assert symbol_version("_torch_library_impl") == (2, 10, 0)
    assert symbol_version("aoti_torch_get_dim") is None
    assert symbol_version("aoti_torch_from_the_future") is None


@pytest.mark.parametrize(
    ("symbols", "version"),
    [
        ([], (None, (), ())),
        (["aoti_torch_get_dim"], ((2, 9, 0), (), ())),
        (["aoti_torch_aten_full", "torch_has_storage"], ((2, 14, 0), ("torch_has_storage",), ())),
        (["aoti_torch_get_dim", "torch_z", "foo"], ((2, 9, 0), (), ("foo", "torch_z"))),
        (["_torch_library_impl"], ((2, 10, 0), ("_torch_library_impl",), ())),
    ],
)
def test_shims_together_need_the_newest_of_their_releases(
    symbols: list[str], version: tuple[object, ...]
) -> None:
    assert minimum_version(symbols) == version


def test_json_has_the_fields() -> None:
    package = PackageReport("x", ROOT, (ExtensionReport(ROOT / "x.so", YES, UNSTABLE, "y"),))
    found = json.loads(format_json(EnvironmentReport(ROOT, (package,))))
    assert found == {
        "site_packages": str(ROOT),
        "packages": [
            {
                "name": "x",
                "root": str(ROOT),
                "extensions": [
                    {
                        "path": str(ROOT / "x.so"),
                        "cpython": {"intent": False, "compliant": True, "violations": []},
                        "torch": {
                            "uses_torch": True,
                            "stable": False,
                            "unstable_symbols": ["c10::x"],
                            "stable_shim_count": 0,
                            "min_torch_version": None,
                            "version_defining_symbols": [],
                            "unknown_shim_symbols": [],
                        },
                        "error": "y",
                    }
                ],
                "bundled_libs": [],
                "error": None,
            }
        ],
    }
    assert json.loads(format_json(package)) == found["packages"][0]


# --- Where the names are, and that they are going


@pytest.mark.filterwarnings("error")
def test_every_function_says_what_replaces_it(tmp_path: Path) -> None:
    report = PackageReport("x", ROOT)
    for call in (
        lambda: inspect_extension(tmp_path),
        lambda: inspect_package("json"),
        lambda: inspect_site_packages(tmp_path),
        lambda: symbol_version("x"),
        lambda: minimum_version(()),
        lambda: format_json(report),
    ):
        with pytest.warns(DeprecationWarning, match=r"use .*audit.* instead") as caught:
            call()
        assert caught[0].filename == __file__


def test_the_names_are_where_0_3_0_had_them() -> None:
    top = set(compat.__all__) - {"format_json"}
    for name in top:
        assert getattr(torch_abi_audit, name) is getattr(compat, name)
    of_report = {
        "CPythonABIVerdict",
        "EnvironmentReport",
        "ExtensionReport",
        "PackageReport",
        "TorchABIVerdict",
        "format_json",
    }
    for name in of_report:
        assert getattr(torch_abi_audit.report, name) is getattr(compat, name)
    for module in (torch_abi_audit, torch_abi_audit.report):
        with pytest.raises(AttributeError, match="has no attribute 'nope'"):
            module.nope  # noqa: B018


def test_none_of_it_is_loaded_before_it_is_asked_for() -> None:
    code = """
import sys, torch_abi_audit
from torch_abi_audit import cli
assert not hasattr(torch_abi_audit, "nope")
assert "torch_abi_audit.compat" not in sys.modules
assert torch_abi_audit.report.PackageReport is torch_abi_audit.PackageReport
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import torch_abi_audit; torch_abi_audit.report.PackageReport"
    subprocess.run([sys.executable, "-c", code], check=True)
