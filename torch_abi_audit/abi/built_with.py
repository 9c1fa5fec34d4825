"""Which release of torch a library was built with.

Assertions from torch's headers that are inlined in a library record their line numbers, which
change from release to release: the library can only have been built with a release whose headers
have all of its assertions on those lines. If it has none, a pin in the metadata decides.

The time stamps of a wheel's files give the day by which it was built, which rules out newer
releases. Of 307 published wheels that pin one release, the earliest was built 15 days before
that release, with a release candidate. But only two in three were built with the newest release of
the time, so a date never identifies a release: it narrows down what other signs leave open, and
without any other sign it gives the newest possible release.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from torch_abi_audit.catalog.layouts import Literal, header_path, load_layouts
from torch_abi_audit.model import BuiltWith, Sign, TorchAbi

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date

    from packaging.version import Version

    from torch_abi_audit.model import Alternative, Cell, Library, LibraryAudit, Matrix

# A lower share means a release that the catalog does not have: an older one, or a private build.
_EXPLAINED = 0.75
# How long before the publication of a release wheels may be built with it: twice what was measured,
# since time stamps are in local time, and some are of the last commit instead of the build.
_CANDIDATE = timedelta(days=30)


def literals(library: Library) -> frozenset[Literal]:
    """Return the assertions of torch's headers that a library has."""
    return frozenset(
        Literal(header, item.line, item.text)
        for item in library.assertions
        if (header := header_path(item.file)) is not None
    )


def built_with(
    items: Iterable[LibraryAudit], matrix: Matrix, pinned: Collection[Version]
) -> dict[str, BuiltWith | None]:
    """Return what a target's libraries on the unstable ABI were built with, by path.

    Args:
        items: The libraries.
        matrix: The releases that they load on, one of which they were built with; and which
            libraries are alternatives: all others were built together.
        pinned: The releases of the single series that the metadata allows; empty if it
            allows more than one.
    """
    found: dict[str, BuiltWith | None] = {}
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for item in items:
        if item.torch.abi is TorchAbi.UNSTABLE:
            own = literals(item.library)
            meant = matrix.alternatives.get(item.path)
            row = matrix.libraries.get(item.path, {})
            # A name says nothing about a library whose assertions match no known release.
            found[item.path] = _linking(_told(own, pinned), row)
            if found[item.path] is not None or not own:
                found[item.path] = _meant(found[item.path], meant, row)
            # A library whose assertions match no known release was not built like the others.
            if not own or found[item.path] is not None:
                groups.setdefault(meant and meant.release, []).append(item.path)
    pin = BuiltWith(tuple(sorted(pinned)), Sign.PIN) if pinned else None
    for paths in groups.values():
        told = [known for path in paths if (known := found[path]) is not None]
        common = set.intersection(*(set(known.releases) for known in told)) if told else set()
        best = (
            max(told, key=lambda known: known.matched)._replace(releases=tuple(sorted(common)))
            if common
            else pin
        )
        for path in paths:
            own_signs = found[path]
            if own_signs is None:
                found[path] = _linking(best, matrix.libraries.get(path, {}))
            elif common:
                found[path] = own_signs._replace(releases=tuple(sorted(common)))
    return found


def _meant(
    built: BuiltWith | None, alternative: Alternative | None, row: Mapping[Version, Cell]
) -> BuiltWith | None:
    """Take into account the name of an alternative, which contains the release."""
    if alternative is None:
        return built
    if built is None:
        of_name = tuple(r for r in row if r.release[:2] == alternative.release)
        return _linking(BuiltWith(of_name, Sign.NAME), row) if of_name else None
    series = tuple(r for r in built.releases if r.release[:2] == alternative.release)
    return built._replace(releases=series or built.releases)


def _linking(built: BuiltWith | None, row: Mapping[Version, Cell]) -> BuiltWith | None:
    """Leave out releases that a library does not load on; None if nothing of a pin or name is left.

    The matrix of a single torch, installed or named, rules nothing out.
    """
    if built is None or len(row) <= 1:
        return built
    links = {release for release, cell in row.items() if cell.loads_but_for_cuda}
    linking = tuple(release for release in built.releases if release in links)
    if built.sign is not Sign.ASSERTIONS and not linking:
        return None
    return built._replace(releases=linking or built.releases)


def _told(own: Collection[Literal], pinned: Collection[Version]) -> BuiltWith | None:
    """Return what a library's assertions tell, if it has any; None if no known release fits."""
    if not own:
        return None
    counts = load_layouts().assertions.built_with(own)
    best = max(counts.values())
    if best < _EXPLAINED * len(own):
        return None
    releases = [release for release, count in sorted(counts.items()) if count == best]
    agreed = [release for release in releases if release in pinned]
    return BuiltWith(tuple(agreed or releases), Sign.ASSERTIONS, best, len(own))


def with_date(
    built: Mapping[str, BuiltWith | None],
    matrix: Matrix,
    day: date | None,
    released: Mapping[Version, date],
) -> dict[str, BuiltWith | None]:
    """Return what libraries were built with, by path, narrowed by the day they were built by.

    Args:
        built: What other signs show.
        matrix: Which releases the libraries load on.
        day: The day of the target's newest time stamp; None if it has none.
        released: The day on which each torch release was published.
    """
    if day is None:
        return dict(built)
    in_use = [release for release, when in released.items() if when <= day + _CANDIDATE]
    if not in_use:
        return dict(built)  # older than torch itself: not the time of a build
    too_new = released.keys() - set(in_use)
    newest = max(in_use)
    found: dict[str, BuiltWith | None] = {}
    for path, item in built.items():
        if item is not None:
            kept = tuple(release for release in item.releases if release not in too_new)
            found[path] = item._replace(releases=kept or item.releases, day=day)
        elif _is_told(newest, matrix.libraries.get(path, {})):
            found[path] = BuiltWith((), Sign.DATE, day=day, newest=newest)
        else:
            found[path] = None
    return found


def _is_told(newest: Version, row: Mapping[Version, Cell]) -> bool:
    """Whether the newest release that a date leaves possible says anything about a library.

    It does not if the library loads on no newer release anyway. If the library loads only on
    newer ones, the time stamp is not that of its build. A matrix of a single torch is no basis.
    """
    links = [release for release, cell in row.items() if cell.loads_but_for_cuda]
    if len(row) <= 1 or (links and max(newest, min(row)) < min(links)):
        return False
    return newest < max(links or row)
