#!/bin/sh
# On a machine with an NVIDIA GPU: the compiled kernels against the ordinary program bit for bit, then the benchmarks.
# Where jax compiles the kernel for Mosaic GPU (jax 0.12, compute capability 9.0), the benchmarks in bfloat16 run that
# one, and that for Triton elsewhere.
#
#   PYTHON=.venv/bin/python benchmarks/gpu.sh [flags of dimension_gpu.py]
#
# The interpreter needs jax for CUDA (pip install -e '.[cuda]'), numpy, absl-py, chex and pytest; no CUDA toolkit.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv
"$python" -c 'import jax; assert jax.default_backend() == "gpu", jax.devices(); print(jax.__version__, jax.devices())'
"$python" -m pytest --noconftest -q tests/dimension/test_fused_products.py
"$python" benchmarks/dimension_gpu.py "$@"
# PyTorch is the peer of a training step; without it there is nothing to compare with.
if "$python" -c 'import torch' 2>/dev/null; then
  "$python" benchmarks/training.py --models gpt2 1.3B --threads 0 --out benchmarks/results/training_gpu.json
fi
