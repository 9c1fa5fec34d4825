"""What findings say to change about a build, done to the wheels of test_wheels/.

Changes of metadata are proven by the tool itself; what needs another build is proven here: the
wheel is made again as its finding says, and audited.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from test_wheels.expected import names, wheels_of
from tests.builders import member_of, record_row
from tests.oracle.shared import Rela, Shared, Sym, defined
from torch_abi_audit import TargetReport, Verdict, audit
from torch_abi_audit.model import Fix

TORCH = ("libtorch_cpu.so",)
STABLE_MACOS = ("macos-stable", "macos_stable/_C.so")


class Repaired(NamedTuple):
    """A wheel made again, as the fix of a finding says.

    Attributes:
        fix: What the fix says.
        rebuilt: The libraries that were built again: their bytes, or the member of another
            scenario that differs from this one by the fix alone.
        renamed: Their new names; None for files that are left out.
        tag: The new tag of the wheel.
        verdict: What the wheel is then.
        added: The libraries that are bundled.
    """

    fix: str
    rebuilt: Mapping[str, bytes | tuple[str, str]] = {}
    renamed: Mapping[str, str | None] = {}
    tag: str | None = None
    verdict: Verdict = Verdict.SAFE
    added: Mapping[str, bytes] = {}


def elf(
    *imports: str,
    exports: tuple[str, ...] = ("register_ops",),
    needed: tuple[str, ...] = TORCH,
    needs: Mapping[str, str] | None = None,
) -> bytes:
    """A library for Linux x86_64 that calls functions, some with a version of a library."""
    versions = dict(needs or {})
    numbers = {version: 2 + n for n, version in enumerate(versions.values())}
    symbols = [Sym(name) for name in imports]
    files: dict[str, list[tuple[str, int]]] = {}
    for name, version in versions.items():
        symbols.append(Sym(name, version=numbers[version]))
        files.setdefault("libstdc++.so.6", []).append((version, numbers[version]))
    slots = [Rela(7, number) for number in range(1, len(symbols) + 1)]
    whole = Shared(
        [*symbols, *map(defined, exports)], plt=slots, needed=(*needed, *files), needs=files
    )
    return bytes(whole.build().data)


STABLE = elf("torch_library_impl")
ABI3 = "_C.abi3.so"
LIMITED = "build with -DPy_LIMITED_API=0x03090000 and py_limited_api=True, and tag the wheel {}"
BACKEND = "build the wheel again with a current build backend and current repair tools"

REPAIRED = {
    ("abi3-suffix", "abi3-versioned-suffix"): Repaired(
        "name it _C.abi3.so, as py_limited_api=True does",
        renamed={
            "abi3_versioned_suffix/_C.cpython-310-x86_64-linux-gnu.so": ABI3,
            "abi3_versioned_suffix/_ops.cpython-310-x86_64-linux-gnu.so": "_ops.abi3.so",
        },
        verdict=Verdict.NOT_APPLICABLE,
    ),
    ("abi3-suffix", "abi3t-suffix"): Repaired(
        "name it _C.abi3t.so", renamed={"abi3t_suffix/_C.abi3.so": "_C.abi3t.so"}
    ),
    ("abi3-violation", "abi3-broken"): Repaired(
        "build with -DPy_LIMITED_API=0x030a0000 and py_limited_api=True, or build one wheel per"
        " Python version",
        rebuilt={
            "abi3_broken/_C.abi3.so": ("abi3-kept", "abi3_kept/_C.abi3.so"),
            "abi3_broken/libhelper.so": STABLE,
        },
    ),
    ("archive-integrity", "archive-duplicate"): Repaired(BACKEND),
    ("archive-integrity", "archive-unrecorded"): Repaired(
        "change members with `wheel unpack` and `wheel pack`, which write a new RECORD"
    ),
    ("archive-integrity", "archive-stream"): Repaired(
        "write the archive to a seekable file, not to a pipe"
    ),
    ("binaries-in-pure-wheel", "pure-with-library"): Repaired(
        "build a platform wheel, tagged for linux x86_64",
        tag="py3-none-manylinux_2_28_x86_64",
        verdict=Verdict.NOT_APPLICABLE,
    ),
    ("bundled-libtorch", "bundled-libtorch"): Repaired(
        "exclude them from the repair step: auditwheel repair --exclude 'libtorch*' --exclude"
        " 'libc10*'",
        renamed={"bundled_libtorch.libs/libc10-0a1b2c3d.so": None},
        rebuilt={"bundled_libtorch/_C.so": STABLE},
    ),
    ("cuda-build-required", "windows-cuda"): Repaired(
        "build without CUDA for this platform; if the wheel is for CUDA builds from another"
        " index, name one with --torch-build",
        rebuilt={"windows_cuda/_C.dll": ("windows-stable", "windows_stable/_C.pyd")},
    ),
    ("cuda-build-required", "build-cpu"): Repaired(
        "build without CUDA for this platform; or require a CUDA build of torch",
        rebuilt={"build_cpu/_C.so": STABLE},
    ),
    ("foreign-symbol-from-libtorch", "foreign-symbol"): Repaired(
        "link the third-party library itself",
        rebuilt={
            "foreign_symbol/_C.so": elf(
                "torch_library_impl", exports=("register_ops", "cpuinfo_initialize")
            )
        },
    ),
    # What the platform tag does not promise is seen then, by auditwheel too.
    ("leaked-libstdcxx-symbol", "leaked-libstdcxx"): Repaired(
        'put libstdc++ first on the link line: CppExtension(..., libraries=["stdc++"])',
        rebuilt={
            "leaked_libstdcxx/_C.so": elf(
                "torch_library_impl",
                needs={"_ZSt21ios_base_library_initv": "GLIBCXX_3.4.32"},
            )
        },
        tag="py39-none-manylinux_2_39_x86_64",
    ),
    ("links-torch-python", "links-torch-python"): Repaired(
        "leave torch_python out of `libraries`, or build with py_limited_api=True",
        rebuilt={"links_torch_python/_C.so": STABLE},
    ),
    ("platform-floor-understated", "macos-minos"): Repaired(
        "build with MACOSX_DEPLOYMENT_TARGET=11.0",
        rebuilt={
            "macos_minos/.dylibs/libhelper.dylib": STABLE_MACOS,
            "macos_minos/.dylibs/libnearly.dylib": STABLE_MACOS,
        },
    ),
    ("python-api-in-none-wheel", "none-with-c-api"): Repaired(
        LIMITED.format("cp39-abi3"),
        renamed={"none_with_c_api/_C.so": ABI3},
        tag="cp39-abi3-manylinux_2_28_x86_64",
        verdict=Verdict.NOT_APPLICABLE,
    ),
    ("needed-library-missing", "needed-library-missing"): Repaired(
        "bundle it (auditwheel repair), declare the package that provides it, or tell users to"
        " install it",
        added={"needed_library_missing.libs/libnuma.so.1": elf(exports=("numa_max",), needed=())},
    ),
    ("runpath-outside-wheel", "runpath-of-the-build"): Repaired(
        "set a search path relative to the library, $ORIGIN",
        rebuilt={"runpath_of_the_build/_C.so": ("runpath-relative", "runpath_relative/_C.so")},
    ),
    ("tag-overspecific", "tag-overspecific-abi3"): Repaired(
        LIMITED.format("cp39-abi3"),
        renamed={"tag_overspecific_abi3/_C.cpython-312-x86_64-linux-gnu.so": ABI3},
        tag="cp39-abi3-manylinux_2_28_x86_64",
    ),
    ("tag-overspecific", "tag-overspecific"): Repaired(
        "tag the wheel py3-none, unless its Python files are for one version",
        tag="py3-none-manylinux_2_28_x86_64",
    ),
    ("unimportable-extension", "suffix-of-another-python"): Repaired(
        "build with Python 3.12 for x86_64, in a clean build folder",
        renamed={
            "suffix_of_another_python/_C.cpython-310-x86_64-linux-gnu.so": (
                "_C.cpython-312-x86_64-linux-gnu.so"
            )
        },
    ),
    ("unimportable-extension", "export-hook-too-early"): Repaired(
        "export PyInit__C too (PEP 793)",
        rebuilt={
            "export_hook_too_early/_C.cpython-314-x86_64-linux-gnu.so": elf(
                "_PyObject_GetDictPtr",
                "torch_library_impl",
                exports=("PyModExport__C", "PyInit__C"),
            )
        },
    ),
    ("unreadable-library", "corrupt-library"): Repaired(
        "build the wheel again; if the file is not a library, give it another name",
        rebuilt={"corrupt_library/_cut.so": STABLE},
    ),
    ("unstable-inline-code", "unstable-inline-code"): Repaired(
        "build with -DTORCH_TARGET_VERSION, which makes the compiler reject these headers",
        rebuilt={"unstable_inline_code/_C.so": STABLE},
    ),
    ("unstable-torch-symbol", "mixed"): Repaired(
        "use torch::stable and torch::headeronly, and build with -DTORCH_TARGET_VERSION",
        rebuilt={"mixed/_C.so": STABLE},
    ),
    ("versioned-python-library", "macos-abi3-linked"): Repaired(
        "do not link to libpython: the interpreter provides its symbols",
        rebuilt={"macos_abi3_linked/_C.abi3.so": ("macos-abi3", "macos_abi3/_C.abi3.so")},
    ),
    ("versioned-python-library", "windows-abi3-linked"): Repaired(
        "link to python3.dll: build with -DPy_LIMITED_API=0x03090000",
        rebuilt={"windows_abi3_linked/_C.pyd": ("windows-abi3", "windows_abi3/_C.pyd")},
    ),
    ("wrong-architecture", "foreign-system"): Repaired(
        "leave the file out of the wheel, or build it for linux x86_64",
        renamed={"foreign_system/helper.dll": None},
    ),
}
# What is no change of the build: where else to publish it, and what to update.
ELSEWHERE = {
    (
        "refused-filename",
        "publish it on an index of your own, next to a wheel without a variant label",
    ),
    (
        "refused-filename",
        "run `auditwheel repair --exclude 'libtorch*' --exclude 'libc10*'` to get a manylinux tag",
    ),
    ("refused-filename", "publish it on an index of your own, or as 1.0"),
    ("unknown-release", "update torch-abi-audit, or check with --against and that torch"),
    ("unknown-shim-symbol", "update torch-abi-audit if a newer torch provides it"),
    # Any release would do: which one is the author's to choose.
    ("torch-symbol-missing", "rebuild the wheel with one torch release, and pin that release"),
    # The properties of a variant are what it is labelled with: tests/unit/test_variant_rules.py.
    (
        "variant-mismatch",
        (
            "label the wheel abi_dependency::torch::2.12, or rebuild it with the release that the"
            " property names"
        ),
    ),
    (
        "variant-mismatch",
        "label the wheel nvidia::cuda_version_lower_bound::13.0, or build it with CUDA 12",
    ),
    ("variant-mismatch", "drop the property, and require the oldest release"),
}


def audited(wheel: str | Path) -> TargetReport:
    """Audit one wheel."""
    (target,) = audit(str(wheel)).targets
    return target


def fixes_of(target: TargetReport) -> dict[str, Fix]:
    return {item.rule: item.fix for item in target.findings if item.fix}


def made_again(wheel: Path, repaired: Repaired, folder: Path) -> Path:
    """Write a wheel again with what is built anew, and a RECORD of what is in it."""
    name, version, *old = wheel.stem.split("-")
    tag = repaired.tag or "-".join(old)
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(wheel) as archive:
        for path in dict.fromkeys(archive.namelist()):
            data = archive.read(path)
            if path.endswith(".dist-info/RECORD"):
                continue
            if path.endswith(".dist-info/WHEEL") and repaired.tag:
                lines = f"Root-Is-Purelib: false\nTag: {tag}\n"
                data = b"Wheel-Version: 1.0\nGenerator: tests\n" + lines.encode()
            new = repaired.rebuilt.get(path, data)
            data = new if isinstance(new, bytes) else member_of(*new)
            last = repaired.renamed.get(path, path.rpartition("/")[2])
            if last is not None:
                members[path.rpartition("/")[0] + "/" + last] = data
    members |= repaired.added
    missed = {*repaired.rebuilt, *repaired.renamed} - set(zipfile.ZipFile(wheel).namelist())
    assert missed == set()
    record = f"{name}-{version}.dist-info/RECORD"
    rows = "".join(record_row(path, data) for path, data in members.items())
    members[record] = f"{rows}{record},,\n".encode()
    result = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return result


@pytest.mark.parametrize(("rule", "scenario"), REPAIRED)
def test_a_wheel_that_is_built_as_the_fix_says_has_no_such_finding(
    rule: str, scenario: str, tmp_path: Path
) -> None:
    repaired = REPAIRED[rule, scenario]
    wheel = Path(wheels_of(scenario)[0])
    assert fixes_of(audited(wheel))[rule].text == repaired.fix
    again = audited(made_again(wheel, repaired, tmp_path))
    assert rule not in {item.rule for item in again.findings}
    assert again.verdict is repaired.verdict


def test_each_fix_of_a_build_is_tried() -> None:
    told = {
        (item.rule, item.fix.text)
        for scenario in names()
        for wheel in wheels_of(scenario)
        for item in audited(wheel).findings
        if item.fix and item.fix.change is None and not item.fix.choices
    }
    assert told == {(rule, item.fix) for (rule, _), item in REPAIRED.items()} | ELSEWHERE
