use model::Setting;

use super::*;

/// `expect` lists what differs from a line without a block.
#[track_caller]
fn check(block: &str, expect: &str) {
    let found = match Attributes::parse(block) {
        Ok(attributes) => describe(&attributes),
        Err(bad) => format!("{}: {}", &block[bad.span], bad.kind),
    };
    assert_eq!(found, expect, "[{block}]");
}

fn describe(attributes: &Attributes) -> String {
    let mut words = Vec::new();
    if let Some(vram) = attributes.vram {
        words.push(vram.to_string());
    }
    if let Some(gpus) = attributes.gpus {
        words.push(format!("{gpus} GPUs"));
    }
    if let Some(timeout) = attributes.timeout {
        words.push(format!("{} ms", timeout.as_millis()));
    }
    if let Some(retries) = attributes.retries {
        words.push(format!("{retries} retries"));
    }
    if attributes.cancel {
        words.push("cancel".to_owned());
    }
    if attributes.priority != 0 {
        words.push(format!("priority {}", attributes.priority));
    }
    if let Some(on) = attributes.on {
        words.push(format!("on {on}"));
    }
    if let Some(cuda) = attributes.cuda {
        words.push(format!("--cuda by {cuda:?}"));
    }
    if let Some(name) = &attributes.name {
        words.push(format!("called {name}"));
    }
    let Setting { conda, cwd, env, .. } = &attributes.setting;
    words.extend(conda.iter().map(|conda| format!("in {conda}")));
    words.extend(cwd.iter().map(|cwd| format!("at {cwd}")));
    words.extend(env.iter().map(|(name, value)| format!("with {name}={value}")));
    words.join(", ")
}

#[test]
fn good_blocks() {
    check("", "");
    check(" \t ", "");
    check("vram=12000", "12000 MiB");
    check("vram=12.5", "12 MiB");
    check("vram=8G", "8192 MiB");
    check("vram=22GiB gpus=2", "22528 MiB, 2 GPUs");
    check("vram=512mb", "512 MiB");
    check("VRAM=1g\tGpus=4", "1024 MiB, 4 GPUs");
    check("vram=1G vram=2G", "2048 MiB");
    check("gpus=1", "1 GPUs");
    check("gpus=008", "8 GPUs");
    check("gpus=65535", "65535 GPUs");
    check("timeout=90", "90000 ms");
    check("timeout=90s", "90000 ms");
    check("timeout=15M", "900000 ms");
    check("timeout=2h", "7200000 ms");
    check("timeout=1.5d", "129600000 ms");
    check("timeout=0.0005", "1 ms");
    check("timeout=1.0005", "1001 ms");
    check("timeout=1.0004999999999999999999999999", "1000 ms");
    check("timeout=0.00000001d", "1 ms");
    check("timeout=36525d", "3155760000000 ms");
    check("retries=0", "0 retries");
    check("retries=4294967295", "4294967295 retries");
    check("cancel", "cancel");
    check("CANCEL vram=8G", "8192 MiB, cancel");
    check("vram=8G\u{3000}gpus=2", "8192 MiB, 2 GPUs");
}

#[test]
fn bad_vram() {
    let malformed = |word: &str| {
        let value = &word["vram=".len()..];
        check(word, &format!("{word}: cannot parse vram value '{value}' (use MiB or a G/GiB suffix)"));
    };
    for word in ["vram=", "vram=-5", "vram=+5", "vram=1e3", "vram=8k", "vram=1T", "vram=.5G", "vram=5.G"] {
        malformed(word);
    }
    malformed("vram=\u{ff19}G");
    malformed("vram=8G=9G");
    check("vram=0", "vram=0: vram must be positive, got '0'");
    check("vram=0.4", "vram=0.4: vram must be positive, got '0.4'");
    check("vram=17179869184", "vram=17179869184: vram is too large, got '17179869184'");
}

#[test]
fn bad_timeout() {
    let malformed = |word: &str| {
        let value = &word["timeout=".len()..];
        check(word, &format!("{word}: cannot parse duration '{value}' (use s/m/h/d)"));
    };
    for word in ["timeout=", "timeout=1h30m", "timeout=1w", "timeout=-1", "timeout=1.", "timeout=.5"] {
        malformed(word);
    }
    malformed("timeout=1.2.3");
    malformed("timeout=\u{663}s");
    check("timeout=0", "timeout=0: timeout must be positive, got '0'");
    check("timeout=0.0004", "timeout=0.0004: timeout must be positive, got '0.0004'");
    check("timeout=36526d", "timeout=36526d: timeout is too long, got '36526d' (at most 36525d)");
    let huge = "9".repeat(30);
    let too_long = format!("timeout={huge}: timeout is too long, got '{huge}' (at most 36525d)");
    check(&format!("timeout={huge}"), &too_long);
}

#[test]
fn bad_integers() {
    for value in ["", "two", "+2", "1_0", "1e1", "0x2", "\u{ff12}", "-", "--1"] {
        check(
            &format!("retries={value}"),
            &format!("retries={value}: retries must be an integer, got '{value}'"),
        );
        let expect = format!("gpus={value}: gpus must be a number such as 2 or 0.5, got '{value}'");
        check(&format!("gpus={value}"), &expect);
    }
    check("retries=2.0", "retries=2.0: retries must be an integer, got '2.0'");
    check("gpus=0", "gpus=0: gpus must be positive, got '0'");
    check("gpus=-1", "gpus=-1: gpus must be positive, got '-1'");
    check("gpus=65536", "gpus=65536: gpus must be <= 65535, got 65536");
    check("retries=-1", "retries=-1: retries must be >= 0, got -1");
    check("retries=4294967296", "retries=4294967296: retries must be <= 4294967295, got 4294967296");
}

#[test]
fn no_attributes() {
    let unknown = |word: &str, key: &str| {
        let known =
            "(known: vram, gpus, timeout, retries, cancel, priority, on, cuda, conda, name, cwd, env.NAME)";
        check(word, &format!("{word}: unknown attribute '{key}' {known}"));
    };
    unknown("Mem=8G", "mem");
    unknown("cancel=1", "cancel");
    unknown("=5", "");
    let malformed = |block: &str, word: &str| {
        let expected = "(expected key=value, or bare 'cancel')";
        check(block, &format!("{word}: malformed attribute '{word}' {expected}"));
    };
    malformed("x", "x");
    malformed("vram=8 G", "G");
    malformed("cancel vram = 8G", "vram");
    malformed("cancel, gpus=2", "cancel,");
}

#[test]
fn the_first_wrong_word_is_told() {
    check("gpus=0 vram=x", "gpus=0: gpus must be positive, got '0'");
    check("vram=8G  vram=x", "vram=x: cannot parse vram value 'x' (use MiB or a G/GiB suffix)");
}

#[test]
fn parts_turns_and_places() {
    check("gpus=0.5", "0.5 GPUs");
    check("gpus=1.5 vram=8G", "8192 MiB, 2 GPUs");
    check("priority=-3", "priority -3");
    check("priority=0", "");
    check("on=0-2,5", "on 0-2,5");
    check("cuda", "--cuda by Index");
    check("CUDA=Visible", "--cuda by Visible");
    check("name=bert-1", "called bert-1");
    check("conda=/opt/envs/x cwd=../run", "in /opt/envs/x, at ../run");
    check("env.SEED=7 Env.Path=a=b env.NONE=", "with NONE=, with Path=a=b, with SEED=7");
}

#[test]
fn bad_turns_and_places() {
    check("priority=low", "priority=low: priority must be an integer, got 'low'");
    check("priority=3000000000", "priority=3000000000: priority is out of range, got 3000000000");
    check("on=", "on=: on must be a list of GPUs, got '' (item 1, '', is empty)");
    check("on=0,x", "on=0,x: on must be a list of GPUs, got '0,x' (item 2, 'x', is not the index of a GPU)");
    check("cuda=uuid", "cuda=uuid: cuda must be 'index' or 'visible', got 'uuid'");
    check("name=", "name=: name has no value");
    check("conda= x", "conda=: conda has no value");
    check("env.=1", "env.=1: '' is not the name of a variable");
    check("env.A-B=1", "env.A-B=1: 'A-B' is not the name of a variable");
    check(
        "env.CUDA_VISIBLE_DEVICES=1",
        "env.CUDA_VISIBLE_DEVICES=1: CUDA_VISIBLE_DEVICES is set by gpusched",
    );
}
