"""`torch-abi-audit repair`: write wheels with metadata that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch_abi_audit.abi import demangler
from torch_abi_audit.commands.messages import complain, refuse, say_it
from torch_abi_audit.commands.settings import configuration, expand, options_of
from torch_abi_audit.errors import AuditError
from torch_abi_audit.repair import difference, plan_repairs, write
from torch_abi_audit.report.escape import plain_text
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_UNSAFE
from torch_abi_audit.wording import last_part

if TYPE_CHECKING:
    import argparse

    from torch_abi_audit.arguments.parser import Parser
    from torch_abi_audit.audit import Options
    from torch_abi_audit.repair import Repair


def run(options: argparse.Namespace, _parser: Parser) -> int:
    """Write the wheels that are named with metadata that fits."""
    chosen = None if options.require_torch is None else f"torch{options.require_torch}"
    try:
        # Whatever releases audits check against: what is written are claims about all of them.
        checking = replace(options_of(options, configuration(options, whole=False)), torch=None)
        repairs = plan_repairs([*map(Path, expand(options.wheels))], checking, chosen)
    except AuditError as error:
        return refuse(str(error))
    if not demangler.AVAILABLE:
        complain(demangler.NOTICE)
    codes = {_repair_one(item, options, checking) for item in repairs}
    return max(codes)


def _repair_one(item: Repair, options: argparse.Namespace, checking: Options) -> int:
    """Write a wheel, or show what would change in it; return the exit code."""
    name, output = last_part(str(item.wheel)), options.wheel_dir / item.output
    if item.refused is not None:
        complain(f"{name}: not repaired: {item.refused}")
        return EXIT_ERROR if item.failed else EXIT_UNSAFE
    lines: list[str] = []
    try:
        if options.dry_run:
            lines += difference(item, checking)
        else:
            write(item, options.wheel_dir, checking)
    except AuditError as error:
        return refuse(f"{name}: not repaired: {error}")
    done = "passes as it is" if item.change is None else ", ".join(item.change.lines)
    return say_it("\n".join(map(plain_text, (f"{name} -> {output}: {done}", *lines))))
