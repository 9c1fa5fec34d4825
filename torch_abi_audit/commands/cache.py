"""`torch-abi-audit cache`: what the cache of results holds, and deleting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_abi_audit.cache.store import clear, default_folder, show
from torch_abi_audit.commands.messages import refuse, say_it
from torch_abi_audit.errors import AuditError
from torch_abi_audit.wording import count

if TYPE_CHECKING:
    import argparse

    from torch_abi_audit.arguments.parser import Parser


def run(options: argparse.Namespace, _parser: Parser) -> int:
    """Say what is in the cache, or delete it; return the exit code."""
    try:
        folder = options.cache_dir or default_folder()
        if options.action == "clear":
            return say_it(f"{folder}: {clear(folder) / 1e6:.1f} MB deleted")
        entries, size = show(folder)
    except AuditError as error:
        return refuse(str(error))
    number = count(entries.get("facts", 0), "wheel")
    return say_it(f"{folder}: results for {number}, {size / 1e6:.1f} MB")
