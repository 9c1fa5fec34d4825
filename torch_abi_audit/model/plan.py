"""The fix of a target: the change of its metadata that makes it pass, proven, and of its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch_abi_audit.model.reports import Verdict


class MetadataChange(NamedTuple):
    """A change to the metadata of a wheel; what is None stays as it is.

    Attributes:
        torch: The requirement on torch that takes the place of all others, as ``torch==2.12.*``.
        python: ``Requires-Python``, as ``>=3.10``.
        tags: The tags of the filename, as ``cp39-abi3-manylinux_2_28_x86_64``.
    """

    torch: str | None = None
    python: str | None = None
    tags: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """What to change where: the lines of `pyproject.toml` to paste, and the tags."""
        lines = []
        if self.torch is not None:
            lines.append(f'dependencies = ["{self.torch}"]')
        if self.python is not None:
            lines.append(f'requires-python = "{self.python}"')
        if self.tags is not None:
            lines.append(f"wheel tag {self.tags}")
        return tuple(lines)


class Plan(NamedTuple):
    """What to change about a target that does not pass.

    Attributes:
        change: The least change of metadata with which it passes as it is: it was audited
            again with it. None where no change of metadata does, or several do.
        choices: Where several do, all of them: only the author can tell which is right.
        verdict: The verdict that it has with the change.
        why_not: Why no change of metadata makes it pass, in one sentence.
        build: What to change about the build to support more, a sentence each.
    """

    change: MetadataChange | None = None
    choices: tuple[MetadataChange, ...] = ()
    verdict: Verdict | None = None
    why_not: str | None = None
    build: tuple[str, ...] = ()
