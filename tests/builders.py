"""Hand-made things to test with: facts, claims, wheels in which one thing is wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import InvalidWheelFilename, NormalizedName, parse_wheel_filename
from packaging.version import Version

from torch_abi_audit.abi.cpython import library_kind
from torch_abi_audit.audit import Options, classify_contents
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.catalog import Catalog, Platform, Shim, ShimExport
from torch_abi_audit.catalog.exports import Build, Leak, make_table
from torch_abi_audit.catalog.storage import write_archive
from torch_abi_audit.claims.python_tags import installing_interpreters
from torch_abi_audit.claims.variants import split_label
from torch_abi_audit.index.pages import FileKind, IndexFile
from torch_abi_audit.loader.graph import LoadGraph
from torch_abi_audit.model import (
    Cause,
    Claims,
    DemandSource,
    DeploymentTarget,
    Finding,
    Format,
    LayoutStatus,
    Library,
    Member,
    Reason,
    ReleaseStatus,
    Subject,
    Symbol,
    TargetContents,
    TargetKind,
    TorchAbi,
    Verdict,
)
from torch_abi_audit.report.schema import DocumentName, schema_text
from torch_abi_audit.survey import TorchCell, WheelRecord
from torch_abi_audit.verdict.cross_wheel import platforms_of

NAME = "x-1.0-py39-none-manylinux_2_28_x86_64.whl"
METADATA = "Metadata-Version: 2.4\nName: x\nVersion: 1.0\n"
TEST_WHEELS = Path(__file__).parents[1] / "test_wheels"

# A small catalog, so that tests of judgements do not change with the real one. CUDA is 12
# up to 2.10.0, and 13 from 2.11.0 on; `_ZN2at6changeEi` goes and comes back as `…El`.
RELEASES = ("2.8.0", "2.9.0", "2.9.1", "2.10.0", "2.11.0")
CPU, PYTHON, CUDA = "libtorch_cpu.so", "libtorch_python.so", "libtorch_cuda.so"
_ALWAYS = {
    CPU: [
        *("_ZN2at6TensorD1Ev", "_ZTIN3c105ErrorE", "cpuinfo_initialize", "_ZN6fbgemm4packEv"),
        "_ZN5torch6stable4callEv",
    ],
    PYTHON: [
        *("THPVariableClass", "_ZN8pybind116detail4loadEv", "torch_c_dynamo_private"),
        "_ZN6fbgemm6pythonEv",
    ],
    CUDA: ["_ZN2at4cuda4callEv"],
    "libtorch.so": [],
    "libc10.so": ["_ZN3c104warnEv"],
}
_SINCE = {
    "aoti_torch_old": "2.8.0",
    "aoti_torch_cpu_private": "2.8.0",
    "aoti_record_function_start": "2.9.0",
    "torch_ten": "2.10.0",
    "torch_eleven": "2.11.0",
    "_ZN2at3newEv": "2.10.0",
    "_ZSt9leaked_upv": "2.10.0",
    "_ZSt9leaked_onv": "2.9.0",
    "_ZN2at6changeEl": "2.10.0",
    "_ZN2at6changeEPKcS1_": "2.10.0",  # another overload, less alike
}
_UNTIL = {"_ZN2at6changeEi": "2.9.1", "aoti_torch_gone": "2.8.0", "_ZSt11leaked_oncev": "2.8.0"}


def _build(release: str) -> Build:
    cuda = 13 if release == "2.11.0" else 12
    return Build(
        version=Version(release),
        cuda=f"{cuda}.0",
        libraries={
            "libc10.so": (),
            CPU: ("libc10.so", f"libcudart.so.{cuda}", "libgomp.so.1"),
            CUDA: (CPU, "libcublas.so.12", "libcurand.so.10")[: 2 if cuda == 13 else 3],
            "libtorch.so": (CPU, CUDA),
            PYTHON: ("libtorch.so",),
        },
        others=frozenset({"libgomp.so.1"}),
        cxx11=True,
        platforms=("manylinux1_x86_64" if release == "2.8.0" else "manylinux_2_28_x86_64",),
    )


def _exports(release: str) -> dict[str, list[str]]:
    version = Version(release)
    names = [name for name, since in _SINCE.items() if Version(since) <= version]
    names += [name for name, until in _UNTIL.items() if version <= Version(until)]
    return {**_ALWAYS, CPU: [*_ALWAYS[CPU], *names]}


def _linux() -> Platform:
    table = make_table([_exports(release) for release in RELEASES])
    leaks = {
        "_ZSt9leaked_upv": Leak(0b11000, "GLIBCXX_3.4.32"),
        "_ZSt9leaked_onv": Leak(0b11110, "GLIBCXX_3.4.22"),
        "_ZSt11leaked_oncev": Leak(0b00001, "GLIBCXX_3.4.22"),
    }
    data = write_archive([_build(release) for release in RELEASES], table, leaks)
    return Platform("linux_x86_64", lambda: io.BytesIO(data))


def _two_level(key: str, cpu: str, c10: str, others: dict[str, str]) -> Platform:
    """A platform whose binaries name the library of each symbol; `others` are names of C++."""
    builds = [
        Build(Version(release), None, {c10: (), cpu: (c10,)}, requires_python=">=3.9")
        for release in RELEASES
    ]
    exports = [
        {cpu: [n for n in _exports(release)[CPU] if not n.startswith("_Z")], c10: []}
        for release in RELEASES
    ]
    for of_release in exports:
        for name, library in others.items():
            of_release[{"cpu": cpu, "c10": c10}[library]].append(name)
    data = write_archive(builds, make_table(exports), {})
    return Platform(key, lambda: io.BytesIO(data))


DYLIB_CPU, DYLIB_C10 = "libtorch_cpu.dylib", "libc10.dylib"
_MACOS_NAMES = {"_ZN2at6TensorD1Ev": "cpu", "_ZN3c104warnEv": "c10", "_ZN6fbgemm4packEv": "cpu"}
_WINDOWS_NAMES = {"??1Tensor@at@@QEAA@XZ": "cpu", "?warn@c10@@YAXXZ": "c10"}


def _shim(name: str, *, removed: str | None = None, header: str = "shim.h") -> Shim:
    since = Version(_SINCE.get(name, "2.8.0"))
    until = Version("2.8.0" if removed else RELEASES[-1])
    return Shim(
        since,
        header,
        promised=header == "shim.h",
        removed=Version(removed) if removed else None,
        exported={
            "linux_x86_64": ShimExport(CPU, since, until),
            "macos_arm64": ShimExport(DYLIB_CPU, since, until),
            "windows_x86_64": ShimExport("torch_cpu.dll", since, until),
        },
    )


CATALOG = Catalog(
    releases=tuple(map(Version, RELEASES)),
    published=tuple(map(Version, ("2.1.0", *RELEASES))),
    promised_since=Version("2.9.0"),
    shims={
        "aoti_torch_old": _shim("aoti_torch_old"),
        "aoti_torch_gone": _shim("aoti_torch_gone", removed="2.9.0"),
        "aoti_record_function_start": _shim("aoti_record_function_start"),
        "torch_ten": _shim("torch_ten"),
        "torch_eleven": _shim("torch_eleven"),
        "aoti_torch_cpu_private": _shim("aoti_torch_cpu_private", header="shim_cpu.h"),
        "aoti_torch_mps_only": Shim(Version("2.8.0"), "shim.h"),
    },
    platforms={
        "linux_x86_64": _linux(),
        "macos_arm64": _two_level("macos_arm64", DYLIB_CPU, DYLIB_C10, _MACOS_NAMES),
        "windows_x86_64": _two_level("windows_x86_64", "torch_cpu.dll", "c10.dll", _WINDOWS_NAMES),
    },
)


def library(
    *imports: str | Symbol,
    exports: tuple[str | Symbol, ...] = (),
    needed: tuple[str, ...] = (),
    soname: str | None = None,
    arch: str = "x86_64",
    executable: bool = False,
    format: Format = Format.ELF,  # noqa: A002 -- the name of the field
    optional: tuple[str, ...] = (),
    reexported: tuple[str, ...] = (),
    minos: DeploymentTarget | None = None,
    version_needs: tuple[tuple[str, tuple[str, ...]], ...] = (),
    rpath: tuple[str, ...] = (),
    runpath: tuple[str, ...] = (),
) -> Library:
    def symbols(names: tuple[str | Symbol, ...]) -> tuple[Symbol, ...]:
        return tuple(Symbol(name) if isinstance(name, str) else name for name in names)

    return Library(
        format=format,
        arch=arch,
        executable=executable,
        soname=soname,
        needed=needed,
        optional=optional,
        reexported=reexported,
        minos=minos,
        version_needs=version_needs,
        rpath=rpath,
        runpath=runpath,
        imports=symbols(imports),
        exports=symbols(exports),
    )


def dylib(
    *imports: str | Symbol, needed: tuple[str, ...] = (), arch: str = "arm64", **facts: Any
) -> Library:
    """A Mach-O library; what it imports from where is written ``library:name``."""
    return library(*map(_asked, imports), needed=needed, arch=arch, format=Format.MACHO, **facts)


def dll(*imports: str | Symbol, needed: tuple[str, ...] = (), **facts: Any) -> Library:
    """A PE library; what it imports from where is written ``library:name``."""
    return library(*map(_asked, imports), needed=needed, format=Format.PE, **facts)


def _asked(item: str | Symbol) -> Symbol:
    if isinstance(item, Symbol):
        return item
    asked, _, name = item.rpartition(":")
    return Symbol(name, library=asked or None)


def claims(
    tag: str = "py39-none-manylinux_2_28_x86_64",
    *,
    torch: tuple[str, ...] = (),
    python: str = "",
    wheel_tag: str | None = None,
    purelib: bool = False,
    extras: tuple[str, ...] = (),
    name: str = "x",
    cuda: tuple[str, ...] = (),
    dependencies: tuple[str, ...] = (),
) -> Claims:
    return Claims(
        name=name,
        version=Version("1.0"),
        tags=parse_tag(tag),
        wheel_tags=parse_tag(wheel_tag or tag),
        root_is_purelib=purelib,
        requires_python=SpecifierSet(python),
        torch_requirements=tuple(map(Requirement, torch)),
        cuda_requirements=tuple(map(Requirement, cuda)),
        extras=frozenset(extras),
        dependencies=dependencies,
    )


def graph_of(
    libraries: dict[str, Library], hidden: Collection[str] = (), limits: Limits | None = None
) -> LoadGraph:
    kinds = {path: library_kind(item) for path, item in libraries.items()}
    return LoadGraph(libraries, kinds, hidden, Budget(limits or Limits()))


def subject(
    libraries: dict[str, Library], promised: Claims | None = None, judged: str | None = None
) -> Subject:
    """Classify libraries, and fill their matrix, by the pipeline."""
    members = tuple(Member(path, (item,), verified=True) for path, item in libraries.items())
    contents = TargetContents(TargetKind.WHEEL, promised or claims(), members)
    options = Options(torch=None if judged is None else SpecifierSet(judged))
    return replace(classify_contents(contents, CATALOG, options), source=DemandSource.METADATA)


def shown(finding: Finding) -> tuple[str, ...]:
    """The evidence of a finding, each piece in a line; with its library where it has several."""
    one = len(finding.libraries) == 1
    return tuple(str(i._replace(library=None)) if one else str(i) for i in finding.evidence)


def fix_of(finding: Finding) -> str:
    """What a finding says to change."""
    return finding.fix.text if finding.fix else ""


def tags_of(finding: Finding) -> str | None:
    """The tags that are the fix of a finding, where they alone are."""
    return finding.fix.change.tags if finding.fix and finding.fix.change else None


def load_schema(name: DocumentName = "report") -> Any:
    return json.loads(schema_text(name))


_LETTERS = {
    "g": TorchCell(ReleaseStatus.GUARANTEED),
    "l": TorchCell(ReleaseStatus.LINKS, LayoutStatus.UNCHANGED),
    "u": TorchCell(ReleaseStatus.LINKS, LayoutStatus.UNKNOWN),
    "c": TorchCell(
        ReleaseStatus.LINKS,
        LayoutStatus.CHANGED,
        (Reason(Cause.LAYOUT, "c10::TensorImpl", "184 to 176 bytes since 2.11.0"),),
    ),
    "x": TorchCell(
        ReleaseStatus.BREAKS,
        reasons=(Reason(Cause.LIBRARY, "libcudart.so.12", "torch ships libcudart.so.13"),),
    ),
    "?": TorchCell(ReleaseStatus.UNKNOWN),
}


def record(
    version: str = "1.0",
    cells: str = "",
    torch: str | None = None,
    *,
    tag: str = "cp312-cp312-manylinux_2_28_x86_64",
    project: str = "x",
    **values: Any,
) -> WheelRecord:
    """A record of a wheel: a letter for each of `RELEASES`, and what it requires of torch."""
    tags = claims(tag)
    releases = {name: _LETTERS[letter] for name, letter in zip(RELEASES, cells, strict=False)}
    allowed = SpecifierSet(torch or "").filter(RELEASES)
    plain: dict[str, Any] = {
        "filename": f"{project}-{version}-{tag}.whl",
        "project": project,
        "version": version,
        "pythons": tuple(map(str, installing_interpreters(tags))),
        "platforms": platforms_of(tags),
        "verdict": Verdict.SAFE,
        "summary": "stable ABI",
        "abi": TorchAbi.NONE if not cells else TorchAbi.UNSTABLE,
        "unstable": 1 if cells else 0,
        "libraries": 1,
        "requires_torch": torch,
        "releases": releases,
        "asked": tuple(allowed) if cells else (),
    }
    if "g" in cells:
        plain |= {"abi": TorchAbi.STABLE, "stable": 1, "unstable": 0}
    return WheelRecord(**{**plain, **values})


def member_of(scenario: str, path: str) -> bytes:
    """Return a member of a wheel in test_wheels/."""
    (wheel,) = (TEST_WHEELS / scenario).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(path)


def a_library() -> bytes:
    """Return a whole ELF library: stable ABI, floor 2.10.0."""
    return member_of("odd-members", "odd_members.libs/libplugin.so.1")


def write_wheel(
    folder: Path,
    files: dict[str, bytes] | None = None,
    *,
    name: str = NAME,
    metadata: str | None = METADATA,
    wheel: str | None = None,
    record: str | None = "",
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write a wheel; None leaves a dist-info file out; `record` is added to the right rows."""
    path = folder / name
    tag = "-".join(name.removesuffix(".whl").split("-")[2:5])
    default = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n"
    members = dict(files or {})
    if metadata is not None:
        members["x-1.0.dist-info/METADATA"] = metadata.encode()
    members["x-1.0.dist-info/WHEEL"] = (default if wheel is None else wheel).encode()
    if record is not None:
        rows = [record_row(member, data) for member, data in members.items()]
        members["x-1.0.dist-info/RECORD"] = "".join(
            [*rows, "x-1.0.dist-info/RECORD,,\n", record]
        ).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


def published_file(filename: str, **more: Any) -> IndexFile:
    """Return a file of an index, as its page describes it."""
    try:
        name, version, _, _ = parse_wheel_filename(split_label(filename)[0])
    except InvalidWheelFilename:
        name, version = NormalizedName("x"), None
    given: dict[str, Any] = {
        "filename": filename,
        "url": f"https://index.invalid/{filename}",
        "project": name,
        "version": version,
        "kind": FileKind.WHEEL if filename.endswith(".whl") else FileKind.SDIST,
        "sha256": None,
        "size": None,
        "yanked": False,
        "uploaded": None,
        "requires_python": None,
        "metadata": None,
        "variants": None,
    }
    return IndexFile(**{**given, **more})


def record_row(name: str, data: bytes) -> str:
    """Return the row of a file in RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"
