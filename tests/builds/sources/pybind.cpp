// A Python module as the tutorials have it: `_C.shift(t, by)`, bound by pybind11.
#include <torch/extension.h>

static at::Tensor shift(const at::Tensor& t, double by) {
  return t + by;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("shift", &shift);
}
