// An operator on the stable ABI: `scale(t, by)` is `t * by` for float tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <stdexcept>

using torch::stable::Tensor;

static Tensor scale(Tensor t, double by) {
  if (t.scalar_type() != torch::headeronly::ScalarType::Float || !t.is_contiguous()) {
    throw std::runtime_error("scale: a contiguous float tensor is expected");
  }
  Tensor result = torch::stable::empty_like(t);
  const float* from = static_cast<const float*>(t.data_ptr());
  float* to = static_cast<float*>(result.data_ptr());
  for (int64_t i = 0; i < t.numel(); ++i) {
    to[i] = from[i] * static_cast<float>(by);
  }
  return result;
}

#ifdef TORCH_BOX
#define BOXED TORCH_BOX(&scale)
#else
// torch 2.9 has no TORCH_BOX yet.
static void boxed(StableIValue* stack, uint64_t, uint64_t) {
  stack[0] = from(scale(to<Tensor>(stack[0]), to<double>(stack[1])));
}
#define BOXED &boxed
#endif

STABLE_TORCH_LIBRARY(scaled, m) {
  m.def("scale(Tensor t, float by) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(scaled, CPU, m) {
  m.impl("scale", BOXED);
}
