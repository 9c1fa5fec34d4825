/* Stable shims are all that is imported, and a function of an unstable header was
   compiled in. What torch/headeronly defines in c10 is fine. */
extern "C" int torch_library_impl();
namespace at {
struct __attribute__((visibility("default"))) TensorBase {
    __attribute__((weak)) long sizes() const;
};
long TensorBase::sizes() const { return 1; }
}
namespace c10 {
__attribute__((weak, visibility("default"))) const char* toString(int) { return "Float"; }
}

extern "C" __attribute__((visibility("default"))) long call(void) {
    return torch_library_impl() + at::TensorBase().sizes() + c10::toString(1)[0];
}
