//! The `htmengine` program: hands its arguments to [`htmengine::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    htmengine::cli::main()
}
