// Has the number of an interned name inlined, from an enum that is renumbered in each release.
#include <ATen/core/interned_strings.h>

extern "C" const char* call() {
  return c10::aten::conv2d.toQualString();
}
