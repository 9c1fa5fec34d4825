// Passes c10::ScalarType, whose last members alone move with each new type, by value.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

static bool call(const at::Tensor& t) {
  return t.to(at::kDouble).scalar_type() == at::kDouble && t.item<double>() == 5;
}

TORCH_LIBRARY(layouts_casts, m) {
  m.def("call(Tensor t) -> bool", call);
}
