"""What programs do with the API of 0.3.0: the checks of two projects, written anew.

`check_package` is what vLLM's CI checks, `check_libraries` what zentorch's build does. To run the
first on a package that is installed:

    python -m tests.end_to_end.test_clients PACKAGE [ALLOWED ...]
"""

from __future__ import annotations

import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.record_030 import WHEELS, unpacked
from torch_abi_audit import inspect_extension, inspect_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch_abi_audit.report import ExtensionReport, PackageReport

pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")

GEMM = "third_party/gemm/_C.cpython-312-x86_64-linux-gnu.so"
UNSTABLE = ("_C.so", "attention/_fa2_C.abi3.so", "attention/_fa3_C.abi3.so", GEMM)


def check_package(package: str, allowed: Sequence[str]) -> int:
    """Check that all libraries of a package are on the stable ABI, but for those allowed.

    Args:
        package: Its import name.
        allowed: Patterns of libraries, relative to the package's folder, that may be unstable.
            One that matches a library which is not is stale, and has to go.
    """
    report = inspect_package(package)
    if report.error is not None:
        print(f"{package}: {report.error}", file=sys.stderr)  # noqa: T201
        return 2
    unstable = {path: not item.torch.stable and item.torch.uses_torch for path, item in of(report)}
    unexpected = [
        path
        for path, is_unstable in unstable.items()
        if is_unstable and not any(fnmatchcase(path, pattern) for pattern in allowed)
    ]
    stale = [
        pattern
        for pattern in allowed
        if any(fnmatchcase(path, pattern) and not unstable[path] for path in unstable)
    ]
    print(f"unexpected: {' '.join(unexpected)}; stale: {' '.join(stale)}")  # noqa: T201
    return 1 if unexpected or stale else 0


def of(report: PackageReport) -> list[tuple[str, ExtensionReport]]:
    """Return the libraries of a package with their paths in it."""
    libraries = (*report.extensions, *report.bundled_libs)
    found = [(item.path.relative_to(report.root).as_posix(), item) for item in libraries]
    return sorted(found, key=lambda item: item[0])


def check_libraries(paths: Sequence[str], allowed: tuple[str, ...]) -> int:
    """Check libraries that were just linked: no unstable symbols, but for those allowed.

    Args:
        paths: The libraries.
        allowed: Prefixes of declarations that may be used. One that matches none is stale.
    """
    code = 0
    for path in paths:
        report = inspect_extension(path)
        if report.error is not None:
            print(f"{path}: {report.error}", file=sys.stderr)  # noqa: T201
            code = 1
        elif not report.torch.uses_torch:
            print(f"warning: {path} does not use torch", file=sys.stderr)  # noqa: T201
        else:
            symbols = report.torch.unstable_symbols
            unexpected = [name for name in symbols if not name.startswith(allowed)]
            stale = [item for item in allowed if not any(s.startswith(item) for s in symbols)]
            print(f"unexpected: {' '.join(unexpected)}; stale: {' '.join(stale)}")  # noqa: T201
            if unexpected or stale:
                code = 1
    return code


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install `stable_2_11`, all of it stable, and `mixed` with four unstable libraries of five."""
    site = tmp_path / "site"
    for scenario in ("stable-2.11", "mixed", "no-torch"):
        (wheel,) = (WHEELS / scenario).glob("*.whl")
        shutil.copytree(unpacked(wheel, tmp_path), site, dirs_exist_ok=True)
    for path in UNSTABLE[1:]:
        (site / "mixed" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site / "mixed" / "_C.so", site / "mixed" / path)
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.parametrize(
    ("package", "allowed", "code", "said"),
    [
        ("stable_2_11", (), 0, "unexpected: ; stale: \n"),
        ("stable_2_11", ("_C*.so",), 1, "unexpected: ; stale: _C*.so\n"),
        ("mixed", (), 1, f"unexpected: {' '.join(UNSTABLE)}; stale: \n"),
        ("mixed", ("_C.so", "attention/_fa2_C*.so"), 1, f"{UNSTABLE[2]} {GEMM}; stale: \n"),
        ("mixed", UNSTABLE, 0, "unexpected: ; stale: \n"),
        ("mixed", ("_C.so", "attention/*.so", "third_party/gemm/_C*.so"), 0, "; stale: \n"),
        ("mixed", (*UNSTABLE, "_C_stable.so"), 1, "unexpected: ; stale: _C_stable.so\n"),
        ("mixed", (*UNSTABLE, "_no_such_C*.so"), 0, "unexpected: ; stale: \n"),
        ("mixed", ("*",), 1, "unexpected: ; stale: *\n"),
        ("mixed", (*UNSTABLE, "_C*.so"), 1, "unexpected: ; stale: _C*.so\n"),
        ("mixed", tuple(f"mixed/{path}" for path in UNSTABLE), 1, " ".join(UNSTABLE)),
        ("no_torch", (), 0, "unexpected: ; stale: \n"),
        ("no_such_package", (), 2, ""),
    ],
)
def test_the_check_of_a_package(
    package: str,
    allowed: tuple[str, ...],
    code: int,
    said: str,
    installed: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_package(package, allowed) == code
    output = capsys.readouterr()
    assert said in output.out
    assert bool(output.err) == (code == 2)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_the_check_of_a_package_does_not_pass_what_cannot_be_read(
    content: bytes | None, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = installed / "stable_2_11" / "_C.so"
    library.write_bytes(library.read_bytes()[:700] if content is None else content)
    for allowed in ((), ("*",)):
        assert check_package("stable_2_11", allowed) == 2
        assert "stable_2_11: _C.so: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "allowed", "code", "said"),
    [
        ("stable_2_11/_C.so", (), 0, "unexpected: ; stale: \n"),
        ("stable_2_11/_C.so", ("c10::MessageLogger::",), 1, "stale: c10::MessageLogger::\n"),
        ("mixed/_C.so", ("at::", "c10::warn(", "c10::SymInt::"), 0, "unexpected: ; stale: \n"),
        ("mixed/_C.so", ("c10::",), 1, "unexpected: at::get_num_threads(); stale: \n"),
        (
            "mixed/_C.so",
            ("at::", "c10::", "c10::Error::"),
            1,
            "unexpected: ; stale: c10::Error::\n",
        ),
        ("mixed/_C.so", (), 1, "c10::SymInt::maybe_as_int_slow_path() const; stale: \n"),
        ("no_torch/lib.so", ("c10::",), 0, "warning: {} does not use torch\n"),
        ("mixed/missing.so", ("c10::",), 1, "{}: no such file\n"),
        ("mixed/__init__.py", ("c10::",), 1, "{}: not a library\n"),
    ],
)
def test_the_check_of_a_build(
    path: str,
    allowed: tuple[str, ...],
    code: int,
    said: str,
    installed: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (installed / "mixed" / "__init__.py").touch()
    library = str(installed / path)
    assert check_libraries([library], allowed) == code
    output = capsys.readouterr()
    assert said.format(library) in output.out + output.err


def test_the_check_of_a_build_does_not_pass_what_cannot_be_read(installed: Path) -> None:
    library = installed / "stable_2_11" / "_C.so"
    assert check_libraries([str(library)], ()) == 0
    for content in (library.read_bytes()[:700], b"text", b""):
        library.write_bytes(content)
        assert check_libraries([str(library)], ()) == 1


if __name__ == "__main__":
    sys.exit(check_package(sys.argv[1], sys.argv[2:]))
