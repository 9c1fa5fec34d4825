// Ported to the stable ABI, but for one call: `at::get_num_threads`.
#include <ATen/Parallel.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

using torch::stable::Tensor;

static Tensor scale(Tensor t, double by) {
  Tensor result = torch::stable::empty_like(t);
  const float* from = static_cast<const float*>(t.data_ptr());
  float* to = static_cast<float*>(result.data_ptr());
  const int64_t chunk = (t.numel() + at::get_num_threads() - 1) / at::get_num_threads();
  for (int64_t begin = 0; begin < t.numel(); begin += chunk) {
    for (int64_t i = begin; i < begin + chunk && i < t.numel(); ++i) {
      to[i] = from[i] * static_cast<float>(by);
    }
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
