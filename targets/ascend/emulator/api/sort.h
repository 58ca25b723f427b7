#pragma once

#include "move.h"
