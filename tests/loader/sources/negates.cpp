// Passes c10::Scalar, whose layout never changed, by value; no tensors.
#include <c10/core/Scalar.h>

extern "C" int64_t call(int64_t number) {
  return (-c10::Scalar(number)).toLong();
}
