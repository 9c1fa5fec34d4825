"""Which release of torch a library was built with.

The assertions of torch's headers that are inlined in it name their lines, and lines move from
release to release: the releases whose headers have all of them there are those that it can have
been built with. Where it has none, a pin of the metadata tells.

The time stamps of a wheel's files give the day by which it was built, which rules out releases
that are newer. Of 307 published wheels that pin one release, the earliest was built 15 days before
that release, with a release candidate. But the newest release at the time was the right one for
only two of three, so a date never names a release: it narrows what other signs leave open, and
where there is no other sign it gives the newest release that is possible.
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

# Less is explained by no release that the catalog knows: an older one, or a private build.
_EXPLAINED = 0.75
# How long before a release is published wheels may be built with it: twice what was measured, since
# time stamps are in local time, and some are those of the last commit instead of the build.
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
    """Return what the libraries of a target on the unstable ABI were built with, by path.

    Args:
        items: The libraries.
        matrix: Which releases they link with, one of which they were built with; and those of
            which one is chosen for each release, while the others were built together.
        pinned: The releases of the one series that the metadata admits; empty where it
            admits others too.
    """
    found: dict[str, BuiltWith | None] = {}
    groups: dict[tuple[int, int] | None, list[str]] = {}
    for item in items:
        if item.torch.abi is TorchAbi.UNSTABLE:
            own = literals(item.library)
            meant = matrix.alternatives.get(item.path)
            row = matrix.libraries.get(item.path, {})
            # A name tells nothing of one whose assertions are of no known release.
            found[item.path] = _linking(_told(own, pinned), row)
            if found[item.path] is not None or not own:
                found[item.path] = _meant(found[item.path], meant, row)
            # One whose assertions are of no known release was not built like the others.
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
    """Take the name of an alternative into account, which has the release in it."""
    if alternative is None:
        return built
    if built is None:
        of_name = tuple(r for r in row if r.release[:2] == alternative.release)
        return _linking(BuiltWith(of_name, Sign.NAME), row) if of_name else None
    series = tuple(r for r in built.releases if r.release[:2] == alternative.release)
    return built._replace(releases=series or built.releases)


def _linking(built: BuiltWith | None, row: Mapping[Version, Cell]) -> BuiltWith | None:
    """Leave out what a library does not link with; a pin to that alone tells nothing.

    The matrix of one torch, installed or named, does not tell.
    """
    if built is None or len(row) <= 1:
        return built
    links = {release for release, cell in row.items() if cell.loads_but_for_cuda}
    linking = tuple(release for release in built.releases if release in links)
    if built.sign is not Sign.ASSERTIONS and not linking:
        return None
    return built._replace(releases=linking or built.releases)


def _told(own: Collection[Literal], pinned: Collection[Version]) -> BuiltWith | None:
    """Return what the assertions of a library tell; None where they are of no known release."""
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
        built: What other signs tell.
        matrix: Which releases the libraries link with.
        day: The day of the target's newest time stamp; None where it has none.
        released: The day on which each of torch's releases was published.
    """
    if day is None:
        return dict(built)
    in_use = [release for release, when in released.items() if when <= day + _CANDIDATE]
    if not in_use:
        return dict(built)  # older than torch itself: no build's time stamp
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
    """Whether a date tells anything about a library: the newest release that is possible by it.

    It does not where the library links with no newer release anyway. Where it links only with
    newer ones, the time stamp is not that of its build. The matrix of a single torch is no basis.
    """
    links = [release for release, cell in row.items() if cell.loads_but_for_cuda]
    if len(row) <= 1 or (links and max(newest, min(row)) < min(links)):
        return False
    return newest < max(links or row)
