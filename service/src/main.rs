//! The `htmengine` program: hands its arguments to [`htmengine::cli`].

use std::process::ExitCode;

/// Models of half a megabyte to some come and go without end. In the C library's allocator the holes between them grew to
/// four tenths of all the memory for models within two minutes and went on growing; in this one they stay at a tenth.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    htmengine::cli::main()
}
