//! The `gpusched` command.

fn main() -> std::process::ExitCode {
    gpusched::run(std::env::args_os())
}
