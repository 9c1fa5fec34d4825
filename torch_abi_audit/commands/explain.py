"""`torch-abi-audit explain` and `schema`: what rules, symbols and reports mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from torch_abi_audit.commands.messages import complain, refuse, say_it
from torch_abi_audit.report.explain import explain, explain_symbol, is_symbol, list_rules
from torch_abi_audit.report.schema import DocumentName, schema_text
from torch_abi_audit.rules import RULES
from torch_abi_audit.verdict.policy import EXIT_ERROR, EXIT_SAFE
from torch_abi_audit.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


def explain_names(names: Sequence[str]) -> int:
    """Print what rules mean, or what replaces a symbol; without a name list all rules."""
    if {"-h", "--help"} & set(names):
        return say_it("usage: torch-abi-audit explain [RULE or C++ SYMBOL ...]")
    unknown = [name for name in names if name not in RULES and not is_symbol(name)]
    for name in unknown:
        hint = did_you_mean(name, RULES) or "`torch-abi-audit explain` lists them"
        complain(f"unknown rule {name!r} ({hint})")
    known = [name for name in names if name not in unknown]
    code = EXIT_SAFE
    if known:
        said = (explain(RULES[n]) if n in RULES else explain_symbol(n) for n in known)
        code = say_it("\n".join(said))
    elif not names:
        code = say_it(list_rules(RULES.values()))
    return EXIT_ERROR if unknown else code


def print_schema(more: Sequence[str]) -> int:
    """Print the JSON Schema of the report, or of another document."""
    names: tuple[DocumentName, ...] = get_args(DocumentName)
    said = f"usage: torch-abi-audit schema [{' | '.join(names)}]"
    if {"-h", "--help"} & set(more):
        return say_it(said)
    chosen = [name for name in names if name == (more[0] if more else names[0])]
    if len(more) > 1 or not chosen:
        return refuse(said)
    return say_it(schema_text(chosen[0]).rstrip())
