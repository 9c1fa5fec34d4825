"""A run: wheels, releases of torch, and what a machine's loader does with each pair."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version

from tests.loader import sites, wheels
from tests.loader.draw import draw
from tests.loader.machines import Machine, Request
from tests.loader.results import Key, Results, Row
from tests.loader.stubs import Stub, versioned_first
from tests.loader.verdicts import Outcome, Verdict, compare
from torch_abi_audit import audit
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.catalog import Platform, load_catalog
from torch_abi_audit.formats import read_libraries
from torch_abi_audit.formats.source import FileSource
from torch_abi_audit.model import Library, TargetReport

_BATCH = 4_000_000_000  # bytes of libraries that are unpacked at a time
_PATIENT = Limits(seconds=3600)  # torch's own libraries are large


@dataclass(frozen=True)
class Wheel:
    """A wheel of a run."""

    path: Path
    origin: str
    sha256: str
    report: TargetReport

    @property
    def paths(self) -> list[str]:
        """Its libraries that need torch; no loader opens a program."""
        programs = {item.path for item in self.report.libraries if item.library.executable}
        return [path for path in self.report.matrix.libraries if path not in programs]


class Prepared(NamedTuple):
    """A wheel, unpacked.

    Attributes:
        site: Where it is unpacked.
        stubs: Stubs for libraries that neither torch, CUDA nor the wheel has, by name.
        beside: A folder with stubs for the CUDA packages that it requires itself.
    """

    site: Path
    stubs: dict[str, Path]
    beside: Path


class Campaign:
    """Loads libraries of wheels with a machine, and compares with the matrix.

    Args:
        machine: What loads.
        cache: Where everything is kept.
        results: The table.
    """

    def __init__(self, machine: Machine, cache: Path, results: Path) -> None:
        self._machine = machine
        self._cache = cache
        self._results = Results(results)
        self._wheels: list[Wheel] = []
        self._shown: list[Row] = []

    @cached_property
    def _platform(self) -> Platform:
        return load_catalog().platforms[self._machine.platform]

    @cached_property
    def _cuda(self) -> frozenset[str]:
        """The stems of CUDA's libraries; torch's builds for Windows on the index have none."""
        platforms = load_catalog().platforms.values()
        return frozenset(stem for item in platforms for stem in item.cuda_stems)

    def _exported(self, name: str) -> bool:
        """Whether any release of torch exports a name."""
        return bool(self._platform.table.exporters(name))

    def choose(self, named: Sequence[Path], number: int, seed: int) -> list[Wheel]:
        """Return the wheels that are named, then drawn ones, and what the audit says of each.

        Those that nothing of torch is in do not count.

        Args:
            named: The wheels to begin with.
            number: How many in all.
            seed: That of the draw.
        """
        offered = chain(
            ((path, "named") for path in named),
            ((path, f"drawn {seed}") for path in draw(self._machine.platform, seed, self._cache)),
        )
        chosen: dict[str, Wheel] = {}
        for place, (path, origin) in enumerate(offered):
            if place >= len(named) and len(chosen) >= number:
                break
            digest = _sha256(path)
            report = audit(path).targets[0]
            if report.error:
                print(f"{path.name}: {report.error}", flush=True)
            ours = any(item.platform == self._machine.platform for item in report.libraries)
            wheel = Wheel(path, origin, digest, report)
            if ours and wheel.paths:
                chosen.setdefault(digest, wheel)
        return list(chosen.values())

    def run(self, chosen: Sequence[Wheel], releases: Sequence[str]) -> None:
        """Load what is not loaded yet, and compare all of it.

        Args:
            chosen: The wheels.
            releases: The releases of torch.
        """
        for batch in _batches(chosen):
            self._run_batch(batch, releases)
        for wheel in chosen:
            for release in releases:
                for path in wheel.paths:
                    row = self._results.rows.get(self._key(wheel, path, release))
                    if row:
                        self._compare(wheel, row)
        self._results.rewrite()

    def _key(self, wheel: Wheel, path: str, release: str) -> Key:
        return Key(self._machine.platform, wheel.sha256, path, release)

    def _left(self, wheel: Wheel, release: str) -> list[str]:
        return [p for p in wheel.paths if not self._is_done(self._key(wheel, p, release))]

    def _is_done(self, key: Key) -> bool:
        row = self._results.rows.get(key)
        return row is not None and row.verdict != Verdict.UNDECIDED

    def _run_batch(self, batch: Sequence[Wheel], releases: Sequence[str]) -> None:
        left = [w for w in batch if any(self._left(w, release) for release in releases)]
        if not left:
            return
        host = self._machine.host()
        with tempfile.TemporaryDirectory(dir=self._cache) as name:
            work = Path(name)
            prepared = {wheel.sha256: self._prepare(wheel, work) for wheel in left}
            for release in releases:
                self._run_release(left, release, prepared, work, host)

    def _prepare(self, wheel: Wheel, work: Path) -> Prepared:
        """Unpack a wheel and make stubs for what it needs of other packages."""
        machine = self._machine
        site, extra = work / wheel.sha256[:16], work / f"{wheel.sha256[:16]}-more"
        extra.mkdir()
        required = sites.unpack_libraries(wheel.path, site)
        stubs = {
            stub.name: self._built(stub)
            for stub in wheels.other_stubs(wheel.report, self._exported, machine.has, self._cuda)
        }
        try:
            paths = self._cuda_libraries(required)
        except LookupError as error:
            print(f"{wheel.path.name}: {error}", flush=True)
            paths = []
        beside = extra / "packages"
        beside.mkdir()
        self._stub_cuda(paths, beside, _libraries_of([wheel]))
        return Prepared(site, stubs, beside)

    def _run_release(
        self,
        batch: Sequence[Wheel],
        release: str,
        prepared: Mapping[str, Prepared],
        work: Path,
        host: Mapping[str, str],
    ) -> None:
        machine = self._machine
        wanted = [(wheel, path) for wheel in batch for path in self._left(wheel, release)]
        if not wanted:
            return
        folder = work / f"torch-{release}"
        preload = self._put_torch(release, folder, _libraries_of(batch))
        for place in prepared.values():
            sites.clear_links(place.site)
            sites.put_beside(folder, place.site)
            sites.put_beside(place.beside, place.site)
        requests = []
        for wheel, path in wanted:
            place = prepared[wheel.sha256]
            siblings = wheels.needed_before(wheel.report, path)
            request = Request(
                place.site / path, tuple(place.site / item for item in siblings), place.stubs
            )
            requests.append(request)
        outcomes = machine.load(folder, requests, preload)
        today = datetime.now(UTC).date().isoformat()
        rows = [
            self._judged(
                wheel,
                Row(
                    platform=machine.platform,
                    wheel=wheel.path.name,
                    sha256=wheel.sha256,
                    library=path,
                    torch=release,
                    origin=wheel.origin,
                    error=outcome.error.replace(f"{work}/", ""),
                    supplied=outcome.supplied,
                    seconds=seconds,
                    date=today,
                    host=host,
                ),
            )
            for (wheel, path), (outcome, seconds) in zip(wanted, outcomes, strict=True)
        ]
        self._results.add(rows)
        shutil.rmtree(folder)
        wrong = sum(Verdict(row.verdict).fails for row in rows)
        print(f"torch {release}: {len(rows)} cells, {wrong} wrong", flush=True)

    def _put_torch(self, release: str, folder: Path, libraries: list[Library]) -> list[Path]:
        """Put torch into a folder, with CUDA's libraries or stubs for them.

        Returns:
            Stubs to load before it.
        """
        machine = self._machine
        torch = sites.torch_site(self._cache, machine.platform, release, machine.python)
        sites.copy_of_links(torch, folder)
        if not machine.platform.startswith("linux"):
            stub = wheels.python_stub("python3.dll", libraries)
            return [self._built(stub)]
        libraries = [*_libraries_in(torch / "torch" / "lib"), *libraries]
        if not (torch / "nvidia").exists():
            required = sites.torch_requirements(torch)
            self._stub_cuda(self._cuda_libraries(required), folder, libraries)
        stubs = [wheels.python_stub("libpython-others.so", libraries)]
        stubs += wheels.cuda_stubs(wheels.DRIVER, libraries, self._exported)
        return [self._built(stub) for stub in stubs]

    def _cuda_libraries(self, required: list[str]) -> list[str]:
        """Return the libraries of the CUDA packages among requirements."""
        machine = self._machine
        cuda = sites.cuda_requirements(required, machine.platform)
        return sites.cuda_libraries(self._cache, cuda, machine.platform, machine.python)

    def _stub_cuda(self, paths: list[str], folder: Path, libraries: list[Library]) -> None:
        """Put stubs for CUDA's libraries where they are in its packages."""
        places = {path.rpartition("/")[2]: folder / path for path in paths}
        for stub in wheels.cuda_stubs(places, libraries, self._exported):
            place = places[stub.name]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._built(stub), place)

    def _built(self, stub: Stub) -> Path:
        """Return a stub that is compiled, once for all runs."""
        text = repr((stub.name, versioned_first(stub.symbols), sorted(stub.versions)))
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        file = self._cache / "stubs" / self._machine.platform / digest / stub.name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache) as part:
                self._machine.build(stub, Path(part)).replace(file)
        return file

    def _judged(self, wheel: Wheel, row: Row) -> Row:
        cells, release = wheel.report.matrix.libraries, Version(row.torch)
        cell = cells[row.library][release]
        needed = wheels.needed_before(wheel.report, row.library)
        siblings = [cells[path][release] for path in needed if path in cells]
        outcome = Outcome(row.error, row.supplied)
        scope: frozenset[str] = frozenset()
        if outcome.missing_symbols:
            scope = wheels.opening_scope(wheel.report, row.library)
        verdict = compare(cell, outcome, siblings, self._cuda, scope)
        return replace(row, predicted=str(cell.status), verdict=str(verdict))

    def _compare(self, wheel: Wheel, row: Row) -> None:
        judged = self._judged(wheel, row)
        self._results.rows[row.key] = judged
        self._shown.append(judged)
        if Verdict(judged.verdict).fails:
            cell = wheel.report.matrix.libraries[row.library][Version(row.torch)]
            print(f"{row.wheel} {row.library} with torch {row.torch}: {judged.verdict}")
            print(f"    predicted {cell.status}: {'; '.join(map(str, cell.reasons[:5]))}")
            print(f"    the loader: {row.error or 'loads'}"[:600])

    @property
    def wrong(self) -> int:
        """How many cells the matrix has wrong."""
        return sum(Verdict(row.verdict).fails for row in self._shown)

    def summary(self) -> str:
        """Return the totals as a Markdown table."""
        rows = self._shown
        counts = Counter(row.verdict for row in rows)
        compared = sum(Verdict(row.verdict).compared for row in rows)
        drawn = len({row.sha256 for row in rows if row.origin != "named"})
        supplied = sum(bool(row.supplied) for row in rows)
        seen = (
            f"{self._machine.platform}: {len({row.sha256 for row in rows})} wheels, {drawn} of "
            f"them drawn; {len({row.torch for row in rows})} releases of torch; {compared} cells "
            f"compared, {supplied} of all with stubs for other packages' libraries"
        )
        table = (f"| {counts[str(verdict)]} | {verdict} |" for verdict in Verdict)
        return "\n".join([seen, "", "| cells | |", "|---|---|", *table])


def _batches(chosen: Sequence[Wheel]) -> Iterator[list[Wheel]]:
    """Split wheels into groups that fit on a disk when unpacked."""
    batch: list[Wheel] = []
    size = 0
    for wheel in chosen:
        more = sites.unpacked_size(wheel.path)
        if batch and size + more > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(wheel)
        size += more
    if batch:
        yield batch


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _libraries_of(chosen: Sequence[Wheel]) -> list[Library]:
    return [item.library for wheel in chosen for item in wheel.report.libraries]


@cache
def _libraries_in(folder: Path) -> tuple[Library, ...]:
    """Return the facts of the libraries in a folder."""
    found: list[Library] = []
    for path in sorted(folder.glob("*.so*")):
        with FileSource(path) as source:
            found += read_libraries(source, path.name, Budget(_PATIENT))
    return tuple(found)
