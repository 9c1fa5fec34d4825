"""Reading one published wheel: a task that any process, on any machine, can do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from torch_abi_audit.audit import Auditor, Options
from torch_abi_audit.budget import Budget, Limits
from torch_abi_audit.cache.facts import decode_facts, encode_facts
from torch_abi_audit.errors import AuditError
from torch_abi_audit.index.session import Session
from torch_abi_audit.survey.wheel import record_of
from torch_abi_audit.targets.published import read_published

if TYPE_CHECKING:
    from torch_abi_audit.index.pages import IndexFile
    from torch_abi_audit.index.sources import Sources
    from torch_abi_audit.model import TargetContents


@dataclass(frozen=True, slots=True)
class Task:
    """A wheel to read.

    Attributes:
        file: The wheel.
        sources: How to reach it: credentials, proxies and certificates.
        verify: Whether to read all of it, and check its hash.
        limits: What it may cost.
        at_once: How many requests one host is sent at the same time.
        judge: Whether to judge the wheel as well.
        build: The builds of torch to judge it against; see `Options.torch_build`.
        facts: Its facts, if they are known: then nothing is fetched, unless they are damaged.
        hashed: For known facts, whether the file had the hash that the index gives.
    """

    file: IndexFile
    sources: Sources
    verify: bool = False
    limits: Limits = Limits()  # noqa: RUF009 -- frozen
    at_once: int = 4
    judge: bool = False
    build: str | None = None
    facts: bytes | None = None
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task.

    Attributes:
        facts: The facts and claims; see `cache.facts`. None if it could not be read.
        error: Why it could not be read.
        hashed: Whether the file has the hash that the index gives.
        fetched: The bytes that were fetched of it.
        requests: How many requests that took.
        seconds: How long it took.
        record: What the wheel is judged to be, if the task was to judge it; see `survey.wheel`.
    """

    facts: bytes | None
    error: str | None = None
    hashed: bool = False
    fetched: int = 0
    requests: int = 0
    seconds: float = 0.0
    record: bytes | None = None

    def contents(self) -> TargetContents:
        """Return the facts and claims.

        Raises:
            AuditError: The wheel could not be read.
        """
        if self.facts is None:
            raise AuditError(self.error or "not read")
        try:
            return decode_facts(self.facts)
        except ValueError as error:
            raise AuditError(str(error)) from error


def perform(task: Task) -> Outcome:
    """Read a wheel, and judge it; whatever goes wrong is in what is returned."""
    started = monotonic()
    session = _session(task.sources, task.at_once)
    fetched, requests = session.fetched, session.requests
    facts, hashed, record, reason = None, False, None, None
    try:
        contents = _decoded(task.facts)
        if contents is not None:
            facts, hashed = task.facts, task.hashed
        else:
            budget = Budget(task.limits)
            contents, hashed = read_published(task.file, session, budget, verify=task.verify)
            facts = encode_facts(contents)
        record = _judged(task, contents) if task.judge else None
    except AuditError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 -- a bug: say so, and read the other wheels
        reason = f"internal error, please report it: {type(error).__name__}: {error}"
    return Outcome(
        facts,
        reason,
        hashed,
        session.fetched - fetched,
        session.requests - requests,
        monotonic() - started,
        record,
    )


def _decoded(facts: bytes | None) -> TargetContents | None:
    """Return the facts and claims that bytes hold; None for none, and for what is damaged."""
    try:
        return None if facts is None else decode_facts(facts)
    except ValueError:
        return None


def _judged(task: Task, contents: TargetContents) -> bytes:
    """Return the record of a wheel.

    Raises:
        AuditError: It can't be judged within the limits, or not with what is installed here.
            That is not a record: what is kept of the wheel is for other runs too.
    """
    file = task.file
    auditor = Auditor(Options(limits=task.limits, torch_build=task.build))
    report = auditor.audit_contents(file.filename, lambda _: contents)
    if report.subject is None:
        raise AuditError(report.error or "not judged")
    uploaded = None if file.uploaded is None else file.uploaded.date()
    record = record_of(report, filename=file.filename, size=file.size, uploaded=uploaded)
    return record.to_json().encode()


@lru_cache(maxsize=4)
def _session(sources: Sources, at_once: int) -> Session:
    """Return the session of this process, which keeps its connections open."""
    return Session(sources, at_once=at_once)
