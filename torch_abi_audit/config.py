"""The configuration: `[tool.torch-abi-audit]` in `pyproject.toml`."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from torch_abi_audit.budget import LIMITS, parse_amount
from torch_abi_audit.claims.torch_build import TorchBuild, parse_torch_build
from torch_abi_audit.errors import AuditError, reason_of
from torch_abi_audit.model import Check, Ignore, StrictIgnores
from torch_abi_audit.rules import RULES, UNSTABLE_ABI
from torch_abi_audit.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_MENTION = r"(?i)torch.{0,9}abi"
_NAME = "torch-abi-audit"
TABLE = f"tool.{_NAME}"
_MAX_BYTES = 16 << 20
BOTH = "both"  # checks, as spelled in 0.3.0
REQUIRABLE = ("torch",)


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration; values are None or empty if not set.

    Attributes:
        path: The file.
        check: See `Options.check`.
        strict: See `Options.strict`.
        verify: See `Options.verify`.
        torch: See `Options.torch`.
        torch_build: See `Options.torch_build`.
        min_torch: See `Options.min_torch`.
        ignore: The findings that are ignored, including those of `migrating`.
        strict_ignores: See `Options.strict_ignores`.
        require: What targets have to use: torch; see `Options.require_torch`.
        limit: The limits that differ from the defaults, by name; see `Options.limits`.
    """

    path: Path | None = None
    check: tuple[Check, ...] = ()
    strict: bool = False
    require_stable: bool = False
    verify: bool = False
    torch: SpecifierSet | None = None
    torch_build: TorchBuild | None = None
    min_torch: Version | None = None
    ignore: tuple[Ignore, ...] = ()
    strict_ignores: StrictIgnores | None = None
    require: tuple[str, ...] = ()
    limit: Mapping[str, int] = field(default_factory=dict)


def find_config(folder: Path) -> Config:
    """Read the configuration from the nearest `pyproject.toml` that has one, from a folder upwards.

    Raises:
        AuditError: The file can't be read.
    """
    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if _is_file(path) and (table := _table(path)) is not None:
            return _config(path, table)
    return Config()


def read_config(path: Path) -> Config:
    """Read the configuration in a file.

    Raises:
        AuditError: The file can't be read, or has no configuration.
    """
    table = _table(path)
    if table is None:
        raise AuditError(f"{path}: no [{TABLE}] table")
    return _config(path, table)


def _is_file(path: Path) -> bool:
    """Whether a file exists.

    Raises:
        AuditError: The system does not say, so there may be a configuration.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise AuditError(reason_of(error)) from error


def _table(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AuditError(f"{path}: larger than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")  # Windows editors write a byte-order mark
        if not re.search(_MENTION, text):
            return None
        import tomllib  # noqa: PLC0415 -- the import costs more than most projects need

        tool = tomllib.loads(text).get("tool")
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{path}: {error}") from error
    if not isinstance(tool, dict):
        return None
    for name in tool:
        if name != _NAME and re.sub(r"[^a-z]", "", name.lower()) == "torchabiaudit":
            raise AuditError(f"{path}: unknown table [tool.{name}] (did you mean [{TABLE}]?)")
    return tool.get(_NAME)


def _config(path: Path, table: Any) -> Config:
    try:
        return parse_config(table, path)
    except AuditError as error:
        raise AuditError(f"{path}: [{TABLE}]: {error}") from error


def parse_config(table: Any, path: Path | None = None) -> Config:
    """Check a configuration table.

    Args:
        table: The parsed TOML.
        path: The file that it comes from.

    Raises:
        AuditError: A key is unknown, or its value is invalid.
    """
    values = _keys(table, _VALUES, "the table")
    reason = "migration to the stable ABI in progress"
    moving = (entry._replace(reason=reason) for entry in values.pop("migrating", ()))
    ignore = (*values.pop("ignore", ()), *moving)
    named = {key.replace("-", "_"): value for key, value in values.items()}
    return Config(path, ignore=ignore, **named)


def parse_ignore(text: str) -> Ignore:
    """Parse an ignore as given in an option: ``RULE[:GLOB][:symbol=PATTERN]``.

    Raises:
        AuditError: There is no such rule, or the text does not have this form.
    """
    rule, found, rest = text.partition(":")
    library, symbol = _patterns(rest) if found else (None, None)
    return Ignore(_rule(rule), "--ignore", library, symbol=symbol)


def parse_migrating(text: str, reason: str = "--migrating") -> Ignore:
    """Parse an ignore of what is being migrated: ``GLOB``, ``symbol=PATTERN``, or both.

    Raises:
        AuditError: The text is neither.
    """
    library, symbol = _patterns(text)
    return Ignore(UNSTABLE_ABI, reason, library, migrating=True, symbol=symbol)


def _patterns(text: str) -> tuple[str | None, str | None]:
    """Return the patterns of libraries and of symbols: ``GLOB``, ``symbol=PATTERN``, or both.

    Ambiguous text is neither: no finding should be ignored by mistake.
    """
    library, found, symbol = f":{text}".partition(":symbol=")
    library = library[1:]
    if found and not symbol:
        raise AuditError(f"{text!r}: no pattern after symbol=")
    if not found and not library:
        raise AuditError("the pattern is empty")
    if "::" in library or library.startswith(("_Z", "?")) or "(" in library:
        raise AuditError(f"{library!r} is no pattern of libraries; for symbols: symbol={library}")
    if re.match(r"\w+=", library) or library.endswith(":"):
        raise AuditError(f"{text!r} is not GLOB, symbol=PATTERN, or GLOB:symbol=PATTERN")
    return library or None, symbol if found else None


def parse_release(text: Any) -> Version:
    """Parse a release of torch.

    Raises:
        AuditError: The text is not a release.
    """
    try:
        return Version(_text(text))
    except InvalidVersion as error:
        raise AuditError(f"{text!r} is not a torch release") from error


def parse_torch(text: Any) -> SpecifierSet:
    """Parse a specifier for torch, or a whole requirement; a bare release stands for itself.

    Raises:
        AuditError: The text is not a specifier.
    """
    said = re.sub(r"^torch(?=\s*[=<>!~])\s*", "", _text(text).strip())
    try:
        return SpecifierSet(f"=={said}" if said[:1].isdigit() else said)
    except InvalidSpecifier as error:
        raise AuditError(str(error)) from error


def _build(value: Any) -> TorchBuild:
    return parse_torch_build(_text(value))


def _keys(table: Any, known: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise AuditError(f"{where} must be a table")
    unknown = sorted(table.keys() - known.keys())
    if unknown:
        raise AuditError(f"unknown key {unknown[0]!r} (expected {', '.join(known)})")
    values = {}
    for key, value in table.items():
        try:
            values[key] = known[key](value)
        except AuditError as error:
            raise AuditError(f"{key}: {error}") from error
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise AuditError("must be a string")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise AuditError("must be true or false")
    return value


def parse_checks(text: str) -> tuple[Check, ...]:
    """Parse checks as given in an option: ``torch``, ``abi3``, both with a comma, or ``both``.

    Raises:
        AuditError: There is no such check.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = next((name for name in names if name not in (*Check, BOTH)), None)
    if unknown is not None:
        choices = ", ".join((*Check, BOTH))
        raise AuditError(f"invalid choice: {unknown!r} (choose from {choices})")
    return tuple(check for check in Check if {check, BOTH} & set(names))


def _checks(value: Any) -> tuple[Check, ...]:
    return parse_checks(",".join(map(_text, value)) if isinstance(value, list) else _text(value))


def _required(value: Any) -> tuple[str, ...]:
    names = list(map(_text, value)) if isinstance(value, list) else [_text(value)]
    for name in names:
        if name not in REQUIRABLE:
            raise AuditError(f"invalid choice: {name!r} (choose from {', '.join(REQUIRABLE)})")
    return tuple(names)


def _rule(value: Any) -> str:
    name = _text(value)
    if name not in RULES:
        hint = did_you_mean(name, RULES)
        raise AuditError(f"unknown rule {name!r}{f' ({hint})' if hint else ''}")
    if not RULES[name].ignorable:
        raise AuditError(f"{name} cannot be ignored")
    return name


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise AuditError("must be a list")
    return value


def _ignores(value: Any) -> tuple[Ignore, ...]:
    return tuple(map(_ignore, _list(value)))


def _ignore(value: Any) -> Ignore:
    values = _keys(value, _IGNORE, "an entry")
    for needed in ("rule", "reason"):
        if needed not in values:
            raise AuditError(f"an entry has no {needed!r}")
    return Ignore(
        rule=values["rule"],
        reason=values["reason"],
        library=values.get("library"),
        until_torch=values.get("until-torch"),
        symbol=values.get("symbol"),
    )


def _limits(value: Any) -> dict[str, int]:
    return _keys(value, dict.fromkeys(LIMITS, _amount), "the table")


def _amount(value: Any) -> int:
    number = isinstance(value, int) and not isinstance(value, bool)
    return parse_amount(str(value) if number else _text(value))


def _migrating(value: Any) -> tuple[Ignore, ...]:
    return tuple(map(_moving, _list(value)))


def _moving(value: Any) -> Ignore:
    """Return an entry of `migrating`: a pattern of libraries, or a table with one of symbols."""
    if isinstance(value, str):
        return parse_migrating(_text(value))
    if not isinstance(value, dict):
        raise AuditError("an entry must be a pattern or a table")
    values = _keys(value, {"library": _text, "symbol": _text}, "an entry")
    if not values:
        raise AuditError("an entry has neither 'library' nor 'symbol'")
    return Ignore(UNSTABLE_ABI, "", migrating=True, **values)


def parse_strict_ignores(value: Any) -> StrictIgnores | None:
    """Parse which ignores fail a run: ``True`` and ``"stale"``, ``"all"``, or none.

    Raises:
        AuditError: The value is something else.
    """
    if value is None or isinstance(value, bool):
        return StrictIgnores.STALE if value else None
    if value not in tuple(StrictIgnores):
        raise AuditError('must be true, false, "stale" or "all"')
    return StrictIgnores(value)


_VALUES: dict[str, Callable[[Any], Any]] = {
    "check": _checks,
    "strict": _flag,
    "require-stable": _flag,
    "verify": _flag,
    "torch": parse_torch,
    "torch-build": _build,
    "min-torch": parse_release,
    "ignore": _ignores,
    "migrating": _migrating,
    "strict-ignores": parse_strict_ignores,
    "require": _required,
    "limit": _limits,
}
_IGNORE: dict[str, Callable[[Any], Any]] = {
    "rule": _rule,
    "reason": _text,
    "library": _text,
    "until-torch": parse_release,
    "symbol": _text,
}
