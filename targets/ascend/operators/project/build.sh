#!/usr/bin/env bash
# Builds one package of all operators here, build_out/custom_opp_*.run. Source CANN's set_env.sh first.
#
#   bash build.sh [SOC]        SOC is a full name, @soc@ unless given
set -euo pipefail
cd "$(dirname "$0")"
: "${ASCEND_HOME_PATH:?source set_env.sh of CANN first}"
soc=${1:-@soc@}
project=build/$soc
rm -rf "$project" build_out
mkdir -p build build_out

# The frame of the project is that of the CANN which is installed. It is made for one operator of several; all files
# that it makes for that one are replaced by those of all.
msopgen gen -i operators.json -c "ai_core-$soc" -lan cpp -op @first@ -out "$project"
rm -f "$project"/op_host/*.cpp "$project"/op_host/*.h "$project"/op_kernel/*.cpp "$project"/op_kernel/*.h
cp op_host/*.cpp op_host/*.h "$project/op_host/"
cp op_kernel/*.cpp op_kernel/*.h "$project/op_kernel/"
sed -i 's/"customize"/"@vendor@"/' "$project/CMakePresets.json"

# Every kernel has its own flags and barriers: the compiler adds none. CANN 9 has another name for the function.
cat - "$project/op_kernel/CMakeLists.txt" > build/options.cmake <<'OPTIONS'
if(COMMAND npu_op_kernel_options)
    npu_op_kernel_options(ascendc_kernels ALL OPTIONS --cce-auto-sync=off)
else()
    add_ops_compile_options(ALL OPTIONS --cce-auto-sync=off)
endif()
OPTIONS
mv build/options.cmake "$project/op_kernel/CMakeLists.txt"

(cd "$project" && bash build.sh)
cp "$project"/build_out/custom_opp_*.run build_out/
echo "built $(ls build_out/custom_opp_*.run); run it to install"
