#!/usr/bin/env bash
# One jaxscale command on every worker of a Cloud TPU slice, which is made if it is not there.
#
#     launch/tpu_pod.sh --name scaling --zone us-west4-a --type v5litepod-16 -- \
#         train configs/gpt2_small.py --workdir /mnt/runs/gpt2 --mesh.replica 1 --mesh.fsdp -1
#     launch/tpu_pod.sh … --dry-run -- train …    # print exactly what would be run, run nothing
#     launch/tpu_pod.sh … --delete                # give the slice back
#
# What is committed in this repository is copied to the workers and installed there. The work folder must be one that all
# workers share, such as a mounted bucket: --mount BUCKET puts one at /mnt/runs. When a spot slice is taken away, the same
# command makes another, and the run goes on from its last checkpoint. The exit code is that of the jaxscale command.
set -euo pipefail

refuse() {
  echo "tpu_pod.sh: $1" >&2
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

name='' zone='' type='' project='' version='' bucket='' dry='' delete='' create=()
while [ $# -gt 0 ]; do
  case $1 in
    --name | --zone | --type | --project | --version | --mount)
      [ $# -gt 1 ] || refuse "$1 needs a value."
      option=${1#--}
      [ "$option" = mount ] && option=bucket
      printf -v "$option" %s "$2"
      shift
      ;;
    --spot) create+=(--spot) ;;
    --dry-run) dry=yes ;;
    --delete) delete=yes ;;
    --)
      shift
      break
      ;;
    *) refuse "unknown option $1. What jaxscale is to do follows after --." ;;
  esac
  shift
done
[ -n "$name" ] || refuse "--name is needed: of the slice, your choice."
[ -n "$zone" ] || refuse "--zone is needed: where the slice is, such as us-west4-a."
if [ -z "$delete" ]; then
  [ -n "$type" ] || refuse "--type is needed: such as v5litepod-16, v5p-32, v6e-16."
  [ $# -gt 0 ] || refuse "say what jaxscale is to do: -- train CONFIG --workdir FOLDER."
fi
case $type in
  v6e-*) version=${version:-v2-alpha-tpuv6e} ;;
  v5p-*) version=${version:-v2-alpha-tpuv5} ;;
  v5litepod-*) version=${version:-v2-alpha-tpuv5-lite} ;;
  *) version=${version:-tpu-ubuntu2204-base} ;;
esac
slice=(gcloud compute tpus tpu-vm)
where=("$name" --zone "$zone" --quiet ${project:+--project "$project"})

# Runs a command, or prints it as a shell would read it.
run() {
  if [ -n "$dry" ]; then
    echo "${*@Q}"
  else
    "$@"
  fi
}
on_all() { run "${slice[@]}" ssh "${where[@]}" --worker=all --command "$1"; }

if [ -n "$delete" ]; then
  run "${slice[@]}" delete "${where[@]}"
  exit
fi

state=''
[ -n "$dry" ] || state=$("${slice[@]}" describe "${where[@]}" --format 'value(state)' 2>/dev/null) || true
case $state in
  READY) ;;
  '' | PREEMPTED | TERMINATED) # a slice that was taken away keeps its name until it is deleted
    [ -z "$state" ] || run "${slice[@]}" delete "${where[@]}"
    run "${slice[@]}" create "${where[@]}" --accelerator-type "$type" --version "$version" ${create[@]+"${create[@]}"}
    ;;
  *)
    echo "tpu_pod.sh: slice $name is $state. Wait until it is READY, or give it back with --delete." >&2
    exit 1
    ;;
esac

archive=jaxscale.tar.gz
here=$(cd "$(dirname "$0")/.." && pwd)
run git -C "$here" archive --output "${TMPDIR:-/tmp}/$archive" HEAD
run "${slice[@]}" scp "${TMPDIR:-/tmp}/$archive" "$name:" "${where[@]:1}" --worker=all
on_all "mkdir -p jaxscale && tar -xzf $archive -C jaxscale && cd jaxscale &&
  { [ -x .venv/bin/jaxscale ] || python3 -m venv .venv; } && .venv/bin/pip install --quiet --editable '.[tpu]'"
if [ -n "$bucket" ]; then
  on_all "sudo mkdir -p /mnt/runs && sudo chown \$USER /mnt/runs &&
    { mountpoint -q /mnt/runs || gcsfuse --implicit-dirs ${bucket@Q} /mnt/runs; }"
fi

# auto: where the others are and which worker this is, jax learns from the machine.
on_all "cd jaxscale && JAXSCALE_COORDINATOR=auto .venv/bin/jaxscale ${*@Q}"
