/* As code that handles tensors, built with torch 2.12: it counts references to a TensorImpl, which
   2.13 lays out differently, and has an assertion of a header inlined, in the line of 2.12. */
namespace c10 {
struct UndefinedTensorImpl { static UndefinedTensorImpl _singleton; };
namespace detail {
[[noreturn]] void torchInternalAssertFail(const char*, const char*, unsigned, const char*, const char*);
}
}
extern "C" __attribute__((visibility("default")))
void* call(int n) {
    if (n < 0) {
        c10::detail::torchInternalAssertFail(
            "call", "CUDALoops.cuh", 445, "N > 0 && N <= std::numeric_limits<int32_t>::max()",
            "N > 0 && N <= std::numeric_limits<int32_t>::max() INTERNAL ASSERT FAILED at "
            "\"/usr/lib/python3/site-packages/torch/include/ATen/native/cuda/CUDALoops.cuh\":445, "
            "please report a bug to PyTorch. ");
    }
    return &c10::UndefinedTensorImpl::_singleton;
}
