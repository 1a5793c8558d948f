//! The words for what was asked for by a command.

use engine::queue::{Answer, Ending};
use model::JobNo;

use crate::report_text::{join, word};

/// What is said to the one who asked.
pub fn text(answer: &Answer) -> String {
    match answer {
        Answer::Paused(gpu) => format!("gpu {gpu} is paused: it takes no new jobs, and those on it run on"),
        Answer::Resumed(gpu) => format!("gpu {gpu} takes jobs"),
        Answer::NoSuchGpu(gpu, known) => {
            format!("there is no gpu {gpu} among those in use, which are [{}]", join(known, ","))
        }
        Answer::Cancelling(no) => format!("job {no} gets SIGTERM now, and SIGKILL 10 s later if need be"),
        Answer::Cancelled(no) => format!("job {no} is cancelled: it will not be started"),
        Answer::IsOver(no, status) => format!("job {no} is over already ({})", word(*status)),
        Answer::WaitsAgain(no) => format!("job {no} waits to be run again"),
        Answer::Waits(no) => format!("job {no} waits already, and starts as soon as there is room"),
        Answer::Runs(no) => format!("job {no} runs; to run it anew, cancel it first"),
        Answer::LineCancels(no) => {
            format!("the line of job {no} says [cancel]; take that away to run it again")
        }
        Answer::LineGone(no) => {
            format!("the line of job {no} is not in the jobs file any more; put it back to run it again")
        }
        Answer::NoSuchJob(no) => format!("there is no job {no}"),
        Answer::Ends(Ending::KeepJobs | Ending::EndJobs, 0) => "the scheduler ends; no job runs".to_owned(),
        Answer::Ends(Ending::KeepJobs, running) => {
            format!("the scheduler ends; {} on, for the next one to look after", jobs(*running, "goes", "go"))
        }
        Answer::Ends(Ending::EndJobs, running) => {
            format!("the scheduler ends, and {} ended with it", jobs(*running, "is", "are"))
        }
    }
}

fn jobs(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 running job {one}") } else { format!("{count} running jobs {many}") }
}

/// The number of a job as a person may write it: `7` or `job7`.
pub fn job_no(text: &str) -> Option<JobNo> {
    let digits = text.strip_prefix("job").unwrap_or(text).trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|no| is_number && *no > 0).map(JobNo)
}

#[cfg(test)]
mod tests {
    use engine::queue::Status;
    use model::GpuIndex;

    use super::*;

    #[test]
    fn every_answer_is_a_sentence() {
        #[track_caller]
        fn check(answer: &Answer, expect: &str) {
            assert_eq!(text(answer), expect);
        }
        let no = JobNo(3);
        check(
            &Answer::NoSuchGpu(GpuIndex(9), vec![GpuIndex(0), GpuIndex(1)]),
            "there is no gpu 9 among those in use, which are [0,1]",
        );
        check(&Answer::IsOver(no, Status::FailedOom), "job 3 is over already (failed_oom)");
        check(
            &Answer::Ends(Ending::KeepJobs, 2),
            "the scheduler ends; 2 running jobs go on, for the next one to look after",
        );
        check(&Answer::Ends(Ending::EndJobs, 1), "the scheduler ends, and 1 running job is ended with it");
        check(&Answer::Ends(Ending::EndJobs, 0), "the scheduler ends; no job runs");
    }

    #[test]
    fn numbers_of_jobs() {
        assert_eq!(job_no("7"), Some(JobNo(7)));
        assert_eq!(job_no("job7"), Some(JobNo(7)));
        for text in ["", "0", "-1", "seven", "7.5", "job"] {
            assert_eq!(job_no(text), None, "{text}");
        }
    }
}
