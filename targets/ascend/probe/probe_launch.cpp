#include "facts.h"

DSV4C_PROBE(probe_vector)
DSV4C_PROBE(probe_cube)

const Launch kProbeVector = launch_probe_vector, kProbeCube = launch_probe_cube;
