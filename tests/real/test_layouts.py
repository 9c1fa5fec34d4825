"""The assertions in published wheels name the torch release that these were built with."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.specifiers import SpecifierSet

from tests.real.download import LINUX, LINUX_ARM, MACOS, WINDOWS, download
from torch_abi_audit.catalog.layouts import Literal, header_path, load_layouts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

MARK = b' INTERNAL ASSERT FAILED at "'
PLACE = re.compile(rb'([^"\0]{1,400})":([0-9]+)')


def literals(wheel: Path) -> set[Literal]:
    """Return what assertions in torch's headers left in a wheel's libraries."""
    found = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            data = archive.read(name) if name.endswith((".so", ".pyd")) else b""
            start = -1
            while (start := data.find(MARK, start + 1)) >= 0:
                place = PLACE.match(data, start + len(MARK))
                header = header_path(place[1].decode()) if place else None
                if place and header:
                    text = data[data.rfind(b"\0", 0, start) + 1 : start]
                    found.add(Literal(header, int(place[2]), text.decode("latin-1")))
    return found


@pytest.mark.parametrize(
    ("requirement", "platform", "releases"),
    [
        # What their own metadata requires.
        ("torchvision==0.24.1", LINUX, "==2.9.*"),
        ("torchvision==0.25.0", LINUX, "==2.10.*"),
        ("torchvision==0.27.1", LINUX, "==2.12.*"),
        ("torchvision==0.27.1", LINUX_ARM, "==2.12.*"),
        ("torchvision==0.24.1", MACOS, "==2.9.*"),
        ("torchvision==0.27.1", WINDOWS, "==2.12.*"),
        ("executorch==1.0.1", LINUX, "==2.9.*"),
        # Nothing there says it.
        ("torchrl==0.14.1", LINUX, "==2.14.*"),
        ("fbgemm_gpu_cpu==1.4.2", LINUX, "==2.9.*"),
        ("fbgemm_gpu_cpu==1.6.0", LINUX, ">=2.11,<2.13"),
    ],
)
def test_every_assertion_is_one_of_the_release(
    requirement: str, platform: str, releases: str
) -> None:
    found = literals(download(requirement, platform))
    assert found
    counts = load_layouts().assertions.built_with(found)
    best = {release for release, count in counts.items() if count == len(found)}
    assert best == set(SpecifierSet(releases).filter(counts))
