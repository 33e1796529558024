#!/usr/bin/env bash
# All that is worth measuring where a GPU is at hand for some minutes, in order of worth, each part with a time limit of
# its own: a part that fails or is cut off leaves what it wrote, and the next begins.
#
#   benchmarks/on_gpu.sh FOLDER              # half an hour at most
#   SMALL=1 benchmarks/on_gpu.sh FOLDER      # the same commands at sizes that a CPU makes in minutes
#   PARTS="learning_mt10 profile" benchmarks/on_gpu.sh FOLDER
#
# Leaves JSON lines, tables and logs in FOLDER, and the runs without what only going on needs, for
# `python -m benchmarks.training --record FOLDER/runs/NAME`; results.tgz holds all of it.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(mkdir -p "${1:?a folder for the results}" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD"
parts=${PARTS:-throughput learning_mt10 loops learning_mt50 profile pixels soak}

# Lanes and limits; a step of MT50 takes most of a minute to compile the first time, and all parts share what is kept.
if [ "${SMALL:-}" ]; then
  patience=10 lanes="64 128" one=128 loop=32 pictures=8 soaked=64 soak_steps=2e4 seconds=0.5
  fast=(--env-steps 1000 --eval-every 500 --eval-goals 1 --set num_envs=50 horizon=4 updates=2 batch_per_task=8
    "actor_hidden=[16]" "critic_hidden=[16]" replay_size=2000 warmup_steps=200)
else
  patience=1 lanes="4096 16384 65536" one=16384 loop=4096 pictures=4096 soaked=16384 soak_steps=1e9 seconds=5
  fast=()
fi

part() { # name, seconds, command...
  local name=$1 limit=$((patience * $2)) start=$SECONDS status=0
  shift 2
  timeout --signal=INT --kill-after=20 "$limit" "$@" >"$folder/$name.log" 2>&1 || status=$?
  echo "{\"part\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - start))}" | tee -a "$folder/parts.jsonl"
}

learn() { # tasks, seconds
  part "learning_$1" "$2" "$python" -m mjx_metaworld.cli.main train "$1" --algo fastsac --preset "$1-fastsac-gpu" \
    --output "$work/$1" "${fast[@]}"
  mkdir -p "$folder/runs/$1"
  (cd "$work/$1" && cp -r run.json metrics.jsonl best ./*.png "$folder/runs/$1/") 2>>"$folder/learning_$1.log"
}

throughput() {
  part throughput 150 "$python" -m benchmarks.throughput --tasks MT50 --num-envs $lanes --seconds $seconds \
    --output "$folder/throughput.jsonl"
  part throughput_pick_place 60 "$python" -m benchmarks.throughput --tasks pick-place-v3 --num-envs $one \
    --seconds $seconds --output "$folder/throughput.jsonl"
}
learning_mt10() { learn MT10 300; }
learning_mt50() { learn MT50 480; }
loops() { part loops 200 "$python" -m benchmarks.loops --tasks MT10 --num-envs $loop --rounds 3 --output "$folder/loops.jsonl"; }
profile() { part profile 120 "$python" -m benchmarks.profile --num-envs $one --output "$folder/profile.jsonl"; }
pixels() { part pixels 180 "$python" -m benchmarks.pixels --sizes 64 480 --num-envs $pictures; }
soak() {
  part soak 180 "$python" -m benchmarks.soak --steps $soak_steps --num-envs $soaked --devices 1 --folder "$work/soak" \
    --results "$folder/soak.json" --document None
}

"$python" -c 'import jax; print(jax.devices(), jax.__version__)' | tee "$folder/device.txt"
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee -a "$folder/device.txt"
fi
for each in $parts; do "$each"; done
tar -C "$folder" --exclude results.tgz -czf "$work/results.tgz" . && mv "$work/results.tgz" "$folder/"
