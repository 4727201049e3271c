#!/usr/bin/env bash
# Every study on manifolds that docs/results.md and docs/known_geometry.md speak of, and their tables: two to three hours
# of two cores. Goes on where it stopped.
#
# bash benchmarks/geometry.sh [FOLDER]      # runs/geometry
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-runs/geometry}
# One host device for each core, and memory in large pages.
cores=$(nproc)
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$cores"
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
PATH=$PWD/.venv/bin:$PATH

study() {
  jaxscale study "configs/manifold_$2.py" "${@:3}" --workdir "$folder/manifold_$1"
}
# Three seeds and one width, as everything that is held against "softmax" has.
small=(--seeds 0 1 2 --training.widths 16)

for d in 1 2 3; do study "sphere$d" regression --dimension "$d"; done
study sphere5 regression --dimension 5 "${small[@]}"
study beta_half regression --target.beta 0.5 "${small[@]}"
study torus regression --manifold torus "${small[@]}"
study product regression --manifold product --dimension 3 "${small[@]}"
study roll regression --manifold swiss_roll "${small[@]}"
for mixer in softmax window relu convolution state_space mlp; do study $mixer architectures --network.mixer $mixer; done
for D in 4 64 256; do study "ambient$D" ambient --ambient "$D"; done
for scale in 0.03 0.1 0.3; do study "noise_$scale" noise --point-noise $scale; done
study heavy_tails noise --point-noise 0.1 --point-noise-kind student_t
for classes in 2 16; do study "classes$classes" cross_entropy --target.classes $classes; done
study language language
study parameters parameters
study compute compute

compare() {
  local name=$1 studies=()
  for one in softmax "${@:2}"; do studies+=("$folder/manifold_$one"); done
  jaxscale compare "${studies[@]}" --workdir "$folder/compare_$name"
}
compare architectures window relu convolution state_space mlp
compare ambient ambient4 ambient64 ambient256
compare noise noise_0.03 noise_0.1 noise_0.3 heavy_tails

python benchmarks/claims.py --keep "$folder"/manifold_* "$folder"/compare_*
