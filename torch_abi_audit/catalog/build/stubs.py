"""Headers that torch's own headers include, and that no wheel brings: as little as they need.

What is not torch's counts as opaque, as `std` does: only torch's own classes are compared.
CUDA's runtime headers are real; of its other libraries torch's headers pass handles and
enums alone, so that a pointer and an `int` lay out as the real ones do.
"""

from __future__ import annotations

_POINTERS = {
    "cublas_v2.h": ("cublasHandle_t",),
    "cublasLt.h": (
        "cublasLtHandle_t",
        "cublasLtMatmulDesc_t",
        "cublasLtMatmulPreference_t",
        "cublasLtMatrixLayout_t",
    ),
    "cudnn.h": ("cudnnHandle_t", "cudnnTensorDescriptor_t", "cudnnBackendDescriptor_t"),
    "cudss.h": ("cudssHandle_t",),
    "cusolverDn.h": ("cusolverDnHandle_t",),
    "cusparse.h": (
        "bsrsm2Info_t",
        "bsrsv2Info_t",
        "cusparseHandle_t",
        "cusparseMatDescr_t",
        "cusparseSpGEMMDescr_t",
        "cusparseSpSMDescr_t",
        "cusparseSpSVDescr_t",
    ),
    "nccl.h": ("ncclComm_t", "ncclWindow_t"),
    "nvml.h": ("nvmlDevice_t",),
    "nvrtc.h": ("nvrtcProgram",),
}
_ENUMS = {
    "cublas_v2.h": (
        "cublasComputeType_t",
        "cublasDiagType_t",
        "cublasFillMode_t",
        "cublasOperation_t",
        "cublasPointerMode_t",
        "cublasSideMode_t",
        "cublasStatus_t",
    ),
    "cublasLt.h": (
        "cublasLtEpilogue_t",
        "cublasLtMatmulDescAttributes_t",
        "cublasLtMatmulPreferenceAttributes_t",
        "cublasLtMatrixLayoutAttribute_t",
    ),
    "cudnn.h": (
        "cudnnActivationMode_t",
        "cudnnDataType_t",
        "cudnnDirectionMode_t",
        "cudnnLossNormalizationMode_t",
        "cudnnNanPropagation_t",
        "cudnnPointwiseMode_t",
        "cudnnRNNAlgo_t",
        "cudnnRNNDataLayout_t",
        "cudnnRNNInputMode_t",
        "cudnnRNNMode_t",
        "cudnnStatus_t",
        "cudnnTensorFormat_t",
    ),
    "cudss.h": ("cudssStatus_t",),
    "cusolverDn.h": ("cusolverStatus_t",),
    "cusparse.h": (
        "cusparseDiagType_t",
        "cusparseDirection_t",
        "cusparseFillMode_t",
        "cusparseIndexType_t",
        "cusparseOperation_t",
        "cusparseSolvePolicy_t",
        "cusparseStatus_t",
    ),
    "nccl.h": ("ncclDataType_t", "ncclRedOp_t", "ncclResult_t"),
    "nvml.h": ("nvmlReturn_t",),
    "nvrtc.h": ("nvrtcResult",),
}
_OTHERS = {
    # What the packages of CUDA's runtime headers leave to the compiler's package.
    "crt/host_config.h": "",
    "crt/host_defines.h": (
        "#define __host__\n#define __device__\n#define __global__\n#define __shared__\n"
        "#define __constant__\n#define __managed__\n#define __grid_constant__\n"
        "#define __forceinline__ inline\n#define __noinline__\n#define __align__(n) alignas(n)\n"
        "#define __builtin_align__(n) alignas(n)\n#define __location__(a)\n#define CUDARTAPI\n"
        "#define CUDARTAPI_CDECL\n#define __device_builtin__\n#define __cudart_builtin__\n"
        "#define __device_builtin_texture_type__\n#define __device_builtin_surface_type__\n"
        "#define __launch_bounds__(...)\n#define __specialization_static\n"
    ),
    "cuda_bf16.h": (
        "struct __nv_bfloat16 { unsigned short x; };\n"
        "struct __nv_bfloat162 { __nv_bfloat16 x, y; };\n"
    ),
    "cuda_fp16.h": "struct __half { unsigned short x; };\nstruct __half2 { __half x, y; };\n",
    "cuda_fp8.h": "struct __nv_fp8_e4m3 { unsigned char x; };\n",
    # Python's headers are the host's, pybind11's are made for GCC, and Windows has neither.
    "cxxabi.h": "",
    "sys/select.h": "",
    "cusolver_common.h": '#include "cusolverDn.h"\n',
    "nlohmann/json.hpp": "namespace nlohmann { class json { void* type; void* value; }; }\n",
    "nccl.h": (
        "#define NCCL_MAJOR 2\n#define NCCL_MINOR 27\n"
        "#define NCCL_VERSION(x, y, z) ((x) * 10000 + (y) * 100 + (z))\n"
        "#define NCCL_VERSION_CODE NCCL_VERSION(2, 27, 3)\n"
        "#define NCCL_UNIQUE_ID_BYTES 128\n"
        "typedef struct { char internal[NCCL_UNIQUE_ID_BYTES]; } ncclUniqueId;\n"
        "typedef struct { size_t size; unsigned magic, version; int rest[14]; } ncclConfig_t;\n"
        "typedef struct { int rest[16]; } ncclSimInfo_t;\n"
        "typedef enum { ncclScalarDevice } ncclScalarResidence_t;\n"
        "enum { ncclInt8, ncclUint8, ncclInt32, ncclUint32, ncclInt64, ncclUint64, ncclFloat16,"
        " ncclFloat32, ncclFloat64, ncclBfloat16, ncclFloat8e4m3, ncclFloat8e5m2,"
        " ncclFloat = ncclFloat32, ncclHalf = ncclFloat16, ncclDouble = ncclFloat64 };\n"
        "enum { ncclSuccess };\n"
        "enum { ncclSum, ncclProd, ncclMax, ncclMin, ncclAvg, ncclNumOps, ncclMaxRedOp = 255 };\n"
        "#define NCCL_CONFIG_INITIALIZER {}\n#define NCCL_SPLIT_NOCOLOR -1\n"
    ),
}


def stub_headers() -> dict[str, str]:
    """Return the headers by the paths that they are included by.

    >>> "typedef struct nvmlDevice_t_* nvmlDevice_t;" in stub_headers()["nvml.h"]
    True
    """
    found = {}
    for name in sorted({*_POINTERS, *_OTHERS}):
        lines = ["#pragma once", "#include <stddef.h>"]
        lines += [f"typedef struct {item}_* {item};" for item in _POINTERS.get(name, ())]
        lines += [f"typedef int {item};" for item in _ENUMS.get(name, ())]
        found[name] = "\n".join(lines) + "\n" + _OTHERS.get(name, "")
    return found
