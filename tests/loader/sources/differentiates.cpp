// Has a function of its own that is differentiated: nodes of the graph, with virtual functions.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Triple : torch::autograd::Function<Triple> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& t) {
    context->save_for_backward({t});
    return t.mul(3);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {gradients[0].mul(3).add(context->get_saved_variables()[0], 0)};
  }
};

TORCH_LIBRARY(layouts_differentiates, m) {
  m.def("call(Tensor t) -> Tensor");
}

TORCH_LIBRARY_IMPL(layouts_differentiates, Autograd, m) {
  m.impl("call", [](const at::Tensor& t) { return Triple::apply(t); });
}
