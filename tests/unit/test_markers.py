from __future__ import annotations

import re
import tracemalloc
from string import ascii_letters

import pytest
from packaging.requirements import Requirement

from tests.builders import claims
from torch_abi_audit.claims.cuda_packages import brought_cuda
from torch_abi_audit.claims.markers import Work
from torch_abi_audit.claims.torch_requirement import extras_with_torch, torch_specifiers
from torch_abi_audit.errors import AuditError

LINUX = "manylinux_2_28_x86_64"
CP311, PY3, ABI3 = f"cp311-cp311-{LINUX}", f"py3-none-{LINUX}", f"cp310-abi3-{LINUX}"


def demands(*markers: str, tag: str = CP311, python: str = "") -> list[str | None]:
    """The demands of requirements of torch 2.0, 2.1 and so on, with these markers."""
    torch = tuple(f"torch>=2.{number}; {marker}" for number, marker in enumerate(markers))
    found = torch_specifiers(claims(tag, torch=torch, python=python))
    return [None if demand is None else str(demand) for demand in found]


SOMETIMES: list[str | None] = [None, ">=2.0"]


@pytest.mark.parametrize(
    ("tag", "marker"),
    [
        # Patch releases, which only some have.
        (CP311, 'python_full_version >= "3.11.1"'),
        (CP311, 'python_full_version < "3.11.1"'),
        (CP311, 'python_full_version <= "3.11.0"'),
        (CP311, 'python_full_version > "3.11.4"'),
        (CP311, 'python_full_version < "3.11.39"'),
        (CP311, 'python_full_version != "3.11.4"'),
        (CP311, 'python_full_version == "3.11.4"'),
        (CP311, '"3.11.4" == python_full_version'),
        (CP311, '"3.11.4" < python_full_version'),
        (CP311, 'python_full_version === "3.11.4"'),
        (CP311, 'python_full_version ~= "3.11.4"'),
        (CP311, 'python_full_version == "3.11.4.*"'),
        (CP311, 'python_full_version in "3.11.3, 3.11.4"'),
        (CP311, 'python_full_version not in "3.11.3, 3.11.4"'),
        (CP311, '"3.11.2" not in python_full_version'),
        (CP311, 'python_full_version in "3.11.3, 3.11.4" and python_full_version > "3.11.0"'),
        (CP311, 'python_full_version === "3.11.4+local"'),  # a build between two releases
        (CP311, '"+" not in python_full_version'),
        (CP311, 'python_full_version > "3.11.1" and python_full_version < "3.11.3"'),
        (CP311, 'python_version == "3.11" and python_full_version != "3.11.1"'),
        (CP311, 'implementation_version >= "3.11.1"'),
        (ABI3, 'python_full_version != "3.13.4"'),
        # Pre-releases, whose version is below that of the release.
        (CP311, 'python_full_version >= "3.11"'),
        (CP311, 'python_full_version >= "3.11.0b2"'),
        (CP311, '"rc" not in python_full_version'),
        (CP311, 'python_full_version == "3.11.0a0"'),
        (CP311, 'python_full_version < "3.11.0a1"'),
        (CP311, 'python_full_version > "3.11.0a0"'),
        # Other implementations.
        (PY3, 'implementation_name == "cpython"'),
        (PY3, 'platform_python_implementation == "CPython"'),
        (PY3, 'platform_python_implementation != "PyPy"'),
        (PY3, 'platform_python_implementation in "CPython PyPy"'),
        (PY3, 'implementation_name == "pypy" and implementation_version < "7.3.12"'),
        (f"pp310-pypy310_pp73-{LINUX}", 'implementation_version >= "7.3.12"'),
        (f"cp311.pp310-none-{LINUX}", 'python_version == "3.11" or implementation_name == "x"'),
        # What any machine may say of its system.
        (CP311, 'platform_release >= "5.15"'),
        (CP311, 'platform_release < "5.15"'),
        (CP311, 'platform_release != "5.15"'),
        (CP311, 'platform_release > "5" and platform_release < "6"'),
        (CP311, 'platform_release > "5.15" and platform_release != "5.15.*"'),
        (CP311, 'platform_release < "6" and platform_release != "0.*"'),
        (CP311, '"generic" in platform_release'),
        (CP311, '"generic" not in platform_release'),
        (CP311, 'platform_release in "5.14 5.15"'),
        (CP311, '"generic" in platform_release and platform_release >= "5"'),
        (CP311, '"SMP" in platform_version and "Ubuntu" in platform_version'),
        (CP311, '"SMP" in platform_version and "Ubuntu" not in platform_version'),
        (CP311, 'platform_version == "#1 SMP"'),
        (CP311, '"#1" == platform_version'),
        (CP311, 'platform_version != ""'),
        (CP311, 'platform_version >= "10.0.22000"'),
        (CP311, 'platform_version < "10.0.22000"'),
        # Machines and systems.
        ("cp311-cp311-manylinux_2_31_armv7l", 'platform_machine == "armv7l"'),
        ("cp311-cp311-manylinux_2_28_i686", 'platform_machine == "i686"'),
        ("cp311-cp311-win32", 'platform_machine == "x86"'),
        ("cp311-cp311-macosx_10_9_intel", 'platform_machine == "x86_64"'),
        ("cp313-cp313-ios_13_0_arm64_iphoneos", 'platform_system == "iOS"'),
        ("py3-none-any", 'sys_platform != "freebsd14"'),
        ("py3-none-any", 'platform_machine in "x86_64 arm64 AMD64"'),
        ("py3-none-any", 'sys_platform == "linux" or sys_platform in "darwin win32"'),
        # No extra is in every text, to some installers.
        (CP311, 'extra in "gpu cuda"'),
    ],
)
def test_a_marker_that_holds_on_some_machines(tag: str, marker: str) -> None:
    assert demands(marker, tag=tag) == SOMETIMES


@pytest.mark.parametrize(
    ("tag", "marker"),
    [
        (CP311, 'python_full_version >= "3.11.0a0"'),
        (CP311, 'python_version >= "3.11"'),
        (CP311, 'python_full_version < "3.12"'),
        (CP311, 'python_full_version >= "3.11.1" or python_full_version <= "3.11.1"'),
        (CP311, '"3.11" in python_full_version'),
        (CP311, '"3.12" > python_version'),
        (CP311, 'extra != "gpu"'),
        (CP311, 'implementation_name == "cpython"'),
        (PY3, 'implementation_version >= "0" or implementation_name != "cpython"'),
        (CP311, 'platform_version == "x" or platform_version != "x"'),
        (CP311, '"x" in platform_release or "x" not in platform_release'),
        (CP311, 'platform_machine == "x86_64" and sys_platform == "linux"'),
        ("cp311-cp311-macosx_11_0_universal2", 'platform_machine in "arm64 x86_64"'),
        ("cp311-cp311-win_amd64", 'os_name == "nt" and platform_machine == "AMD64"'),
        ("cp311-cp311-win_arm64", 'platform_machine == "ARM64"'),
        ("cp311-cp311-manylinux_2_28_aarch64", 'platform_machine == "aarch64"'),
        ("cp311-cp311-macosx_11_0_arm64", 'platform_machine == "arm64"'),
    ],
)
def test_a_marker_that_holds_everywhere(tag: str, marker: str) -> None:
    assert demands(marker, tag=tag) == [">=2.0"]


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        # Equal to every installer, whichever way they order texts.
        ('os_name < "posix"', [None]),
        ('os_name > "posix"', [None]),
        ('os_name <= "posix"', [">=2.0"]),
        ('os_name >= "posix"', [">=2.0"]),
        # Texts to some; to `packaging`, texts that differ are neither below nor above each other.
        ('os_name < "posiy"', SOMETIMES),
        ('os_name <= "posiy"', SOMETIMES),
        ('os_name > "posiw"', SOMETIMES),
        ('os_name >= "posiw"', SOMETIMES),
        ('os_name < "posiw"', [None]),
        ('os_name > "posiy"', [None]),
        ('"posiw" < os_name', SOMETIMES),
        ('"posiy" < os_name', [None]),
        # Versions, where both are: as texts, nothing is between these two.
        ('platform_version > "9" and platform_version < "10"', SOMETIMES),
        ('platform_version > "#1 SMP" and platform_version < "#2"', SOMETIMES),
        ('platform_version > "a" and platform_version < "abc"', SOMETIMES),
    ],
)
def test_the_order_of_what_may_be_texts(marker: str, expected: list[str | None]) -> None:
    assert demands(marker) == expected


@pytest.mark.parametrize(
    ("platform", "machines"),
    [
        ("linux_armv6l", "armv6l"),
        ("manylinux_2_31_armv7l", "armv7l armv8l aarch64"),
        ("linux_armv8l", "armv8l aarch64"),
        ("manylinux_2_28_i686", "i686 x86_64"),
        ("manylinux_2_28_ppc64le", "ppc64le"),
        ("android_21_armeabi_v7a", "armv7l armv8l aarch64"),
        ("win32", "x86 AMD64"),
        ("macosx_10_9_intel", "i386 x86_64"),
        ("pyemscripten_2025_0_wasm32", "wasm32"),
    ],
)
def test_what_machines_say_of_themselves(platform: str, machines: str) -> None:
    def holds_on(machine: str) -> bool:
        found = demands(f'platform_machine == "{machine}"', tag=f"cp311-cp311-{platform}")
        return ">=2.0" in found

    known = "AMD64 ARM64 aarch64 arm64 armv6l armv7l armv8l i386 i686 ppc64le wasm32 x86 x86_64"
    assert [m for m in known.split() if holds_on(m)] == sorted(machines.split())
    assert demands(f'platform_machine in "{machines}"', tag=f"cp311-cp311-{platform}") == [">=2.0"]


@pytest.mark.parametrize(
    "marker",
    [
        'python_full_version < "3.11.0a0"',
        'python_full_version < "3.11"',  # which leaves its pre-releases out as well
        'python_full_version > "3.11.1" and python_full_version < "3.11.1"',
        'implementation_name == "pypy"',
        '"SMP" in platform_version and "SM" not in platform_version',
        'platform_release == "5" and platform_release == "6"',
        'platform_machine == "arm64"',
        'extra == "gpu"',
        'extra == "gpu" and extra == "docs"',
    ],
)
def test_a_marker_that_holds_nowhere(marker: str) -> None:
    assert demands(marker) == [None]


def test_one_requirement_below_a_patch_release_and_one_from_it_on() -> None:
    markers = ('python_full_version < "3.11.4"', 'python_full_version >= "3.11.4"')
    assert demands(*markers) == [">=2.0", ">=2.1"]


def test_one_requirement_with_a_marker_and_one_without() -> None:
    promised = claims(CP311, torch=("torch>=2.0", 'torch>=2.1; sys_platform == "win32"'))
    assert [str(demand) for demand in torch_specifiers(promised)] == [">=2.0"]


def test_one_requirement_before_a_kernel_and_one_from_it_on() -> None:
    # Few kernels have a release that is a version.
    markers = ('platform_release < "5.15"', 'platform_release >= "5.15"')
    assert demands(*markers) == [None, ">=2.0", ">=2.1"]


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        (">=3.11.4", [">=2.0"]),
        (">=3.11.3", SOMETIMES),
        ("!=3.11.3,>=3.11.3", [">=2.0"]),
        ("<3.11.3", [None]),
    ],
)
def test_requires_python_leaves_patch_releases_out(python: str, expected: list[str | None]) -> None:
    assert demands('python_full_version >= "3.11.4"', python=python) == expected


def test_a_wheel_that_no_python_installs_has_demands_all_the_same() -> None:
    assert demands('python_version >= "3.8"', python="<3.9") == [">=2.0"]
    assert demands('python_full_version not in "3.8.1"', python="<3.9") == [">=2.0"]


def test_universal_wheels_are_for_both_machines() -> None:
    markers = ('platform_machine == "arm64"', 'platform_machine == "x86_64"')
    assert demands(*markers, tag="cp311-cp311-macosx_11_0_universal2") == [">=2.0", ">=2.1"]


def test_values_with_both_kinds_of_quotes() -> None:
    assert demands(r"""platform_version == "a\x22'" """) == SOMETIMES


@pytest.mark.parametrize(
    "marker",
    ['"a" == "b"', '"x" in dependency_groups', '"5" ~= platform_version', 'os_name === "posix"'],
)
def test_what_can_not_be_compared(marker: str) -> None:
    with pytest.raises(AuditError, match="METADATA has Requires-Dist"):
        demands(marker)


@pytest.mark.parametrize(
    ("marker", "name"),
    [('"a" == "b"', "b"), ('extras == "x"', "extras"), ('"x" in extras', "extras")],
)
def test_what_is_no_environment_marker(marker: str, name: str) -> None:
    with pytest.raises(AuditError, match=f"torch>=2.0; .*': '{name}' is not an environment marker"):
        demands(marker)


@pytest.mark.parametrize("quoted", [r'"a\x22\x27"', '"a"'])
def test_what_can_not_be_compared_is_named(quoted: str) -> None:
    with pytest.raises(AuditError, match=re.escape("METADATA has Requires-Dist 'torch")):
        demands(f"os_name ~= {quoted}")


@pytest.mark.parametrize(
    "markers",
    [
        [f'python_full_version != "3.{n % 20}.{n % 39}"' for n in range(300)],
        [" and ".join(f'"{n}x" in platform_version' for n in range(20))],
        [f'platform_release >= "{n}" and platform_version == "{n}"' for n in range(40)],
        [f'platform_release in "{"ab" * 30}{n}"' for n in range(300)],
    ],
)
def test_more_than_can_be_evaluated(markers: list[str]) -> None:
    with pytest.raises(AuditError, match="too many markers"):
        demands(*markers, tag="py3-none-any")


def test_as_many_evaluations_as_are_made() -> None:
    work = Work()
    work.add(49_999)
    work.add(1)
    with pytest.raises(AuditError, match="too many markers"):
        work.add(1)


def test_evaluations_are_counted_over_all_requirements() -> None:
    def cuda(count: int) -> tuple[str, ...]:
        """Requirements, each of which takes some two thousand evaluations."""
        texts = (f"{n}{ascii_letters}" for n in range(count))
        return tuple(f"nvidia-curand-cu12; platform_version in '{text}'" for text in texts)

    assert not brought_cuda(claims(CP311, cuda=cuda(1)))
    with pytest.raises(AuditError, match="too many markers"):
        brought_cuda(claims(CP311, cuda=cuda(40)))


def test_a_marker_of_many_comparisons_takes_longer() -> None:
    def marker(count: int) -> str:
        pairs = (f"platform_release == 'a{n}' or platform_version == 'a{n}'" for n in range(count))
        return " or ".join(pairs)

    assert demands(marker(32)) == SOMETIMES
    with pytest.raises(AuditError, match="too many markers"):
        demands(marker(70))


@pytest.mark.parametrize("depth", [1, 50])
def test_needless_parentheses(depth: int) -> None:
    inner = 'sys_platform == "win32" or platform_machine == "x86_64"'
    assert demands(f"{'(' * depth}{inner}{')' * depth}") == [">=2.0"]


def test_of_the_longest_text_every_part_is_tried() -> None:
    def marker(length: int) -> str:
        text = "x5.14.5" + "x" * (length - 7)
        between = 'platform_release > "5.14.2" and platform_release < "5.14.8"'
        return f'platform_release in "{text}" and {between}'

    assert demands(marker(64)) == SOMETIMES
    assert demands(marker(7)) == SOMETIMES  # up to its end
    assert demands(marker(65)) == [None]  # of a longer one, the words


def test_extras_are_compared_by_their_normalized_names() -> None:
    promised = claims(
        torch=('torch>=2.9; extra == "Replay.Buffer"',), extras=("replay_buffer", "docs")
    )
    assert extras_with_torch(promised) == ("replay_buffer",)


def test_an_extra_that_is_named_after_a_system() -> None:
    promised = claims(torch=('torch>=2.9; sys_platform == "linux"',), extras=("linux",))
    assert extras_with_torch(promised) == ()


def test_extras_that_ask_for_torch_on_some_machines() -> None:
    marker = 'extra == "gpu" and python_full_version >= "3.11.1" or extra in "all full"'
    promised = claims(CP311, torch=(f"torch; {marker}",), extras=("gpu", "all", "docs"))
    assert extras_with_torch(promised) == ("all", "gpu")


def test_an_extra_adds_nothing_to_a_requirement_that_applies_without() -> None:
    promised = claims(
        CP311, torch=('torch; extra == "gpu" or os_name == "posix"',), extras=("gpu",)
    )
    assert extras_with_torch(promised) == ()


def test_an_extra_that_no_marker_names() -> None:
    promised = claims(torch=('torch; extra == "gpu"',), extras=("docs",))
    assert extras_with_torch(promised) == ()


def test_two_extras_are_never_asked_for_at_once() -> None:
    promised = claims(torch=('torch; extra == "a" and extra == "b"',), extras=("a", "b"))
    assert torch_specifiers(promised) == (None,)
    assert extras_with_torch(promised) == ()


@pytest.mark.parametrize(
    ("marker", "everywhere"),
    [
        ('python_full_version >= "3.11.1"', False),
        ('platform_release != "5"', False),
        ('platform_system == "Linux"', True),
    ],
)
def test_cuda_is_brought_only_where_its_marker_holds_everywhere(
    marker: str,
    everywhere: bool,  # noqa: FBT001
) -> None:
    brought = brought_cuda(claims(CP311, cuda=(f"nvidia-cuda-runtime-cu12; {marker}",)))
    assert bool(brought) is everywhere


def test_a_name_of_a_variable_to_the_right_is_a_text() -> None:
    marker = "os_name == sys_platform"
    assert not Requirement(f"torch; {marker}").marker.evaluate()  # type: ignore[union-attr]
    assert demands(marker) == [None]


def test_many_values_take_no_memory_before_they_are_too_many() -> None:
    markers = (" or ".join(f"platform_release == '{n}.{m}'" for m in range(50)) for n in range(20))
    tracemalloc.start()
    try:
        with pytest.raises(AuditError, match="too many markers"):
            demands(*markers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
