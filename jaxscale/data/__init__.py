"""Sources to device-ready arrays."""

from jaxscale.data.batches import Batches, evaluation_windows
from jaxscale.data.corpora import documents
from jaxscale.data.passages import Document
from jaxscale.data.store import Split, Store, open_store, prepare

__all__ = ["Batches", "Document", "Split", "Store", "documents", "evaluation_windows", "open_store", "prepare"]


def __dir__() -> list[str]:
    return list(__all__)
