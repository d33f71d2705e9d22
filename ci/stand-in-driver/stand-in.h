// What the parts of the stand-in share.
#pragma once
#include <stddef.h>
#include <stdint.h>

void stand_in_record(const char *format, ...);
int stand_in_reset(void);
int stand_in_launch(const char *name, const unsigned grid[3], const unsigned block[3],
                    unsigned shared, void **arguments);
// Computes a kernel if it is one of those that are checked; else does nothing, and returns 0.
int stand_in_compute(const char *name, const unsigned grid[3], void **arguments);
