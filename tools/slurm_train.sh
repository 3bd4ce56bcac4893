#!/usr/bin/env bash
# Train on a cluster: one process a GPU, started by srun.
set -euo pipefail

if (($# < 4)); then
    cat >&2 <<'USAGE'
Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENTS OF train.py]
  In the environment:
    GPUS           in all, one process each              (default 8)
    GPUS_PER_NODE  on each machine                       (default 8)
    CPUS_PER_TASK  for each process                      (default 5)
    SRUN_ARGS      more arguments of srun                (default none)
    MASTER_PORT    a port of the first machine, free     (default 29500)
  The processes meet at the first machine of the job's list.
Example: GPUS=16 tools/slurm_train.sh gpu hint configs/frcnn_kd.py work_dirs/hint --amp
USAGE
    exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
gpus_per_node=${GPUS_PER_NODE:-8}
read -ra srun_args <<<"${SRUN_ARGS:-}"
exec srun \
    --partition "$partition" \
    --job-name "$job_name" \
    --gres "gpu:$gpus_per_node" \
    --ntasks "${GPUS:-8}" \
    --ntasks-per-node "$gpus_per_node" \
    --cpus-per-task "${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    python -u "$root/tools/train.py" "$config" \
    --work-dir "$work_dir" --launcher slurm "$@"
