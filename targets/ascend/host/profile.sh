#!/usr/bin/env bash
# Profiles one stored case of a kernel with msprof, beside the cycles that the documented rates give:
#
#   ./profile.sh NAME [CASE]               on a board; NAME is a kernel of vectors/kernels, CASE 0 unless given
#   ./profile.sh --simulator NAME [CASE]   in the simulator of CANN
#
# Needs ./run_kernel (build.sh), vectors/kernels (dsv4c vectors), and CANN's set_env.sh sourced.
set -euo pipefail
cd "$(dirname "$0")"
soc=@SOC@
how=(op)
if [ "${1:-}" = --simulator ]; then
    how=(op simulator "--soc-version=$soc")
    shift
fi
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cases=(vectors/kernels/"$1"*/"${2:-0}")
case=${cases[0]}
[ -f "$case/case.json" ] || { echo "$0: no case $case; ./run_kernel lists them" >&2; exit 2; }

[ -x run_kernel_emulated ] || make emulate
echo "By the documented rates, busy cycles of the busiest core at @MHZ@ MHz:"
./run_kernel_emulated --case "$case"
cat <<'END'
Compare with PipeUtilization.csv of the profile, the row of the busiest core (a time in us times MHz is cycles):
  cycles  aiv_total_cycles, aic_total_cycles   the device's include scalar work and the start of the kernel
  V       aiv_vec_time(us)                     M       aic_cube_time(us)
  MTE1    aic_mte1_time(us)                    FIX     aic_fixpipe_time(us)
  MTE2    aiv_mte2_time(us), aic_mte2_time(us) MTE3    aiv_mte3_time(us)
A pipe far above its estimate is worth a look; a total far above all pipes is waiting: flags, or too few buffers.
END
command=(msprof "${how[@]}" --output=profile ./run_kernel --case "$case")
if [ ${#how[@]} -gt 1 ]; then
    export LD_LIBRARY_PATH="${ASCEND_HOME_PATH:-}/tools/simulator/$soc/lib:${LD_LIBRARY_PATH:-}"
fi
echo "+ ${command[*]}"
command -v msprof > /dev/null || { echo "$0: msprof not found; source set_env.sh of CANN" >&2; exit 1; }
exec "${command[@]}"
