"""What is fuzzed: each takes bytes, and holds what it makes of them against what must be so.

A finding is any exception but `AuditError`, and each `FuzzError` that a target raises itself. What
an execution may take is in `Target`; `run` holds it to that.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.builders import METADATA, NAME, TEST_WHEELS
from tests.fuzz import mutators, seeds
from tests.fuzz.differences import compare
from tests.fuzz.errors import FuzzError
from tests.fuzz.reports import check_output, check_report, report_seeds
from tests.objects import chained, trie
from torch_abi_audit import Options, audit
from torch_abi_audit.abi import mangling, modules
from torch_abi_audit.archive.directory import open_zip
from torch_abi_audit.archive.rewrite import rewrite
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.cache.facts import decode_facts, encode_facts
from torch_abi_audit.claims import markers, platform_tags, python_tags, torch_requirement, variants
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.torch_build import chosen_build
from torch_abi_audit.cli import main
from torch_abi_audit.config import parse_config, read_config
from torch_abi_audit.errors import AuditError, LibraryError, LimitError
from torch_abi_audit.formats import BytesSource, dyld, read_libraries
from torch_abi_audit.index.pages import project_files
from torch_abi_audit.index.session import Answer, Session
from torch_abi_audit.index.sources import Sources
from torch_abi_audit.model import (
    MAIN_EXECUTABLE,
    Format,
    Interpreter,
    Library,
    MetadataChange,
    PythonVersion,
    VariantProperty,
)
from torch_abi_audit.published.select import Wanted, parse_python, select
from torch_abi_audit.report.outputs import ReportFormat
from torch_abi_audit.survey.wheel import WheelRecord, record_of
from torch_abi_audit.targets import integrity, metadata
from torch_abi_audit.targets.amend import amended_files
from torch_abi_audit.targets.wheel import read_dist_info, read_wheel
from torch_abi_audit.verdict.baseline import read_baseline

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Mutator = Callable[[random.Random, bytes], bytes]
_SAME_AGAIN = 16  # one in so many executions is done twice
_CHANGES = (
    MetadataChange(torch="torch>=2.11"),
    MetadataChange("torch==2.10.*", ">=3.10", "cp310-abi3-manylinux_2_28_x86_64"),
)
_LIMITS = Limits(symbols=50_000, names=1 << 20, steps=100_000)


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Attributes:
        run: Takes the bytes, and returns what came of them, which is the same each time.
        seeds: Returns the inputs to begin with.
        mutate: Changes an input and keeps its structure.
        longest: The most bytes that an input may have.
        share: How much of the time of all targets it gets, compared with others.
        seconds: How much time of the processor an execution may take, with all that fuzzing
            costs on top.
        megabytes: By how much an execution may raise the peak of memory.
        in_all: Whether it is one of all targets. Where an independent reader takes more, or less,
            than a loader, somebody has to look: that is not for CI.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutator
    longest: int = 4096
    share: int = 1
    seconds: float = 5
    megabytes: int = 200
    in_all: bool = True


def execute(target: Target, data: bytes) -> None:
    """Run a target on an input, within its bounds.

    Raises:
        FuzzError: Something is wrong with the outcome, or it took too much.
    """
    before, begin = _peak(), time.process_time()
    outcome = target.run(data)
    seconds, grown = time.process_time() - begin, _peak() - before
    if seconds > target.seconds:
        raise FuzzError(f"took {seconds:.1f} s")
    if grown > target.megabytes << 20:
        raise FuzzError(f"took {grown >> 20} MB")
    if not zlib.crc32(data) % _SAME_AGAIN and target.run(data) != outcome:
        raise FuzzError("gave another outcome the second time")


def _peak() -> int:
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _reason(error: AuditError) -> str:
    if not str(error):
        raise FuzzError("an error without a reason")
    return f"{type(error).__name__}: {error}"


def _library(data: bytes, kind: Format) -> object:
    """Read a library."""
    try:
        found = read_libraries(BytesSource(data), "x.so", Budget(_LIMITS))
    except (LibraryError, LimitError) as error:
        return _reason(error)
    for library in found:
        if library.format is not kind:
            raise FuzzError(f"read as {library.format}")
        _check_library(library)
    return found


def _differences(data: bytes) -> object:
    """Read a library as an independent reader does, if both do."""
    try:
        found = read_libraries(BytesSource(data), "x.so", Budget(_LIMITS))
    except (LibraryError, LimitError) as error:
        return _reason(error)
    compare(data, found)
    return found


def _all_libraries() -> list[bytes]:
    return [*seeds.elf_seeds(), *seeds.macho_seeds(), *seeds.pe_seeds()]


def _check_library(library: Library) -> None:
    names = [symbol.name for symbol in (*library.imports, *library.exports)]
    if not all(names):
        raise FuzzError("a symbol without a name")
    if not set(library.optional) | set(library.reexported) <= set(library.needed):
        raise FuzzError("a library that is optional, or re-exported, and not needed")
    if library.format is not Format.ELF and not (
        {symbol.library for symbol in library.imports} <= {*library.needed, MAIN_EXECUTABLE, None}
        or library.format is Format.PE  # a forwarder needs no import
    ):
        raise FuzzError("a symbol of a library that is not needed")


def _elf(data: bytes) -> object:
    return _library(b"\x7fELF" + data[4:], Format.ELF)


def _macho(data: bytes) -> object:
    if data[:4] not in {bytes.fromhex(m) for m in ("cefaedfe", "cafebabe", "cafebabf", "feedfacf")}:
        data = bytes.fromhex("cffaedfe") + data[4:]
    return _library(data, Format.MACHO)


def _pe(data: bytes) -> object:
    return _library(b"MZ" + data[2:], Format.PE)


def _dyld(data: bytes) -> object:
    kind, table = data[:1], data[1:]
    budget = Budget(_LIMITS)
    try:
        if kind == b"f":
            return list(dyld.chained_imports(table, "<", budget))
        if kind == b"t":
            return list(dyld.exported_symbols(table, budget))
        bind = {b"w": dyld.Bind.WEAK, b"l": dyld.Bind.LAZY}.get(kind, dyld.Bind.EAGER)
        return list(dyld.bound_symbols(table, bind, budget))
    except (LibraryError, LimitError) as error:
        return _reason(error)
    except struct.error:  # which `read_macho` makes an error of
        return "cut short"


def _dyld_seeds() -> list[bytes]:
    fixups = [chained([("_f", 1, False), ("_g", 254, True)], kind) for kind in (1, 2, 3)]
    packed = zlib.compress(b"\0_f\0_g\0")
    fixups.append(chained([("_f", 1, False), ("_g", 2, False)], names_zlib=packed))
    tries = [trie({"_e": b"\0\x10", "_r": b"\x08\x01\0", "_w": b"\x04\x10"})]
    tries += [b"\0\x02_a\0\x08_b\0\x0d\0\0\0\x01c\0\x0b\x02\0\x10\0\x02\0\x20\0"]
    binds = [b"\x11\x40_f\0\x51\x72\x88\x01\x90\xc0\x02\x08\x00", b"\x72\x08\x11\x40_g\0\x90\x00"]
    return [
        *(b"f" + data for data in fixups),
        *(b"t" + data for data in tries),
        *(kind + data for kind in (b"b", b"l", b"w") for data in binds),
    ]


@functools.cache
def _folder() -> Path:
    """Return a folder for the files of an execution."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def filename_of(data: bytes) -> str:
    """Return the filename that fits the first tag in a wheel."""
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/WHEEL") and info.file_size < 1 << 16:
                text = archive.read(info).decode()
                tags = [line[4:].strip() for line in text.splitlines() if line[:4] == "Tag:"]
                stem = info.filename.partition(".dist-info")[0]
                name = f"{stem}-{tags[0]}.whl"
                if name.isprintable() and name.isascii() and "/" not in name and len(name) < 200:
                    return name
    return NAME


def _wheel_file(data: bytes) -> Path:
    path = _folder() / filename_of(data)
    path.write_bytes(data)
    return path


def _wheel(data: bytes) -> object:
    path = _wheel_file(data)
    try:
        contents = read_wheel(path, verify=bool(zlib.crc32(data) & 1))
        with open_zip(path) as archive, path.open("rb") as file:
            list(integrity.find_defects(archive, file))
    except AuditError as error:
        return _reason(error).replace(str(path), "")
    finally:
        path.unlink()
    for member in contents.members:
        if (member.error is None) != bool(member.slices):
            raise FuzzError("a member with facts and an error, or with neither")
    return contents


def _repair(data: bytes) -> object:
    """Change the metadata of a wheel, and write it again."""
    path, output = _wheel_file(data), io.BytesIO()
    change = _CHANGES[zlib.crc32(data) % len(_CHANGES)]
    try:
        claims = read_wheel(path).claims
        files = amended_files(read_dist_info(path, Limits()), claims, change)
        with open_zip(path) as archive:
            rewrite(archive, output, files)
    except AuditError as error:
        return _reason(error).replace(str(path), "")
    finally:
        path.unlink()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(output) as new:
        for before, after in zip(old.infolist(), new.infolist(), strict=True):
            content = files.get(before.orig_filename)
            same = before.CRC == after.CRC and before.external_attr == after.external_attr
            if not same if content is None else new.read(after) != content:
                raise FuzzError(f"{before.orig_filename} was written as something else")
    return output.getvalue()


def _record(data: bytes) -> object:
    kind, text = data[:1], data[1:]
    names = ["x/_C.so", "x/__init__.py", "x-1.0.dist-info/RECORD", "é,\n"]
    try:
        match kind:
            case b"e":
                return list(integrity.entry_point_defects(text, "entry_points.txt"))
            case b"l":
                return metadata.license_files(text)
            case b"i":
                wheel, _, inside = text.partition(b"\0")
                return metadata.parse_installed(wheel, inside)
            case _:
                rows, strange = integrity.parse_record(text, names)
                infos = list(map(zipfile.ZipInfo, names))
                digests = [row.has(b"x") for row in rows.values()]
                return rows, strange, digests, list(integrity.record_defects(rows, infos, "x"))
    except AuditError as error:
        return _reason(error)


def _record_seeds() -> list[bytes]:
    return [
        b'rx/_C.so,sha256=abc_-,3\nx/__init__.py,,\n"\xc3\xa9,\n",md5=x,1\nx\\_C.so,sha512=x,\n',
        b"e[console_scripts]\nx = y:z\n; a\n[gui_scripts]\nb c = d\n[DEFAULT]\ne=f\n",
        b"lMetadata-Version: 2.4\nLicense-File: x\nLicense-File: y\n\nDescription",
        b"iTag: cp39-abi3-linux_x86_64\n\0" + METADATA.encode() + b"Requires-Dist: torch>=2.9\n",
    ]


_PROPERTIES = (
    VariantProperty("abi_dependency", "torch", "2.12"),
    VariantProperty("abi_dependency", "torch", "2.13"),
    VariantProperty("nvidia", "cuda_version_lower_bound", "12.8"),
)


def _variants(data: bytes) -> object:
    try:
        found = variants.parse_variants(data)
    except AuditError as error:
        return _reason(error)
    demands = (None, SpecifierSet(">=2.9"))
    for label, properties in found.items():
        if variants.parse_variants(_document({label: properties})) != {label: properties}:
            raise FuzzError("other properties than were written")
        known = [Version("2.4.0"), Version("2.12.0")]
        allowed = torch_requirement.admitted_by_any(variants.narrowed(demands, properties), known)
        if not allowed <= set(known):
            raise FuzzError("a property that allows what is not there")
        if len(variants.cuda_bounds(properties)) > 2:
            raise FuzzError("more than two bounds")
        if not {"\n", "\x1b"}.isdisjoint("".join(map(str, properties))):
            raise FuzzError("a property that is not plain text")
    return found


def _document(found: variants.Variants) -> bytes:
    """Write properties as ``variant.json`` has them."""
    labels: dict[str, dict[str, dict[str, list[str]]]] = {}
    for label, properties in found.items():
        of_label = labels.setdefault(label, {})
        for namespace, feature, value in properties:
            of_label.setdefault(namespace, {}).setdefault(feature, []).append(value)
    namespaces = sorted({item.namespace for one in found.values() for item in one})
    return json.dumps(
        {
            "$schema": "https://variants-schema.wheelnext.dev/peps/825/v0.1.1.json",
            "default-priorities": {"namespace": namespaces},
            "variants": labels,
        }
    ).encode()


def _variants_seeds() -> list[bytes]:
    return [
        _document({"cu128": _PROPERTIES[2:], "null": ()}),
        _document({"torch2.12": _PROPERTIES}),
        b'{"$schema": "v1.0.0.json", "default-priorities": {"namespace": []}, "variants": {}}',
    ]


def _claims(data: bytes) -> object:
    name, _, rest = data.partition(b"\0")
    wheel, _, inside = rest.partition(b"\0")
    filename = name.decode("utf-8", "replace")
    try:
        claims, defects = metadata.parse_claims(filename, wheel, inside, _PROPERTIES)
        torch = claims.torch_requirements
        specifiers = torch_requirement.torch_specifiers(claims)
        newest = [Version("2.4.0"), Version("2.10.0"), Version("2.15.0")]
        found = (
            defects,
            markers.applying_extras(claims, torch),
            torch_requirement.extras_with_torch(claims),
            torch_requirement.admitted_by_any(specifiers or (None,), newest),
            [torch_requirement.future_torch(item, newest[-1]) for item in specifiers],
            chosen_build(claims, specifiers),
            python_tags.admitted_interpreters(claims),
            python_tags.installing_interpreters(claims),
            python_tags.claims_abi3(claims),
            brought_cuda(claims),
        )
    except AuditError as error:
        return _reason(error)
    tags = sorted(tag.platform for tag in claims.tags | claims.wheel_tags)
    library = Library(Format.ELF, "x86_64")
    said = [
        (
            platform_tags.parse_platform(tag),
            platform_tags.accepted_by_index(tag),
            platform_tags.accepted_by_installers(tag),
        )
        for tag in tags
    ]
    return repr((found, said, platform_tags.catalog_key(library, tags)))


def _claims_seeds() -> list[bytes]:
    found = []
    for name, members in seeds.scenarios():
        (folder,) = {path.partition("/")[0] for path in members if path.endswith("/WHEEL")}
        parts = [name.encode(), members[f"{folder}/WHEEL"], members[f"{folder}/METADATA"]]
        found.append(b"\0".join(parts))
    marker = (
        b"Requires-Dist: torch>=2.8; python_full_version >= '3.11.1' and platform_machine in 'a'\n"
        b"Requires-Dist: torch[x]~=2.9; extra == 'x' or (os_name != \"nt\" and 'v' in extra)\n"
        b"Requires-Dist: nvidia-cuda-runtime-cu12==12.8; platform_release > '5'\n"
        b"Provides-Extra: x\nProvides-Extra: y\nRequires-Python: >=3.9,!=3.10.*\n"
    )
    tag = b"Wheel-Version: 1.0\nTag: cp39.cp310-abi3-manylinux2014_x86_64.macosx_11_0_universal2\n"
    found.append(b"\0".join([NAME.encode(), tag, METADATA.encode() + marker]))
    return list(dict.fromkeys(found))


def _config(data: bytes) -> object:
    path = _folder() / "pyproject.toml"
    path.write_bytes(data)
    try:
        found: object = read_config(path)
    except AuditError as error:
        found = _reason(error)
    with contextlib.suppress(AuditError, ValueError, RecursionError):
        parse_config(tomllib.loads(data.decode()))
    return repr(found).replace(str(path), "")


def _config_seeds() -> list[bytes]:
    table = (
        b'[tool.torch-abi-audit]\ncheck = "torch"\nstrict = true\ntorch = ">=2.9,<2.12"\n'
        b'min-torch = "2.9"\nmigrating = ["x/*"]\n[[tool.torch-abi-audit.ignore]]\n'
        b'rule = "unstable-torch-symbol"\nreason = "x"\nlibrary = "y/*.so"\nuntil-torch = "2.12"\n'
    )
    return [
        table,
        b'tool."torch-abi-audit" = {verify = false, ignore = [{rule="x", reason="y"}]}\n',
        b"[tool.torch_abi_audit]\n",
    ]


def _names(data: bytes) -> object:
    name = data.decode("utf-8", "backslashreplace")
    scopes, declaration = mangling.owner(name), mangling.demangle(name)
    if declaration == "":
        raise FuzzError("an empty declaration")
    if not name.startswith(mangling.owner_prefix(name).removesuffix("@")):
        raise FuzzError("a prefix that is none")
    library = Library(Format.ELF, "x86_64")
    interpreter = Interpreter(PythonVersion(3, 13))
    return (
        scopes,
        declaration,
        mangling.qualified_name(name),
        modules.module_name(name),
        modules.is_for_one_build(name),
        modules.is_for_abi3t(name),
        modules.is_module_name(name, library),
        modules.imports(interpreter, name, library),
    )


def _names_seeds() -> list[bytes]:
    return [
        b"_ZNK2at6Tensor4sizeEl",
        b"_ZTIN3c105ErrorE",
        b"_ZN5torch8autograd12VariableImplC2ERKSt6vectorIN2at6TensorESaIS3_EE",
        b"_ZTv0_n24_N2at4cuda4callIJRKNS_6TensorEEEvDpT_",
        b"_ZZN3c104warnEvE3foo",
        b"?size@Tensor@at@@QEBA_JXZ",
        b"??0Error@c10@@QEAA@XZ",
        b"??_R0?AVError@c10@@@8",
        b"?f@?$C@VTensor@at@@V12@@x@@YAXAEBV?$vector@HV?$allocator@H@std@@@std@@@Z",
        b"x/_C.cpython-313t-x86_64-linux-gnu.so",
        b"x/_C.cp313-win_amd64.pyd",
        b"x/_C.abi3t.so",
    ]


_OPTIONS: tuple[tuple[str, ...], ...] = (
    *(("--format", name) for name in ReportFormat),
    *(("--format", name, "-v", "--verify") for name in ReportFormat),
    ("--strict",),
    ("-q",),
    ("--torch", ">=2.9"),
    ("--check", "both", "--json"),
    ("--check", "torch", "--format", "github"),
    ("--check", "abi3", "--require", "torch"),
    ("--strict-ignores=all", "--migrating", "*:symbol=at::*", "--format", "concise"),
    ("--require-stable", "-v"),
    ("--min-torch", "2.10", "--json"),
    ("--ignore", "unstable-torch-symbol:x/*", "--json"),
    ("--migrating", "*", "--format", "markdown"),
)


def run_command(data: bytes, options: Sequence[str]) -> tuple[int, str, str]:
    """Audit a wheel; return the exit code, and what went to stdout and stderr."""
    path = _wheel_file(data)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--no-config", *options, str(path)])
    except SystemExit as end:
        raise FuzzError(f"ended with {end.code}") from end
    finally:
        path.unlink()
    folder = str(path.parent)
    return code, out.getvalue().replace(folder, "F"), err.getvalue().replace(folder, "F")


def _command(data: bytes) -> object:
    options = _OPTIONS[zlib.crc32(data) % len(_OPTIONS)]
    code, out, err = run_command(data, options)
    if code not in (0, 1, 2):
        raise FuzzError(f"the exit code {code}")
    for said in (out, err):
        if "Traceback (most recent" in said or "internal error" in said:
            raise FuzzError(said)
    name = "json" if "--json" in options else "text"
    if "--format" in options:
        name = options[options.index("--format") + 1]
    check_output(ReportFormat(name), out, validate=not zlib.crc32(data) % 7)
    check_output(ReportFormat.TEXT, err)
    return code, out, err


def _baseline(data: bytes) -> object:
    path = _folder() / "baseline.json"
    path.write_bytes(data)
    try:
        baseline = read_baseline(path)
    except AuditError as error:
        return _reason(error)
    # Whatever it says, it is compared with, and takes nothing from a finding that it does not add.
    for wheel in _compared():
        report = audit(wheel, options=Options(baseline=baseline, fail_on_new=True)).targets[0]
        found = {(f.rule, *map(str, f.evidence)) for f in report.findings}
        if report.error is not None:
            raise FuzzError(report.error)
        if not baseline.targets and report.ignored:
            raise FuzzError("ignored by a baseline of nothing")
    return repr((baseline, sorted(found)))


@functools.cache
def _compared() -> tuple[Path, ...]:
    return (TEST_WHEELS / "mixed" / "mixed-1.0-py39-none-manylinux_2_28_x86_64.whl",)


def _baseline_seeds() -> list[bytes]:
    report = audit(*_compared()).to_dict()
    (target,) = report["targets"]
    for library in target["libraries"]:
        if library["torch"] is not None:
            library["torch"]["releases"] = {}
    small = {"targets": [{**target, "torch": {}}]}
    return [json.dumps(small).encode(), b'{"targets": []}', b"[]"]


class _Page:
    """Answers every request with one page."""

    def __init__(self, kind: str, body: bytes) -> None:
        self._kind = kind
        self._body = body

    def get(self, url: str, _accept: str, *, most: int) -> Answer:
        if len(self._body) > most:
            raise AuditError("too large")
        return Answer(url, self._body, self._kind)


def _page(data: bytes) -> object:
    """Read the page of a project, as JSON or HTML, and choose among its files."""
    kind = "application/vnd.pypi.simple.v1+json" if data[:1] == b"{" else "text/html"
    session = cast("Session", _Page(kind, data))
    try:
        found = project_files(session, Sources(("https://index.invalid/simple",), ()), "x")
        wanted = Wanted(("linux_x86_64",), parse_python("3.12"), latest=2)
        chosen = select(found.files, Requirement("x"), wanted)
    except AuditError as error:
        return _reason(error)
    for file in found.files:
        if "/" in file.filename or not file.filename.isprintable():
            raise FuzzError("a name that is no filename")
        if not file.url.startswith(("http://", "https://")):
            raise FuzzError("a file that is not on a server")
    return found, chosen


def _page_seeds() -> list[bytes]:
    wheel = b"x-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    return [
        b'<!DOCTYPE html><base href="https://files.invalid/"><a href="' + wheel
        + b"#sha256=" + b"0" * 64 + b'" data-requires-python="&gt;=3.9" data-yanked="">x</a>'
        b'<a href="../x-1.0.tar.gz" data-core-metadata="sha256=1">x-1.0.tar.gz</a>',
        b'{"meta": {"api-version": "1.1"}, "name": "x", "files": [{"filename": "'
        + wheel + b'", "url": "../' + wheel + b'", "hashes": {"sha256": "' + b"0" * 64 + b'"},'
        b' "size": 12, "yanked": false, "upload-time": "2026-01-02T03:04:05Z",'
        b' "requires-python": ">=3.9", "core-metadata": true}]}',
    ]  # fmt: skip


def _kept(data: bytes) -> object:
    """Read what a cache holds: facts, or a record."""
    try:
        if data[:1] == b"{":
            record = WheelRecord.from_json(data)
            if WheelRecord.from_json(record.to_json()) != record:
                raise FuzzError("a record that does not come back")
            return record
        contents = decode_facts(zlib.compress(data[1:]))
        if decode_facts(encode_facts(contents)) != contents:
            raise FuzzError("facts that do not come back")
    except ValueError as error:
        return type(error).__name__
    return contents


def _kept_seeds() -> list[bytes]:
    path = next(iter(sorted((TEST_WHEELS / "stable-2.11").glob("*.whl"))))
    contents = read_wheel(path)
    facts = b"z" + zlib.decompress(encode_facts(contents))
    report = audit(path).targets[0]
    return [facts, record_of(report, filename=path.name).to_json().encode()]


def _text(words: Sequence[bytes]) -> Mutator:
    def mutate(rng: random.Random, data: bytes) -> bytes:
        return mutators.change_text(rng, data, words)

    return mutate


TARGETS: dict[str, Target] = {
    "elf": Target(_elf, seeds.elf_seeds, mutators.change_library, 20_000, share=6),
    "macho": Target(_macho, seeds.macho_seeds, mutators.change_library, 70_000, share=6),
    "dyld": Target(_dyld, _dyld_seeds, mutators.change_bytes, 1024, share=2),
    "pe": Target(_pe, seeds.pe_seeds, mutators.change_library, 8192, share=4),
    "wheel": Target(_wheel, seeds.wheel_seeds, mutators.change_wheel, 16_000, share=3),
    "repair": Target(_repair, seeds.wheel_seeds, mutators.change_wheel, 16_000, share=2),
    "record": Target(_record, _record_seeds, _text(mutators.METADATA_WORDS), share=2),
    "variants": Target(_variants, _variants_seeds, _text(mutators.VARIANT_WORDS), 2048),
    "claims": Target(_claims, _claims_seeds, _text(mutators.METADATA_WORDS), share=3),
    "config": Target(_config, _config_seeds, _text(mutators.CONFIG_WORDS), 2048),
    "baseline": Target(_baseline, _baseline_seeds, _text(mutators.CONFIG_WORDS), 8192),
    "page": Target(_page, _page_seeds, _text(mutators.METADATA_WORDS), 4096, share=2),
    "kept": Target(_kept, _kept_seeds, _text(mutators.METADATA_WORDS), 65536, share=2),
    "names": Target(_names, _names_seeds, _text(mutators.NAME_WORDS), 1024, share=2),
    "command": Target(_command, seeds.wheel_seeds, mutators.change_wheel, 16_000, share=8),
    "report": Target(check_report, report_seeds, _text(mutators.HOSTILE_WORDS), 1024, share=3),
    "differences": Target(
        _differences, _all_libraries, mutators.change_library, 70_000, in_all=False
    ),
}


def stored(name: str) -> Iterator[Path]:
    """Yield the inputs of a target that are kept: what was found once, and is mended."""
    folder = Path(__file__).parent / "corpus" / name
    if folder.is_dir():
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            yield Path(entry.path)
