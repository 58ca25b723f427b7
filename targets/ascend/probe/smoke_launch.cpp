#include "smoke.h"

DSV4C_PROBE(smoke_vector)
DSV4C_PROBE(smoke_cube)
DSV4C_PROBE(smoke_mixed)

const Launch kSmoke[] = {launch_smoke_vector, launch_smoke_cube, launch_smoke_mixed};
