"""A finished run as a folder that transformers, and `models.gpt2`, read.

export("runs/one", "runs/one/corpus", "gpt2-one/")        # config.json, model.safetensors, tokenizer.json
"""

import os
import pathlib
from typing import Any

import jax

from jaxscale import config as configs
from jaxscale import files, sharding
from jaxscale.data import tokenizers
from jaxscale.models import gpt2
from jaxscale.training.checkpoints import restore_params
from jaxscale.training.step import program


def export(
    workdir: str | os.PathLike[str], corpus: str | os.PathLike[str], out: str | os.PathLike[str]
) -> dict[str, Any]:
    """Writes the parameters at a run's validation minimum, and its tokenizer, in the format of GPT-2.

    Args:
      workdir: folder of a finished run.
      corpus: folder of the corpus it was trained on, where its tokenizer lies.
      out: folder to write, made if need be.

    Returns:
      What was written, as plain values.

    Raises:
      InputError: the run's model is no GPT-2 (the field is named), or the folder cannot be made.
      RunError: the disk is full, or the folder cannot be written to.
    """
    folder, out = pathlib.Path(workdir), pathlib.Path(out)
    run = configs.of_folder(folder, configs.Run)
    gpt2.check(run.model)
    tokenizer = tokenizers.load(run.tokenizer, corpus)
    alone = program(run, tokenizer.vocab_size, sharding.make_mesh(configs.Mesh(), jax.devices()[:1]))
    step = files.read_json(folder / "summary.json", fields=("step",))["step"]
    with files.whole_folder(out) as part:
        params = restore_params(folder / "checkpoints", step, alone.abstract.params)
        gpt2.write(part, run.model, params)
        files.write_text(part / "tokenizer.json", tokenizers.published(tokenizer).to_str(pretty=True))
        named = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": run.model.context}
        files.write_json(part / "tokenizer_config.json", named | {"eos_token": tokenizers.END_OF_TEXT})
    return {"folder": str(out), "step": step, "parameters": sum(leaf.size for leaf in jax.tree.leaves(params))}
