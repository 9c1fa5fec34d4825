/* Names that look like torch's and are nobody's shim: a C function of another
   package, a C++ function, and a namespace that only begins like torch's. */
extern "C" int torch_foo();
int torch_bar(int);
namespace torch_tensorrt { struct Error { Error(int); }; }

extern "C" __attribute__((visibility("default"))) int call(void) {
    torch_tensorrt::Error error(1);
    return torch_foo() + torch_bar(2);
}
