#!/bin/bash
# A search by keras-tuner on SLURM:  FOLDER=/shared/search_1 sbatch docs/cluster/slurm_tune.sh
# The first task is the chief, which hands out trials and trains none; the others are its workers.
#SBATCH --ntasks=9
#SBATCH --cpus-per-task=2

KERASTUNER_ORACLE_IP=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export KERASTUNER_ORACLE_IP KERASTUNER_ORACLE_PORT=${KERASTUNER_ORACLE_PORT:-2221}

srun sh -c '
  if [ "$SLURM_PROCID" = 0 ]; then KERASTUNER_TUNER_ID=chief
  else KERASTUNER_TUNER_ID=worker$SLURM_PROCID; fi
  export KERASTUNER_TUNER_ID
  exec python docs/cluster/tune.py --folder "$FOLDER" '"$*"
