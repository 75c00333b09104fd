#!/bin/bash
# A study on the nodes of a Slurm allocation: the head node runs the driver, every node trains.
#   start           sbatch FILE; again to go on, also after it was cancelled
#   what it says    kdstudy-JOB.log, in the folder where sbatch was called
#   how it stands   kdstudy status DIR, from any machine that sees the storage
#   results         DIR below
# This package is installed in the environment that is active where sbatch is called.
#SBATCH --job-name=kdstudy
#SBATCH --nodes=@{nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=@{cpus}
#SBATCH --gpus-per-node=@{gpus}
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --output=kdstudy-%j.log
# a minute before the end, trials come to an evaluation; then the job is queued again and goes on
#SBATCH --signal=B:TERM@@60
#SBATCH --requeue
set -euo pipefail

STUDY=@{study}
DIR=@{out}
PORT=6379

# everyone who has the token may run code as you: it is made anew for each job and only you can read it
umask 077
mkdir -p "$DIR.ray"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$DIR.ray/token-$SLURM_JOB_ID" RAY_USAGE_STATS_ENABLED=0
head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH"

mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NODES[0]}
ADDRESS=$(srun --nodes=1 --ntasks=1 -w "$HEAD" hostname --ip-address | awk '{print $1}')

# a short folder on the node's own disk: the paths of Ray's sockets must be short
ray_on() {
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --overlap -w "$node" ray start "$@@" --block --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus=@{gpus} --disable-usage-stats &
}
# the processes of trials live on the head node, one "trial_driver" each, and take no CPU from their workers
ray_on "$HEAD" --head --node-ip-address="$ADDRESS" --port="$PORT" --dashboard-host=127.0.0.1 \
  --resources='{"trial_driver": 1000}'
for _ in $(seq 60); do
  ray health-check --address "$ADDRESS:$PORT" > /dev/null 2>&1 && break
  sleep 1
done
for node in "${NODES[@@]:1}"; do
  ray_on "$node" --address="$ADDRESS:$PORT"
done

# the driver joins by the head node's address; nodes that come up later are used as they come
if [[ -e $DIR/study.json ]]; then
  kdstudy resume "$DIR" --address "$ADDRESS:$PORT" &
else
  kdstudy run "$STUDY" --out "$DIR" --set "teacher.folder=$(dirname "$DIR")/teachers" --address "$ADDRESS:$PORT" &
fi
DRIVER=$!
STOPPED=0
trap 'STOPPED=1; kill -TERM "$DRIVER"' TERM
CODE=0
wait "$DRIVER" || CODE=$?
if [[ $STOPPED = 1 ]]; then
  wait "$DRIVER" || CODE=$?
  scontrol requeue "$SLURM_JOB_ID"
fi
rm -f "$RAY_AUTH_TOKEN_PATH"
exit "$CODE"
