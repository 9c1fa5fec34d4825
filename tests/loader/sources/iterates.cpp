// Makes a TensorIterator, and reads members of it by functions that are inlined.
#include <ATen/TensorIterator.h>
#include <torch/library.h>

static std::vector<int64_t> call(const at::Tensor& out, const at::Tensor& in) {
  auto iterator = at::TensorIteratorConfig().add_output(out).add_input(in).build();
  return {iterator.ndim(), iterator.ntensors(), iterator.noutputs(), iterator.shape()[0]};
}

TORCH_LIBRARY(layouts_iterates, m) {
  m.def("call(Tensor(a!) out, Tensor input) -> int[]", call);
}
