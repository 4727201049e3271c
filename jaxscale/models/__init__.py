"""Pure forward passes: `(params, tokens) -> logits`."""

from jaxscale.models.decoder import Decoder, matmul_flops_per_token

__all__ = ["Decoder", "matmul_flops_per_token"]
