"""On which day a wheel's files were written, and which releases of torch that leaves out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from packaging.version import Version

from tests.builders import CATALOG, a_library, claims, library, published_file, write_wheel
from tests.unit.test_layouts import facts, parsed
from torch_abi_audit.abi import built_with as built_with_module
from torch_abi_audit.abi import layouts as layouts_module
from torch_abi_audit.abi.built_with import with_date
from torch_abi_audit.audit import Options, classify_contents, conclude
from torch_abi_audit.catalog import load_catalog
from torch_abi_audit.catalog.build.history import layouts_file
from torch_abi_audit.catalog.build.layouts import Headers
from torch_abi_audit.catalog.build.wheels import find_published
from torch_abi_audit.catalog.layouts import Layouts
from torch_abi_audit.index.pages import IndexFile
from torch_abi_audit.model import (
    Assertion,
    BuiltWith,
    Cell,
    LayoutStatus,
    Library,
    Matrix,
    Member,
    ReleaseStatus,
    Sign,
    Subject,
    TargetContents,
    TargetKind,
)
from torch_abi_audit.report.document import target_document
from torch_abi_audit.report.summary import found_torch
from torch_abi_audit.targets.wheel import read_wheel

V9, V10, V11, V12 = map(Version, ("2.9.0", "2.10.0", "2.11.0", "2.12.0"))
RELEASES = (V9, V10, V11, V12)
RELEASED = {
    V9: date(2025, 10, 15),
    V10: date(2026, 1, 21),
    V11: date(2026, 3, 23),
    V12: date(2026, 5, 13),
}
OLDER = Version("2.2.0")
PATH = "x/_C.so"


def row(*links: Version, of: Sequence[Version] = RELEASES) -> Matrix:
    statuses = {True: ReleaseStatus.LINKS, False: ReleaseStatus.BREAKS}
    return Matrix({PATH: {release: Cell(statuses[release in links]) for release in of}})


def dated(
    built: BuiltWith | None,
    day: date | None,
    matrix: Matrix | None = None,
    older: date = date(2024, 1, 30),
) -> BuiltWith | None:
    released = {**RELEASED, OLDER: older}
    return with_date({PATH: built}, matrix or row(*RELEASES), day, released)[PATH]


@pytest.mark.parametrize(
    ("releases", "day", "kept"),
    [
        # With a candidate of 2.12.0, 30 days before it at the most.
        ((V11, V12), date(2026, 4, 13), (V11, V12)),
        ((V11, V12), date(2026, 4, 12), (V11,)),
        # Built late: any older release will do.
        ((V9, V12), date(2026, 10, 1), (V9, V12)),
        # It is not believed against all of them.
        ((V11, V12), date(2025, 10, 15), (V11, V12)),
        ((V12,), date(2025, 10, 15), (V12,)),
        # Of a release that was published on no known day nothing is known.
        ((V10, Version("2.99.0")), date(2026, 4, 13), (V10, Version("2.99.0"))),
    ],
)
def test_a_date_leaves_out_releases_that_are_too_new(
    releases: tuple[Version, ...], day: date, kept: tuple[Version, ...]
) -> None:
    told = BuiltWith(releases, Sign.ASSERTIONS, 2, 2)
    assert dated(told, day) == BuiltWith(kept, Sign.ASSERTIONS, 2, 2, day=day)


@pytest.mark.parametrize(
    ("links", "day", "newest"),
    [
        (RELEASES, date(2026, 4, 12), V11),
        (RELEASES, date(2026, 4, 13), None),  # the newest as well: it tells nothing
        ((V9, V10), date(2026, 4, 12), None),  # it links with no newer one
        ((V9, V10, V11), date(2026, 1, 1), V10),
        # It lacks something in 2.9.0, and so has to be newer than that: no date of a build.
        ((V10, V11), date(2025, 11, 1), None),
        ((V10, V11), date(2024, 2, 1), None),
        # Older than all that are known, with which it may link as well.
        (RELEASES, date(2024, 2, 1), OLDER),
        ((V9, V10), date(2024, 2, 1), OLDER),
        ((), date(2024, 2, 1), OLDER),  # which is why it links with none of these
        ((), date(2026, 4, 12), V11),
        ((), date(2026, 6, 1), None),
    ],
)
def test_where_nothing_else_tells_a_date_names_the_newest(
    links: tuple[Version, ...], day: date, newest: Version | None
) -> None:
    expected = BuiltWith((), Sign.DATE, day=day, newest=newest) if newest else None
    assert dated(None, day, row(*links)) == expected


def test_no_date() -> None:
    told = BuiltWith((V11, V12), Sign.PIN)
    assert dated(told, None) == told
    assert dated(None, None) is None
    # Older than torch: a time stamp that a tool sets for all files.
    constant = date(2015, 10, 21)
    assert dated(told, constant) == told
    assert dated(None, constant) is None


def test_one_torch_does_not_tell() -> None:
    assert dated(None, date(2025, 12, 1), row(V12, of=(V12,))) is None


Stamp = tuple[int, int, int, int, int, int]


def wheel_of(folder: Path, *stamps: Stamp, others: Stamp = (2026, 6, 1, 1, 2, 4)) -> Path:
    """Write a wheel with a compiled member for each time stamp."""
    path = write_wheel(folder, {f"x/{place}.so": a_library() for place in range(len(stamps))})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, others)
            if name.endswith(".so"):
                info.date_time = stamps[int(name[2:-3])]
            archive.writestr(info, data)
    return path


@pytest.mark.parametrize(
    ("stamps", "day"),
    [
        ([(2026, 4, 2, 13, 58, 16)], date(2026, 4, 2)),
        ([(2026, 4, 2, 13, 58, 16), (2026, 4, 3, 0, 0, 2)], date(2026, 4, 3)),
        # What tools set: the format's own epoch, Bazel's, Hatchling's.
        ([(1980, 1, 1, 0, 0, 0)], None),
        ([(2000, 1, 1, 0, 0, 0), (2020, 2, 2, 0, 0, 0)], None),
        ([(2000, 1, 1, 0, 0, 0), (2026, 4, 2, 13, 58, 16)], date(2026, 4, 2)),
        ([(2030, 1, 1, 0, 0, 0), (2026, 4, 2, 13, 58, 16)], date(2026, 4, 2)),
        # No day.
        ([(2026, 0, 0, 1, 0, 0)], None),
        ([(2026, 2, 31, 1, 0, 0), (2026, 2, 28, 1, 0, 0)], date(2026, 2, 28)),
        ([], None),  # no compiled member: those of other files do not count
    ],
)
def test_the_day_of_the_newest_compiled_member(
    stamps: list[Stamp], day: date | None, tmp_path: Path
) -> None:
    assert read_wheel(wheel_of(tmp_path, *stamps)).day == day


UNSTABLE = library("_ZN2at6TensorD1Ev", needed=("libtorch_cpu.so",))


def subject(day: date | None, *torch: str, user: Library = UNSTABLE) -> Subject:
    released = {
        release: date(2025, 1, 1) + timedelta(days=60 * place)
        for place, release in enumerate(CATALOG.releases)
    }
    contents = TargetContents(
        TargetKind.WHEEL, claims(torch=torch), (Member(PATH, (user,), verified=True),), day=day
    )
    return classify_contents(contents, replace(CATALOG, released=released), Options())


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that changes with 2.10.0, and an assertion that moves with 2.8.0 alone."""
    data = layouts_file(
        Headers(
            str(release),
            "linux_x86_64",
            parsed({"at::Tensor": facts(8 if release < V10 else 16, ("x", 0, "long"))}, {}),
            {"c10/x.h": [(1, 1, "a > 0") if release < V9 else (2, 2, "a > 0")]},
        )
        for release in CATALOG.releases
    )
    for module in (layouts_module, built_with_module):
        monkeypatch.setattr(module, "load_layouts", lambda: Layouts(lambda: io.BytesIO(data)))


def test_a_date_changes_no_layout_but_those_of_the_build(layouts: None) -> None:
    """The assertion is that of 2.9.0 and newer; the date leaves 2.9.0, and its layouts are known.

    A library is for the very release that it was built with. That others differ from it is
    not said by a date.
    """
    told = Assertion("/torch/include/c10/x.h", 2, "a > 0")
    user = replace(UNSTABLE, assertions=(told,))
    plain, by_date = subject(None, user=user), subject(date(2025, 2, 15), user=user)
    releases = [str(release) for release in CATALOG.releases[1:]]
    assert plain.built_with is not None
    assert list(map(str, plain.built_with.releases)) == releases
    assert by_date.built_with is not None
    assert list(map(str, by_date.built_with.releases)) == ["2.9.0"]
    assert {cell.layout for cell in plain.matrix.row.values()} <= {LayoutStatus.UNKNOWN, None}
    known = {r for r, cell in by_date.matrix.row.items() if cell.layout is LayoutStatus.UNCHANGED}
    assert known == {V9, Version("2.9.1")}
    for release in set(CATALOG.releases) - known:
        assert by_date.matrix.row[release] == plain.matrix.row[release]
    # Where the assertion itself is of 2.9.0 alone, it changed with 2.10.0.
    pinned = subject(None, "torch==2.9.*", user=user).matrix.row
    assert pinned[V10].layout is LayoutStatus.CHANGED


def test_what_is_told() -> None:
    def told(day: date | None, *torch: str) -> tuple[object, str]:
        item = subject(day, *torch)
        report = conclude("x.whl", TargetKind.WHEEL, item, CATALOG, Options())
        target = target_document(report)
        return target["torch"]["built_with"], found_torch(target)

    day = date(2025, 2, 15)
    built, text = told(day)
    assert built == {
        "releases": [],
        "sign": "date",
        "matched": 0,
        "of": 0,
        "date": "2025-02-15",
        "newest": "2.9.0",
    }
    assert text.endswith("built with torch 2.9.0 or older (dated 2025-02-15)")
    built, text = told(day, "torch==2.9.*")
    assert isinstance(built, dict)
    assert (built["releases"], built["date"], built["newest"]) == (["2.9.0"], "2025-02-15", None)
    assert text.endswith("built with torch 2.9.0 (by its pin, dated 2025-02-15)")
    built, text = told(None, "torch==2.9.*")
    assert isinstance(built, dict)
    assert (built["releases"], built["date"]) == (["2.9.0", "2.9.1"], None)
    assert text.endswith("built with torch 2.9 (by its pin)")


def file(
    version: str, day: date | None, tag: str = "manylinux_2_28_x86_64", *, yanked: bool = False
) -> IndexFile:
    uploaded = None if day is None else datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    name = f"torch-{version}-cp311-cp311-{tag}.whl"
    return published_file(name, yanked=yanked, uploaded=uploaded)


def test_a_release_is_published_with_its_first_wheel() -> None:
    files = [
        file("2.10.0-1", date(2026, 3, 11)),  # built again
        file("2.10.0", date(2026, 1, 21)),
        file("2.10.0", date(2026, 1, 20), "win_amd64"),
        file("2.9.0", None),
        file("2.8.0", date(2025, 8, 6), yanked=True),
        file("2.8.0-1", date(2025, 8, 7)),
        file("2.11.0rc1", date(2026, 2, 1)),
    ]
    assert find_published(files) == {
        Version("2.8.0"): date(2025, 8, 7),
        Version("2.9.0"): None,
        Version("2.10.0"): date(2026, 1, 21),
    }


def test_the_packaged_days() -> None:
    """In the order of the releases; wheels for Linux were built again for 2.10.0 in March."""
    catalog = load_catalog()
    assert set(catalog.released) == set(catalog.published)
    assert catalog.released[Version("2.9.1")] == date(2025, 11, 12)
    assert catalog.released[Version("2.10.0")] == date(2026, 1, 21)
