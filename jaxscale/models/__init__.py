"""Pure forward passes: `(params, tokens) -> logits`, and the embeddings inside them."""

from jaxscale.models.decoder import Decoder, matmul_flops_per_token
from jaxscale.models.embeddings import Embeddings, embed

__all__ = ["Decoder", "Embeddings", "embed", "matmul_flops_per_token"]
