// Registers an operator for every dispatch key, which needs the number of none.
#include <torch/library.h>

static int64_t call(int64_t number) {
  return number + 1;
}

TORCH_LIBRARY(layouts_defines, m) {
  m.def("call(int number) -> int", call);
}
