"""Clouds of known dimension that a cloud is compared with: `clouds` ◄ `statistics` ◄ `table`."""

__all__: list[str] = []


def __dir__() -> list[str]:
    return list(__all__)
