"""Many wheels at once: which releases of a package work with which torch, and how packages fare.

Everything here is a pure function over records of audited wheels; who fetches the wheels, and
where records are kept, is of no concern.
"""

from torch_abi_audit.survey.wheel import FailedRule, TorchCell, WheelRecord, record_of

__all__ = ["FailedRule", "TorchCell", "WheelRecord", "record_of"]
