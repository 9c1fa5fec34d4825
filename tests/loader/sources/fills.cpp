// Passes c10::Scalar and at::Tensor by value, with an operator.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

namespace torch::nn::init {
at::Tensor constant_(at::Tensor tensor, at::Scalar value);
}

TORCH_LIBRARY(layouts_fills, m) {
  m.def("call(Tensor(a!) t) -> int", [](const at::Tensor& t) -> int64_t {
    torch::nn::init::constant_(t, 5);
    return t.numel();
  });
}
