//! How a program says that a GPU ran out of memory.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// How much of the end of an attempt's output is looked at, in bytes: the error
/// that ended it is among its last words, and one it survived is not.
pub const TAIL_BYTES: u64 = 16 * 1024;

/// A rule: its name and the expression that finds it in one line.
type Rule = (&'static str, &'static str);

/// Texts that mean nothing else.
const CERTAIN: &[Rule] = &[
    ("torch-oom", r"(?:CUDA|HIP|XPU|MPS) out of memory\. Tried to allocate ([0-9.]+) ?(bytes|[KMGT]i?B)"),
    (
        // One release wrote "capacty".
        "torch-oom-new-detail",
        r"GPU (\d+) has a total capaci?ty of ([0-9.]+) ([KMGT]i?B) of which ([0-9.]+) (bytes|[KMGT]i?B) is free",
    ),
    (
        "torch-oom-old-detail",
        r"\(GPU (\d+); ([0-9.]+) ([KMGT]i?B) total capacity; ([0-9.]+) (bytes|[KMGT]i?B) already allocated; ([0-9.]+) (bytes|[KMGT]i?B) free; ([0-9.]+) (bytes|[KMGT]i?B) (?:cached|reserved in total by PyTorch)\)",
    ),
    ("torch-oom-capped", r"is free\. ([0-9.]+) ([KMG]i?B) allowed;"),
    ("torch-oom-class", r"torch(?:\.cuda)?\.OutOfMemoryError\b"),
    ("jax-oom", r"RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate request for|OOM)"),
    ("jax-oom-old", r"Resource exhausted: Out of memory|Out of memory allocating \d+ bytes"),
    ("tf-oom", r"OOM when allocating tensor with shape\[.*allocator GPU_\d+_bfc"),
    ("cupy-oom", r"cupy\.cuda\.memory\.OutOfMemoryError|out of memory to allocate \d+ bytes"),
    (
        // The card was full of somebody else's memory: asking for more finds a
        // freer one.
        "vllm-neighbour",
        r"Free memory on device (?:\S+ )?\(([0-9.]+)/([0-9.]+) GiB\) on startup is less than desired GPU memory utilization",
    ),
    ("vllm-kv", r"No available memory for the cache blocks"),
    ("sglang-mem", r"Not enough memory\. Please try to increase --mem-fraction-static"),
    ("trtllm-mem", r"insufficient GPU memory|Error Code 2: OutOfMemory"),
    ("ggml-oom", r"allocating [0-9.]+ MiB on device \d+: cudaMalloc failed: out of memory"),
    ("ggml-buffer", r"failed to allocate (?:CUDA|ROCm)\d+ buffer of size"),
    ("bnb-oom", r"Error out of memory at line \d+ in file \S*pythonInterface"),
    ("rt-oom-bare", r"CUDA error: out of memory|CUDA driver error: out of memory|cudaErrorMemoryAllocation"),
    ("mps-evicted", r"CUDA_ERROR_MPS_CLIENT_TERMINATED"),
];

/// Texts that mean it if the program failed, which is given here. Programs that
/// probe for large blocks print the first and carry on; the other two are a
/// library's handle that found no room. "Unable to find a valid cuDNN algorithm"
/// is not among them: it is as often a layer or a version that cuDNN can't do,
/// and more memory does not help that.
const LIKELY: &[Rule] = &[
    ("cu-oom-driver", r"CUDA_ERROR_OUT_OF_MEMORY"),
    ("cublas-alloc", r"CUBLAS_STATUS_ALLOC_FAILED"),
    ("cudnn-alloc", r"CUDNN_STATUS_ALLOC_FAILED"),
];

/// What the Python tool looks for, in any case, so that whatever it retried is
/// retried still.
const PYTHON_TOOL: &[Rule] = &[
    ("cuda-oom", r"(?i)cuda out of memory"),
    ("torch-oom-error", r"(?i)torch\.outofmemoryerror"),
    ("cuda-error-oom", r"(?i)cuda error: out of memory"),
    ("cuda-driver-oom", r"(?i)cuda_error_out_of_memory"),
    ("cuda-malloc", r"(?i)cudaerrormemoryallocation"),
    ("resource-exhausted", r"(?i)resource_exhausted"),
];

/// A file system that is full is an exhausted resource, too, and TensorFlow says
/// so in the same words when it cannot write a checkpoint.
const FULL_DISK: &str = "[Dd]isk quota exceeded|No space left on device";

fn rules() -> impl Iterator<Item = &'static Rule> {
    CERTAIN.iter().chain(LIKELY).chain(PYTHON_TOOL)
}

/// The name of the rule that finds, in the end of a failed attempt's output,
/// that a GPU ran out of memory; the most telling one where several do.
///
/// Only to be asked after a failure: the texts also occur in programs that
/// recover.
pub fn gpu_oom(tail: &str) -> Option<&'static str> {
    static SET: LazyLock<RegexSet> = LazyLock::new(|| {
        RegexSet::new(rules().map(|(_, pattern)| pattern)).expect("the rules are tested, each of them")
    });
    static DISK: LazyLock<Regex> = LazyLock::new(|| Regex::new(FULL_DISK).expect("it is tested"));
    let about_gpus = tail.lines().filter(|line| !DISK.is_match(line));
    let first = about_gpus.filter_map(|line| SET.matches(line).iter().next()).min()?;
    rules().nth(first).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tail: &str, expect: Option<&str>) {
        assert_eq!(gpu_oom(tail), expect, "{tail:?}");
    }

    /// A sample for every rule: what was seen in the wild or is printed by the
    /// program's own source.
    const SAMPLES: &[(&str, &str)] = &[
        (
            "torch-oom",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of \
             31.47 GiB of which 12.73 GiB is free.",
        ),
        ("torch-oom", "RuntimeError: HIP out of memory. Tried to allocate 2.00 MiB"),
        ("torch-oom-new-detail", "GPU 0 has a total capacty of 12.00 GiB of which 9.02 GiB is free."),
        ("torch-oom-new-detail", "GPU 1 has a total capacity of 12.00 GiB of which 0 bytes is free."),
        (
            "torch-oom-old-detail",
            "allocate 12.50 MiB (GPU 0; 10.92 GiB total capacity; 8.57 MiB already allocated; 9.28 GiB free; \
             4.68 MiB cached)",
        ),
        ("torch-oom-capped", "22.27 GiB of which 21.22 GiB is free. 1.05 GiB allowed;"),
        ("torch-oom-class", "torch.cuda.OutOfMemoryError: (the rest was cut off)"),
        (
            "jax-oom",
            "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate \
             7406166528 bytes.",
        ),
        (
            "jax-oom-old",
            "RuntimeError: Resource exhausted: Out of memory while trying to allocate 4294967296 bytes.",
        ),
        (
            "tf-oom",
            "ResourceExhaustedError: OOM when allocating tensor with shape[25088,4096] and type float on \
             /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc",
        ),
        (
            "cupy-oom",
            "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 25,600,000 bytes (allocated so far: \
             7,987,200,000 bytes).",
        ),
        (
            "vllm-neighbour",
            "ValueError: Free memory on device (31.44/47.38 GiB) on startup is less than desired GPU memory \
             utilization (0.95, 45.01 GiB).",
        ),
        (
            "vllm-kv",
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when \
             initializing the engine.",
        ),
        ("sglang-mem", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."),
        ("trtllm-mem", "RuntimeError: Executor creation failed due to insufficient GPU memory."),
        (
            "ggml-oom",
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: cudaMalloc failed: \
             out of memory",
        ),
        ("ggml-buffer", "alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851532288"),
        ("bnb-oom", "Error out of memory at line 380 in file /home/u/bitsandbytes/csrc/pythonInterface.c"),
        ("rt-oom-bare", "RuntimeError: CUDA error: out of memory"),
        ("mps-evicted", "CUDA_ERROR_MPS_CLIENT_TERMINATED"),
        (
            "cu-oom-driver",
            "failed to allocate 17.79G (19102545408 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY",
        ),
        (
            "cublas-alloc",
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
        ("cudnn-alloc", "Could not create cudnn handle: CUDNN_STATUS_ALLOC_FAILED"),
        ("cuda-oom", "RuntimeError: cuda Out Of Memory"),
        ("torch-oom-error", "TORCH.OutOfMemoryError"),
        ("cuda-error-oom", "cuda error: OUT OF MEMORY"),
        ("cuda-driver-oom", "cuda_error_out_of_memory"),
        ("cuda-malloc", "CUDAERRORMEMORYALLOCATION"),
        ("resource-exhausted", "grpc: Resource_Exhausted"),
    ];

    #[test]
    fn every_rule_finds_its_sample() {
        for (id, sample) in SAMPLES {
            check(sample, Some(id));
            check(&format!("Traceback (most recent call last):\n{sample}\r\nbye\n"), Some(id));
        }
        for (id, _) in rules() {
            assert!(SAMPLES.iter().any(|(sampled, _)| sampled == id), "no sample for {id}");
        }
    }

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<_> = rules().map(|(id, _)| *id).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn other_ends_are_not_a_gpu_out_of_memory() {
        for tail in [
            "",
            "Traceback (most recent call last):\nValueError: shapes (3,4) and (5,6) not aligned",
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "MemoryError",
            "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 80.0 GiB",
            "OutOfMemoryError",
            "java.lang.OutOfMemoryError: Java heap space",
            "Memory cgroup out of memory: Killed process 63214 (python)",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0.",
            "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376",
            "CUDA error: an illegal memory access was encountered",
            "RuntimeError: Unable to find a valid cuDNN algorithm to run convolution",
            "OOM when allocating tensor with shape[9,9] and type float on device:CPU:0 by allocator cpu",
        ] {
            check(tail, None);
        }
    }

    #[test]
    fn a_full_disk_is_no_full_gpu() {
        check("ResourceExhaustedError: /ckpt/part-0; Disk quota exceeded [Op:SaveV2]", None);
        check("W RESOURCE_EXHAUSTED: /ckpt/part-0; Disk quota exceeded", None);
        check("RESOURCE_EXHAUSTED: /ckpt/part-0; No space left on device", None);
        check("RESOURCE_EXHAUSTED: No space left on device\nCUDA out of memory.", Some("cuda-oom"));
    }

    #[test]
    fn the_most_telling_rule_is_named() {
        check("CUDA_ERROR_OUT_OF_MEMORY\nRuntimeError: CUDA error: out of memory", Some("rt-oom-bare"));
    }
}
