// Registers an operator for a dispatch key, and reads nothing of its argument.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

static int64_t call(const at::Tensor&) {
  return 7;
}

TORCH_LIBRARY(layouts_registers, m) {
  m.def("call(Tensor t) -> int");
}

TORCH_LIBRARY_IMPL(layouts_registers, CPU, m) {
  m.impl("call", call);
}
