#!/bin/bash
# Several workers by SLURM, one a node:  FOLDER=/shared/run_1 sbatch docs/cluster/slurm_train.sh
# When a worker fails, all end; the job is queued again, and goes on from the last backup.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --open-mode=append

FIRST_PORT=${FIRST_PORT:-2222}
# A port of its own for each worker: they may share a node.
HOSTS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" |
  awk -v port="$FIRST_PORT" '{printf "%s:%d ", $0, port + NR - 1}')
export HOSTS

srun --kill-on-bad-exit=1 sh -c \
  'INDEX=$SLURM_PROCID exec sh docs/cluster/worker.sh python docs/cluster/train.py --folder "$FOLDER" '"$*" || {
  echo "A worker failed: queueing job $SLURM_JOB_ID again, for time ${SLURM_RESTART_COUNT:-0} + 1."
  [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ] && scontrol requeue "$SLURM_JOB_ID"
  exit 1
}
