// Reads members of TensorImpl, by functions that are inlined.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

static std::vector<int64_t> call(const at::Tensor& t) {
  return {t.dim(), t.numel(), t.size(0), t.storage_offset(), int64_t(t.scalar_type())};
}

TORCH_LIBRARY(layouts_reads, m) {
  m.def("call(Tensor t) -> int[]", call);
}
