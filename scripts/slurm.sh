#!/bin/bash
# Trains on two machines with eight GPUs each, and resumes automatically after the time limit:
#   sbatch scripts/slurm.sh model=edsr data=streaming data.shards.folder=s3://bucket/div2k data.batch_size=256
# Arguments after the script's name are overrides, as for `python -m sr_lightning.train`.
#
#SBATCH --job-name=sr_lightning
#SBATCH --nodes=2
# One process per GPU. Not --ntasks: Lightning refuses it, as it does not set the number per node.
#SBATCH --ntasks-per-node=8
# All GPUs of a node are visible to each of its processes; process n uses GPU n. So no --gpus-per-task.
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the limit, every process gets SIGUSR1 (with "B:", only this script would): the run finishes its
# step, saves last.ckpt and ends with status 138. A step has to take less than those five minutes.
#SBATCH --signal=SIGUSR1@300
# Allows the job to be requeued: by this script after status 138, and by SLURM after a node failure.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -u

# A name that stays the same across restarts, on a file system shared by all nodes.
run="runs/train/slurm-$SLURM_JOB_ID"

# Images are decoded once, to the shared file system. If that is slow, or for shards from an object store, give each
# node a cache of its own (one process fills it while the others on the node wait):
#   export SR_CACHE=/local/scratch/$USER/sr_cache
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"

if [ -e "$run/.hydra/config.yaml" ]; then
  # The run's own config applies, with the same global batch, schedule and samples for any number of devices.
  what=("ckpt_path=$run")
else
  what=(trainer=ddp "trainer.num_nodes=$SLURM_JOB_NUM_NODES" "hydra.run.dir=$run" "$@")
fi

# If a process dies, the others would wait for it forever, so they are killed five minutes after the first has ended.
# Not immediately (--kill-on-bad-exit=1), as that would hit those about to exit with 138 themselves.
srun --kill-on-bad-exit=0 --wait=300 python -m sr_lightning.train "${what[@]}"
status=$?

# 138 is 128 + SIGUSR1: the run was saved because time was up (or was ended by the signal before its first step). Any
# other status, success or failure, is final: a failure would only be repeated.
if [ "$status" -eq 138 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
