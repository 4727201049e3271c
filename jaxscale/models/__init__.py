"""Pure forward passes: `(params, tokens) -> logits`, and the embeddings inside them."""

from jaxscale.models.decoder import Decoder, Execution, matmul_flops_per_token
from jaxscale.models.embeddings import Embeddings, embed
from jaxscale.models.hidden_states import Pretrained, pretrained
from jaxscale.models.language_models import LanguageModel, language_model

__all__ = [
    "Decoder",
    "Embeddings",
    "Execution",
    "LanguageModel",
    "Pretrained",
    "embed",
    "language_model",
    "matmul_flops_per_token",
    "pretrained",
]


def __dir__() -> list[str]:
    return list(__all__)
