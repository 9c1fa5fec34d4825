// On the stable ABI by its imports, but it draws its random numbers with a class of ATen's, all
// of which is inlined. Rounds at random; whole numbers stay what they are.
#include <ATen/core/MT19937RNGEngine.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>

using torch::stable::Tensor;

static Tensor scale(Tensor t, double by) {
  at::mt19937 random(42);
  Tensor result = torch::stable::empty_like(t);
  const float* from = static_cast<const float*>(t.data_ptr());
  float* to = static_cast<float*>(result.data_ptr());
  for (int64_t i = 0; i < t.numel(); ++i) {
    // A triangular dither, of two draws.
    const float dither = std::ldexp(static_cast<float>((random() >> 9) + (random() >> 9)), -24);
    to[i] = std::floor(from[i] * static_cast<float>(by) + dither);
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
