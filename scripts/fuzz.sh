#!/bin/bash
# Fuzz everything that reads foreign bytes, one target after another.
#
#   fuzz.sh [SECONDS] [TARGET...]      60 seconds each, and all targets, unless said
#
# A finding is kept in fuzz/artifacts/TARGET; `cargo fuzz run TARGET FILE` shows it again.
# What was learnt stays in fuzz/corpus/TARGET for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
shift || true
targets=("$@")
((${#targets[@]})) || targets=(packet sflow_datagram pcap_stream gremlin)

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
mkdir -p fuzz/corpus
cargo run --quiet --locked -p flowtap-flow --example fuzz-seeds -- \
    fuzz/corpus fuzz/queries.txt benches/lab-mix.pcap.gz fixtures/*.pcap

# Sanitizers are a feature of unreleased compilers; this lets the released one have them too.
export RUSTC_BOOTSTRAP=1
# Not the directory that ordinary builds use, whatever is set: these have other flags.
export CARGO_TARGET_DIR=$PWD/fuzz/target
failed=()
for target in "${targets[@]}"; do
    echo "== $target: $seconds s"
    options=(-max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1)
    # Inputs longer than a jumbo frame say nothing new.
    options+=(-max_len=10000)
    [[ $target != gremlin ]] || options+=(-dict=fuzz/gremlin.dict -only_ascii=1)
    cargo fuzz run "$target" -- "${options[@]}" || failed+=("$target")
done
((${#failed[@]} == 0)) || { echo "fuzz: findings in ${failed[*]}: see fuzz/artifacts" >&2; exit 1; }
