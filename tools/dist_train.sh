#!/usr/bin/env bash
# Train in several processes on each of one or more machines, by torchrun.
set -euo pipefail

if (($# < 2)); then
    cat >&2 <<'USAGE'
Usage: tools/dist_train.sh CONFIG PROCESSES [ARGUMENTS OF tools/train.py]
  PROCESSES is the number on this machine: one for each of its GPUs; without any, gloo
  joins them on the CPU.
  With several machines, run it on each, with these in the environment:
    NNODES       how many there are                      (default 1)
    NODE_RANK    which of them this is, from 0           (default 0)
    MASTER_ADDR  address of the first                    (default 127.0.0.1)
    PORT         a port of the first, free               (default 29500)
Example: tools/dist_train.sh configs/frcnn_kd.py 2 --work-dir work_dirs/two
USAGE
    exit 2
fi
config=$1
processes=$2
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m torch.distributed.run \
    --nnodes "${NNODES:-1}" \
    --node_rank "${NODE_RANK:-0}" \
    --master_addr "${MASTER_ADDR:-127.0.0.1}" \
    --master_port "${PORT:-29500}" \
    --nproc_per_node "$processes" \
    "$root/tools/train.py" "$config" --launcher pytorch "$@"
