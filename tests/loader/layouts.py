"""What the audit says of layouts, against what calls return: extensions built and run. Linux.

    python -m tests.loader.layouts
    python -m pytest -m loader

Compiles the small extensions of `sources/` with `g++` and the headers of several releases of
torch, and calls each with torch 2.13.0 for CPUs: where the audit says that nothing changed, the
result must be right, and where something did, wrong. Prints a Markdown table; exits with 1
where both disagree, unless the case says that they do.

Everything is kept in the folder that `TORCH_ABI_AUDIT_LOADER` names, or in `.cache/loader`: an
environment with torch, made with this Python, and the headers, which are read from torch's
wheels where pip finds them. Pip must find `torch==2.13.0+cpu` too, which is on PyTorch's own
index for CPUs: name it with `PIP_EXTRA_INDEX_URL`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from tests.builders import write_wheel
from tests.environments import CACHE, environment, site_packages
from torch_abi_audit import audit
from torch_abi_audit.abi.built_with import built_with
from torch_abi_audit.index.ranges import open_published
from torch_abi_audit.index.sources import find_sources
from torch_abi_audit.model import BuiltWith, Cell, LayoutStatus, ReleaseStatus, TargetReport

SOURCES = Path(__file__).with_name("sources")
INSTALLED = Version("2.13.0")
TORCH = f"{INSTALLED}+cpu"
# Of the other side of a boundary, of the release itself, and of its island.
HEADERS = ("2.12.1", "2.13.0", "2.14.1")
WHEEL = "x-1.0-py3-none-manylinux_2_28_x86_64.whl"
METADATA = "Metadata-Version: 2.4\nName: x\nVersion: 1.0\nRequires-Dist: torch=={}\n"

_REFUSED = re.compile(r"undefined symbol: \S+|\S+: cannot open shared object file")
OPERATOR = "torch.ops.load_library(path); result = torch.ops.{}.call({})"
FUNCTION = "import ctypes; call = ctypes.CDLL(path).call; call.{}; result = call({})"


@dataclass(frozen=True)
class Case:
    """An extension, and how it is called.

    Attributes:
        name: That of its source.
        call: The Python code that leaves what it returned in `result`.
        expected: What it must return.
        otherwise: By the release of the headers: why the audit and the call disagree.
    """

    name: str
    call: str
    expected: object
    otherwise: Mapping[str, str] = field(default_factory=dict)


CASES = (
    Case(
        "reads",
        OPERATOR.format("layouts_reads", "torch.ones(3, 4)[1:]"),
        [2, 8, 2, 4, 6],
    ),
    Case("makes", FUNCTION.format("restype = ctypes.c_int64", ""), 12),
    Case("registers", OPERATOR.format("layouts_registers", "torch.ones(1)"), 7),
    Case(
        "defines",
        OPERATOR.format("layouts_defines", "7"),
        8,
        {"2.12.1": "an import does not tell whether a dispatch key is given or none"},
    ),
    Case("negates", FUNCTION.format("restype = ctypes.c_int64", "ctypes.c_int64(7)"), -7),
    Case("fills", OPERATOR.format("layouts_fills", "torch.ones(3, 4)"), 12),
    Case(
        "excludes",
        FUNCTION.format("restype = ctypes.c_void_p", "")
        + "; result = torch._C._dispatch_tls_is_dispatch_key_excluded('ADInplaceOrView')",
        expected=True,
    ),
    Case(
        "iterates",
        OPERATOR.format("layouts_iterates", "torch.empty(3, 4), torch.ones(3, 4)"),
        [1, 2, 1, 12],
    ),
    Case("casts", OPERATOR.format("layouts_casts", "torch.tensor(5)"), expected=True),
    Case(
        "keeps",
        FUNCTION.format("restype = ctypes.c_int", ""),
        1,
        {"2.12.1": "what moved in it needs no destructor"},
    ),
    Case(
        "differentiates",
        "x = torch.ones(2, requires_grad=True); "
        + OPERATOR.format("layouts_differentiates", "x")
        + "; result.sum().backward(); result = [result.tolist(), x.grad.tolist()]",
        [[3.0, 3.0], [3.0, 3.0]],
    ),
    Case(
        "names",
        FUNCTION.format("restype = ctypes.c_char_p", "") + ".decode()",
        "aten::conv2d",
        dict.fromkeys(("2.12.1", "2.14.1"), "no import tells that a name's number is inlined"),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What became of an extension.

    Attributes:
        case: The extension.
        headers: The release whose headers it was built with.
        built: What its assertions say of that.
        cell: What the audit says of it with the torch that is installed.
        loads: Whether the loader takes it.
        returned: What the call returned, or how it ended.
        right: Whether that is what it should return.
    """

    case: Case
    headers: str
    built: BuiltWith | None
    cell: Cell
    loads: bool
    returned: str
    right: bool

    @property
    def says(self) -> str:
        """What the audit says, in a word."""
        return str(self.cell.layout or self.cell.status)

    @property
    def agrees(self) -> bool:
        """Whether what the audit says is what happens."""
        if self.cell.status is ReleaseStatus.BREAKS:
            return not self.loads
        wanted = LayoutStatus.UNCHANGED if self.right else LayoutStatus.CHANGED
        return self.loads and self.cell.layout is wanted

    @property
    def expected(self) -> bool:
        """Whether they agree, and where they are known not to, they do not."""
        return self.agrees is (self.headers not in self.case.otherwise)


@functools.cache
def torch_folder() -> Path:
    """Return where torch is installed."""
    return site_packages(TORCH) / "torch"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@functools.cache
def include(release: str) -> Path:
    """Return the folder with the headers of a release."""
    if release == str(INSTALLED):
        return torch_folder() / "include"
    folder = CACHE / f"include-{release}"
    if not folder.exists():
        url = found_by_pip(f"torch=={release}")
        part = folder.with_suffix(".part")
        with open_published(url, find_sources()) as archive:
            names = [n for n in archive.namelist() if n.startswith("torch/include/")]
            archive.extractall(part, names)
        (part / "torch" / "include").rename(folder)
    return folder


def found_by_pip(requirement: str) -> str:
    """Return where pip would take a wheel from."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps"]
    command += ["--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    found: str = json.loads(output(*command, requirement))["install"][0]["download_info"]["url"]
    return found


def build(name: str, release: str) -> Path:
    """Compile a source with the headers of a release, once."""
    source = SOURCES / f"{name}.cpp"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    library = CACHE / "built" / f"{name}-{release}-{digest}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        part = library.with_suffix(".part")
        folder = include(release)
        command = ["g++", "-std=c++20", "-O2", "-shared", "-fPIC", "-w", "-isystem", str(folder)]
        command += ["-isystem", str(folder / "torch/csrc/api/include"), str(source)]
        command += [f"-L{torch_folder() / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
        subprocess.run([*command, "-o", str(part)], check=True)
        part.rename(library)
    return library


def run(code: str, library: Path, *beside: Path) -> tuple[bool, str]:
    """Run code that loads a library, in a process of its own.

    Returns:
        Whether the loader takes it, and what was returned or how it ended.
    """
    script = (
        "import json, sys, torch\npath = sys.argv[1]\n"
        f"{code}\nprint('returned', json.dumps(result), flush=True)\nimport os\nos._exit(0)\n"
    )
    variables = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, beside))}
    result = subprocess.run(
        [str(environment(TORCH)), "-c", script, str(library)],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    if result.stdout.startswith("returned "):
        return True, result.stdout.removeprefix("returned ").strip()
    if result.returncode < 0:
        return True, f"signal {-result.returncode}"
    errors = [line for line in result.stderr.splitlines() if line[:1].isalpha()]
    error = next((line for line in errors if "Error" in line), "".join(errors[-1:]))
    refused = _REFUSED.search(error)
    return refused is None, refused[0] if refused else error


def audited(library: Path, release: str) -> TargetReport:
    """Return the report of a wheel with a library, which requires the release it is built with."""
    with tempfile.TemporaryDirectory() as folder:
        metadata = METADATA.format(release)
        files = {"x/_C.so": library.read_bytes()}
        wheel = write_wheel(Path(folder), files, name=WHEEL, metadata=metadata)
        return audit(wheel).targets[0]


def outcome(case: Case, release: str) -> Outcome:
    """Build, audit and call an extension."""
    library = build(case.name, release)
    report = audited(library, release)
    loads, returned = run(case.call, library)
    return Outcome(
        case,
        release,
        built_with(report.libraries, report.matrix, ())["x/_C.so"],
        report.matrix.row[INSTALLED],
        loads,
        returned,
        returned == json.dumps(case.expected),
    )


def outcomes() -> Iterator[Outcome]:
    for case in CASES:
        for release in HEADERS:
            yield outcome(case, release)


def main() -> int:
    failed = 0
    print(f"| extension | headers | layouts with torch {INSTALLED} | returns | |")
    print("|---|---|---|---|---|")
    for item in outcomes():
        changes = ", ".join(change.name for change in item.cell.changes)
        said = f"{item.says}: {changes}" if changes else item.says
        verdict = "agree" if item.agrees else item.case.otherwise.get(item.headers, "DISAGREE")
        result = "right" if item.right else f"wrong: `{item.returned[:60]}`"
        print(f"| {item.case.name} | {item.headers} | {said} | {result} | {verdict} |", flush=True)
        failed += not item.expected
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
