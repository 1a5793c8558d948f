//! Turns the jobs file a user wrote into typed requests, with precise errors.
//!
//! One job a line: an optional block of attributes, then a command for the
//! shell. The format and the identity of a job are those of the Python tool.
//!
//! ```
//! let (file, errors) = jobspec::parse_jobs_file("[vram=18G timeout=2h] python train.py\n");
//! assert!(errors.is_empty());
//! assert_eq!(file.command(0), "python train.py");
//! assert_eq!(file.attributes(0).vram, Some(model::Mib::new(18432)));
//! ```
//!
//! Where a file is CSV instead, a line stands for the command that runs a Python
//! script:
//!
//! ```
//! let (file, errors) = jobspec::parse_jobs_file_as("0,train.py,llm,--lr 0.1,0-3\n", None);
//! assert!(errors.is_empty());
//! assert_eq!(file.command(0), "python -u train.py --lr 0.1");
//! assert_eq!(file.attributes(0).setting.conda.as_deref(), Some("llm"));
//! ```
//!
//! A file of a million lines costs its text and 32 bytes a line, and the commands
//! where they do not stand in it; SHA-1 keys are made when they are asked for.
//!
//! **Invariant:** reading never fails as a whole: what is wrong is told line by
//! line, and what to do about it is the caller's decision.

mod align;
mod attributes;
mod command;
mod csv;
mod error;
mod format;
mod jobs_file;
mod key;
mod models;
mod sequence;
mod shell;
mod words;

pub use align::{Alignment, Origin, align};
pub use attributes::{Attributes, CudaIds};
pub use command::{mode_in, session_name, with_gpus};
pub use csv::{CsvJob, CsvWriteError, WhyCsv, csv_line};
pub use error::{LONGEST_COMMAND, LineNo, SyntaxError, SyntaxErrorKind};
pub use format::{Format, detect_format};
pub use jobs_file::{Duplicate, JobsFile, parse_jobs_file, parse_jobs_file_as};
pub use key::digest_of;
pub use models::{Models, ModelsError, Need, model_in};
pub use words::SplitError;
