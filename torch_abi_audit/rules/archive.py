"""Rules about the archive and its members as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.model import Severity, Subject
from torch_abi_audit.rules.registry import Hit, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch_abi_audit.catalog import Catalog


@rule("unreadable-library", Severity.ERROR, "a member that should be a library can't be read")
def unreadable_library(subject: Subject, _catalog: Catalog) -> Iterator[Hit]:
    """Report members that say nothing about torch because nothing could be read."""
    for member in subject.unreadable:
        yield Hit(
            f"the library can't be read: {member.error}",
            library=member.path,
            help="build the wheel again; if the file is no library, give it another name",
        )
