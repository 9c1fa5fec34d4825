"""Whatever markers metadata has: what they come to in a real environment is among the demands."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.builders import claims
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.torch_requirement import extras_with_torch, torch_specifiers

# Platform tags, with what machines say of themselves that take them.
PLATFORMS = {
    "manylinux_2_28_x86_64": [("posix", "linux", "Linux", "x86_64")],
    "manylinux_2_28_aarch64": [("posix", "linux", "Linux", "aarch64")],
    "manylinux_2_31_armv7l": [
        ("posix", "linux", "Linux", "armv7l"),
        ("posix", "linux", "Linux", "armv8l"),
    ],
    "macosx_11_0_arm64": [("posix", "darwin", "Darwin", "arm64")],
    "macosx_11_0_universal2": [
        ("posix", "darwin", "Darwin", "arm64"),
        ("posix", "darwin", "Darwin", "x86_64"),
    ],
    "win_amd64": [("nt", "win32", "Windows", "AMD64")],
    "win_arm64": [("nt", "win32", "Windows", "ARM64")],
    "any": [
        ("posix", "linux", "Linux", "riscv64"),
        ("posix", "darwin", "Darwin", "arm64"),
        ("nt", "win32", "Windows", "AMD64"),
        ("posix", "freebsd14", "FreeBSD", "amd64"),
    ],
}
# Python tags, with their ABI tag and the Pythons that take them.
CPYTHON, PYPY = ("cpython", "CPython"), ("pypy", "PyPy")
INTERPRETERS = {
    "cp311-cp311": [(CPYTHON, 11)],
    "cp310-abi3": [(CPYTHON, minor) for minor in range(10, 16)],
    "py3-none": [(python, minor) for python in (CPYTHON, PYPY) for minor in range(9, 15)],
    "pp310-pypy310_pp73": [(PYPY, 10)],
    "cp311.pp310-none": [(CPYTHON, 11), (PYPY, 10)],
}
REQUIRES_PYTHON = st.sampled_from(["", ">=3.9", ">=3.11.2", "<3.12", ">=3.10,!=3.11.3", "<3.11.7"])
PATCHES = st.sampled_from(["0a2", "0b1", "0rc2", *map(str, range(14))])

VERSIONS = st.sampled_from(
    ["3.10", "3.11", "3.11.0", "3.11.0rc1", "3.11.1", "3.11.3", "3.12", "3.12.0b1", "7.3", "3"]
)
KERNELS = st.sampled_from(["5", "5.15", "6.1.0-generic", "22.1.0", "10", "generic", "5.4 5.15", ""])
LITERALS = {
    "os_name": st.sampled_from(["posix", "nt"]),
    "sys_platform": st.sampled_from(["linux", "darwin", "win32", "linux darwin", "freebsd14"]),
    "platform_system": st.sampled_from(["Linux", "Darwin", "Windows", "in"]),
    "platform_machine": st.sampled_from(
        ["x86_64", "arm64", "aarch64", "AMD64", "armv7l", "arm", "x86_64 AMD64"]
    ),
    "platform_python_implementation": st.sampled_from(["CPython", "PyPy"]),
    "implementation_name": st.sampled_from(["cpython", "pypy"]),
    "implementation_version": VERSIONS,
    "python_version": VERSIONS | st.just("3.10 3.11"),
    "python_full_version": VERSIONS | st.sampled_from(["3.11.1, 3.11.2", "rc", "3.1"]),
    "platform_release": KERNELS,
    "platform_version": KERNELS | st.sampled_from(["Ubuntu", "SMP", "10.0.22000"]),
    "extra": st.sampled_from(["gpu", "Gpu.X", "docs"]),
}
EXTRAS = ("gpu", "gpu_x", "docs")


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    variable = draw(st.sampled_from(list(LITERALS)))
    literal = draw(LITERALS[variable])
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]))
    if draw(st.booleans()):
        return f'"{literal}" {operator} {variable}'
    return f'{variable} {operator} "{literal}"'


MARKERS = st.recursive(
    comparisons(),
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
        lambda parts: "({} {} {})".format(*parts)
    ),
    max_leaves=3,
)


@st.composite
def environments(draw: st.DrawFn, interpreter: str, platform: str) -> dict[str, str]:
    """An environment that installs a wheel with the tags."""
    (name, shown), minor = draw(st.sampled_from(INTERPRETERS[interpreter]))
    os_name, sys_platform, system, machine = draw(st.sampled_from(PLATFORMS[platform]))
    version = f"3.{minor}.{draw(PATCHES)}"
    implementation = version if name == "cpython" else draw(st.sampled_from(["7.3.11", "3.11.1"]))
    kernel = KERNELS | st.sampled_from(
        ["5.15.0-91-generic", "5.10", "6.1.21+", "4.19", "7", "20H2"]
    )
    return {
        "implementation_name": name,
        "implementation_version": implementation,
        "os_name": os_name,
        "platform_machine": machine,
        "platform_python_implementation": shown,
        "platform_release": draw(kernel),
        "platform_system": system,
        "platform_version": draw(
            kernel | st.sampled_from(["#101~22.04.1-Ubuntu SMP", "#1 SMP", "10.0.22631"])
        ),
        "python_full_version": version,
        "python_version": f"3.{minor}",
        "sys_platform": sys_platform,
        "extra": "",
    }


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


@settings(max_examples=300)
@given(st.data())
def test_a_real_environments_demand_is_among_the_demands(data: st.DataObject) -> None:
    interpreter = data.draw(st.sampled_from(list(INTERPRETERS)))
    platform = data.draw(st.sampled_from(list(PLATFORMS)))
    python = data.draw(REQUIRES_PYTHON)
    markers = data.draw(st.lists(MARKERS, min_size=1, max_size=3))
    promised = claims(
        f"{interpreter}-{platform}",
        torch=tuple(f"torch>=2.{n}; {marker}" for n, marker in enumerate(markers)),
        cuda=tuple(f"nvidia-curand-cu12; {marker}" for marker in markers[:1]),
        python=python,
        extras=EXTRAS,
    )
    demands = torch_specifiers(promised)
    asking = extras_with_torch(promised)
    brought = brought_cuda(promised)
    for _ in range(8):
        environment = data.draw(environments(interpreter, platform))
        if not SpecifierSet(python).contains(environment["python_full_version"], prereleases=True):
            continue
        applying = [r for r in promised.torch_requirements if applies(r, environment)]
        combined = SpecifierSet(",".join(str(r.specifier) for r in applying))
        assert (combined if applying else None) in demands
        if not all(applies(item, environment) for item in promised.cuda_requirements):
            assert not brought
        for extra in EXTRAS:
            with_it = [
                item
                for item in promised.torch_requirements
                if applies(item, environment | {"extra": extra})
            ]
            assert extra in asking or not set(with_it) - set(applying)
