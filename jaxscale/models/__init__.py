"""Pure forward passes: `(params, tokens) -> logits`, and the embeddings inside them."""

from jaxscale.models.decoder import Decoder, Execution, matmul_flops_per_token
from jaxscale.models.embeddings import Embeddings, embed

__all__ = ["Decoder", "Embeddings", "Execution", "embed", "matmul_flops_per_token"]


def __dir__() -> list[str]:
    return list(__all__)
