#!/bin/bash
# Trains on two machines with eight GPUs each, and goes on by itself after the time limit:
#   sbatch scripts/slurm.sh model=edsr data=streaming data.shards.folder=s3://bucket/div2k data.batch_size=256
# What follows the script's name are overrides, as for `python -m sr_lightning.train`.
#
#SBATCH --job-name=sr_lightning
#SBATCH --nodes=2
# One process for each GPU. Not --ntasks: Lightning refuses it, because it does not say how many run on a node.
#SBATCH --ntasks-per-node=8
# All GPUs of a node are visible to each of its processes; process n takes GPU n. So no --gpus-per-task.
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the limit every process gets SIGUSR1 (without "B:", which would tell only this script): the run
# finishes its step, saves it in last.ckpt and ends with status 138. A step has to be shorter than that.
#SBATCH --signal=SIGUSR1@300
# The job may be put back into the queue: by this script after 138, and by SLURM after a node has failed.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -u

# A name that is the same after every restart, on a file system that all nodes share.
run="runs/train/slurm-$SLURM_JOB_ID"

# Decoded pictures are made once on the shared file system. Where that is slow, and for shards from an object store, give
# each node a cache of its own (one process fills it, the others of the node wait):
#   export SR_CACHE=/local/scratch/$USER/sr_cache
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"

if [ -e "$run/.hydra/config.yaml" ]; then
  # The run's own config counts; the same global batch, schedule and samples, whatever the number of devices.
  what=("ckpt_path=$run")
else
  what=(trainer=ddp "trainer.num_nodes=$SLURM_JOB_NUM_NODES" "hydra.run.dir=$run" "$@")
fi

# A process that dies would leave the others waiting for it: five minutes after the first has ended, the rest is ended
# too. Not at once (--kill-on-bad-exit=1): that would hit those that are about to end with 138 themselves.
srun --kill-on-bad-exit=0 --wait=300 python -m sr_lightning.train "${what[@]}"
status=$?

# 138 is 128 + SIGUSR1: saved because the time was up (or ended by it before the first step). Anything else, done or
# failed, is final: a failure would only be repeated.
if [ "$status" -eq 138 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
