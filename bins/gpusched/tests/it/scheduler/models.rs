//! What jobs need by the model they run.

use e2e::wait_until;

use crate::place::{LONG, Place};

const WAIT: &str = "sh -c 'until [ -e go ]; do sleep 0.05; done' job";

/// Jobs that wait, each with these words behind its command.
fn jobs(words: &[&str]) -> String {
    words.iter().map(|words| [WAIT, " ", words, "\n"].concat()).collect()
}

#[test]
fn the_model_of_a_command_says_what_it_needs() {
    let place = Place::new(&jobs(&["--llm half", "--llm=half", "--llm two"]));
    place.write("my.json", r#"{"models": {"half": 0.5, "two": 1.5}}"#);
    let running = place.started(&["--llm-config", "my.json"]);
    running.wait_for("the needs of 2 models are known");
    running.wait_for("job 2 started on gpu [0] (2/3 dispatched, 0.5 of it)");
    wait_until("the third waits for two GPUs", LONG, || {
        place.board().contains("job 3   pending gpus 2 (needs 2 idle GPUs")
    });
    place.write("go", "");
    running.wait_for("job 3 started on gpu [0,1]");
    running.wait_for("job 3 finished [OK]");
}

#[test]
fn two_models_of_a_half_share_a_gpu() {
    let place = Place::new(&jobs(&["--llm qwen2.5-3b-inst --a", "--llm qwen2.5-3b-inst --b"]));
    place.write(
        "llm_config.json",
        r#"{"default_requirement": 1.0, "models": {"qwen2.5-3b-inst": 0.5, "qwen2.5-7b-inst": 1.0}}"#,
    );
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("job 2 started on gpu [0]");
    place.write("go", "");
    running.wait_for("job 2 finished [OK]");
}

#[test]
fn a_model_may_need_memory() {
    let place = Place::new(&jobs(&["--llm a", "--llm b", "--llm c"]));
    place.write(
        "llm_config.json",
        r#"{"models": {"a": "10G", "b": {"vram": 12000}, "c": {"gpus": 0.5, "vram": "9 GiB"}}}"#,
    );
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("job 1 started on gpu [0] (1/3 dispatched, declared 10240 MiB/gpu)");
    running.wait_for("job 2 started on gpu [0] (2/3 dispatched, declared 12000 MiB/gpu)");
    wait_until("the third says what it lacks", LONG, || {
        place
            .board()
            .contains("needs 0.5 of a GPU with 9216 + 512 MiB; GPU 0 comes closest with 2336 MiB free")
    });
    place.write("go", "");
    running.wait_for("job 3 started on gpu [0] (3/3 dispatched, 0.5 of it, declared 9216 MiB)");
    running.wait_for("job 3 finished [OK]");
}

#[test]
fn an_unknown_model_gets_the_default_and_is_told() {
    let place = Place::new(&jobs(&["--llm new --a", "--llm new --b", "--llm new --c"]));
    place.write("llm_config.json", r#"{"default_requirement": 0.25, "models": {"old": 1.0}}"#);
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("WARN  job 1 runs the model 'new', which is not known: it gets the default");
    running.wait_for("job 3 started on gpu [0] (3/3 dispatched, 0.25 of it)");
    assert_eq!(running.out().matches("which is not known").count(), 1, "it is told once");
    place.write("go", "");
    running.wait_for("job 3 finished [OK]");
}

#[test]
fn the_requirements_are_read_again_when_they_change() {
    let place = Place::new(&jobs(&["--llm big --a", "--llm big --b"]));
    place.write("llm_config.json", r#"{"models": {"big": 1.0}}"#);
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("job 1 started");
    wait_until("the second waits", LONG, || place.board().contains("needs 1 idle GPU"));
    place.write("llm_config.json", r#"{"models": {"big": "#);
    running.wait_for(
        "WARN  the needs of models cannot be read, keeping those that are known: llm_config.json: line 1",
    );
    place.write("llm_config.json", r#"{"models": {"big": 0.5}}"#);
    wait_until("it now needs half a GPU", LONG, || place.board().contains("needs 0.5 of a GPU"));
    // A line that says itself what it needs is believed.
    place.edit(&format!("{}[vram=1G] {WAIT} --llm big --b\n", jobs(&["--llm big --a"])));
    wait_until("it says so", LONG, || place.board().contains("needs 1024 + 512 MiB"));
    place.write("go", "");
    running.wait_for("job 2 finished [OK]");
}

#[test]
fn without_the_flag_other_queues_ask_for_no_models() {
    let place = Place::new("echo a --llm half > ran\n");
    place.write("llm_config.json", r#"{"models": {"half": 7}}"#);
    place.run(&[]).exits(0);
    assert_eq!(place.read("ran"), "a --llm half\n");
    let place = Place::new("echo a --llm many\n");
    place.write("needs.json", r#"{"models": {"many": 7}}"#);
    place.run(&["--llm-config", "needs.json"]).exits(1).says("needs 7 GPUs but only 2 are usable");
}
