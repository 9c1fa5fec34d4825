"""What manylinux tags promise: the boundaries of each policy."""

from __future__ import annotations

import pytest

from torch_abi_audit.claims.manylinux import (
    BEYOND,
    glibc_with,
    is_linux_library,
    libstdcxx_is_promised,
    lowest_glibc,
)


@pytest.mark.parametrize(
    ("prefix", "oldest"),
    [
        (
            "GLIBCXX_3.4.",
            (
                "1:5 8:5 9:12 13:12 14:17 19:17 20:24 22:24 23:27 24:27 25:31 28:31 29:34 30:35"
                " 31:39 33:39"
            ),
        ),
        (
            "CXXABI_1.3.",
            "1:5 2:12 3:12 4:17 7:17 8:24 10:24 11:27 12:31 13:34 14:39 15:39",
        ),
        (
            "GCC_",
            (
                "4.2.0:5 4.2.1:12 4.5.0:12 4.5.1:17 4.8.0:17 4.8.1:27 7.0.0:27 7.0.1:34 11.0:34"
                " 11.0.0:35 12.0.0:35 12.0.1:39 14.0.0:39"
            ),
        ),
        ("GLIBC_2.", "5:5 17:17 18:18 39:39 41:41 2.5:2"),
        ("GLIBC_ABI_", "DT_RELR:36 GNU2_TLS:42"),
    ],
)
def test_the_oldest_glibc_with_a_version(prefix: str, oldest: str) -> None:
    for item in oldest.split():
        version, _, glibc = item.partition(":")
        assert (version, glibc_with(prefix + version)) == (version, int(glibc))


@pytest.mark.parametrize(
    "version",
    [
        *("GLIBCXX_3.4.34", "GLIBCXX_3.5.1", "GLIBCXX_4.0", "CXXABI_1.3.16", "CXXABI_1.4"),
        *("CXXABI_2.0", "GCC_14.0.1", "GCC_15.0.0", "GLIBC_1.0", "GLIBC_3.1"),
    ],
)
def test_versions_that_no_policy_has(version: str) -> None:
    assert glibc_with(version) == BEYOND


@pytest.mark.parametrize(
    "version", ["OMP_1.0", "GLIBC_2", "GLIBC_2.3.4.5.6", "GLIBC_ABI_DT", "xGLIBC_2.5", "GCC_4.2.0x"]
)
def test_versions_of_others(version: str) -> None:
    assert glibc_with(version) is None


def test_the_lowest_of_several_tags_counts() -> None:
    assert lowest_glibc(["manylinux_2_28_x86_64", "manylinux1_x86_64", "linux_x86_64"]) == 5
    assert lowest_glibc(["manylinux_2_28_x86_64", "musllinux_1_2_x86_64"]) == 28
    assert lowest_glibc(["manylinux_3_1_x86_64"]) is None
    assert lowest_glibc(["manylinux_x_x86_64", "musllinux_1_2_x86_64"]) is None
    assert lowest_glibc([]) is None


@pytest.mark.parametrize(
    ("version", "tags", "promised"),
    [
        ("GLIBCXX_3.4.28", "manylinux_2_31_x86_64", True),
        ("GLIBCXX_3.4.29", "manylinux_2_31_x86_64", False),
        ("GLIBCXX_3.4.28", "manylinux_2_31_x86_64 manylinux_2_28_x86_64", False),
        ("GLIBCXX_3.4.28", "manylinux_2_31_x86_64 linux_x86_64", False),
        ("GLIBCXX_3.4.28", "manylinux_2_31_x86_64 musllinux_1_2_x86_64", False),
        ("GLIBCXX_3.4.28", "manylinux_2_31_x86_64 plan9_x86", True),  # of which nothing is known
        ("GLIBCXX_3.4.28", "linux_x86_64", False),
        ("OMP_1.0", "manylinux_2_31_x86_64", False),
    ],
)
def test_what_libstdcxx_all_tags_promise(
    version: str,
    tags: str,
    promised: bool,  # noqa: FBT001
) -> None:
    assert libstdcxx_is_promised(version, tags.split()) is promised


def test_libraries_of_every_linux() -> None:
    assert is_linux_library("libc.so.6")
    assert is_linux_library("ld-linux-x86-64.so.2")
    assert not is_linux_library("libgomp.so.1")
