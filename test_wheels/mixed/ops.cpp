/* Calls into c10 and at, as code on the unstable C++ API does. The names of the
   library's own functions mention torch's types and are nobody's business. */
namespace c10 {
struct Warning { Warning(int); ~Warning(); };
void warn(const Warning&);
struct Error { virtual ~Error(); };
}
namespace at {
struct Tensor { long dim() const; };
}
namespace mine {
__attribute__((visibility("default"))) long rank(const at::Tensor& tensor) {
    c10::warn(c10::Warning(1));
    return tensor.dim();
}
}
