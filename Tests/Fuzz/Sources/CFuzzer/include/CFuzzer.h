// libFuzzer as a library (LLVM, "Using libFuzzer as a library"): the driver runs until its limits are reached or an
// input crashes.
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*callback)(const uint8_t *data, size_t size));
