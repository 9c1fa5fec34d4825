// An operator on the unstable ABI: `shift(t, by)` is `t + by` for float tensors. What it asks of
// the tensor is inlined from torch's headers, and reads members of c10::TensorImpl.
#include <ATen/ATen.h>
#include <torch/library.h>

static at::Tensor shift(const at::Tensor& t, double by) {
  TORCH_CHECK(t.is_contiguous(), "shift: a contiguous tensor is expected");
  at::Tensor result = at::empty({t.numel()}, t.options());
  const float* from = t.data_ptr<float>();
  float* to = result.data_ptr<float>();
  for (int64_t i = 0; i < t.numel(); ++i) {
    to[i] = from[i] + static_cast<float>(by);
  }
  return result.view(t.sizes());
}

TORCH_LIBRARY_FRAGMENT(scaled, m) {
  m.def("shift(Tensor t, float by) -> Tensor");
}

TORCH_LIBRARY_IMPL(scaled, CPU, m) {
  m.impl("shift", shift);
}
