"""What commands print with `--json`."""

import json
import math
from typing import Any


def print_json(value: Any) -> None:
    """One JSON document; numbers that JSON does not have become null."""
    print(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
