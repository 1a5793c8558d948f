//! What a job asks for besides its GPUs: a directory, variables, a script.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backend::JobHost;
use driver::host::LogNames;
use model::{AttemptId, Exit, Launch, LaunchError, Presence};

use crate::setting::{Scene, config, launch};

/// Starts a job that asks for more than others do.
fn start(scene: &mut Scene, no: u32, command: &str, ask: impl FnOnce(&mut Launch)) -> AttemptId {
    let mut request = launch(no, command);
    ask(&mut request);
    scene.host.launch(&request).unwrap();
    request.attempt
}

#[track_caller]
fn check_refused(scene: &mut Scene, no: u32, ask: impl FnOnce(&mut Launch), expect: &str) {
    let job = start(scene, no, "true", ask);
    assert_eq!(scene.refusal(job), LaunchError::Spawn(expect.to_owned()));
    assert!(!scene.path(&format!("job{no:03}_gpu0-3.log")).exists(), "nothing is left behind");
}

#[test]
fn a_directory_of_its_own_and_of_nobody_else() {
    let mut scene = Scene::new();
    let outer = tempfile::tempdir().unwrap();
    let elsewhere = fs::canonicalize(outer.path()).unwrap();
    fs::create_dir(scene.path("inner")).unwrap();
    let cwd = fs::canonicalize(scene.dir.path()).unwrap();
    let inner = start(&mut scene, 1, "pwd", |launch| launch.setting.cwd = Some("inner".into()));
    let plain = start(&mut scene, 2, "pwd", |_| ());
    let absolute = elsewhere.display().to_string();
    let outer = start(&mut scene, 3, "pwd", |launch| launch.setting.cwd = Some(absolute.into()));
    let again = start(&mut scene, 4, "pwd", |_| ());
    for (no, job, expect) in
        [(1, inner, cwd.join("inner")), (2, plain, cwd.clone()), (3, outer, elsewhere), (4, again, cwd)]
    {
        assert_eq!(scene.end(job).0, Exit::Code(0));
        let log = scene.read(&format!("job{no:03}_gpu0-3.log"));
        assert_eq!(log, format!("{}\n", expect.display()));
    }
}

#[test]
fn variables_of_its_own_but_not_those_that_are_ours() {
    let mut scene = Scene::new();
    let command = "echo $INHERITED $EXTRA $NEW $GPUSCHED_JOB $CUDA_VISIBLE_DEVICES";
    let job = start(&mut scene, 1, command, |launch| {
        for (name, value) in
            [("EXTRA", "more"), ("NEW", "a b"), ("GPUSCHED_JOB", "99"), ("CUDA_VISIBLE_DEVICES", "7")]
        {
            launch.setting.env.insert(name.into(), value.into());
        }
    });
    let plain = start(&mut scene, 2, command, |_| ());
    scene.end(job);
    scene.end(plain);
    assert_eq!(scene.read("job001_gpu0-3.log"), "yes more a b 1 0,3\n");
    assert_eq!(scene.read("job002_gpu0-3.log"), "yes too 2 0,3\n");
}

#[test]
fn what_is_not_there_is_named() {
    let mut scene = Scene::new();
    let cwd = fs::canonicalize(scene.dir.path()).unwrap();
    let looked = format!("(looked in {}); use an absolute path", cwd.display());
    let ask = |launch: &mut Launch| launch.setting.cwd = Some("away".into());
    check_refused(&mut scene, 1, ask, &format!("the directory 'away' is not there {looked}"));
    let ask = |launch: &mut Launch| launch.setting.cwd = Some("/nowhere/at/all".into());
    check_refused(&mut scene, 2, ask, "the directory '/nowhere/at/all' is not there; correct its path");
    let ask = |launch: &mut Launch| launch.setting.script = Some("x.py".into());
    check_refused(&mut scene, 3, ask, &format!("the script 'x.py' is not there {looked}"));
    // A script lies where the job starts.
    fs::create_dir(scene.path("inner")).unwrap();
    fs::write(scene.path("inner/x.py"), "").unwrap();
    let job = start(&mut scene, 4, "cat x.py", |launch| {
        launch.setting.cwd = Some("inner".into());
        launch.setting.script = Some("x.py".into());
    });
    assert_eq!(scene.end(job).0, Exit::Code(0));
}

#[track_caller]
fn check_python(programs: &[&str], path: &str, command: &str, expect: Result<&str, &str>) {
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let file = dir.path().join(program);
        fs::write(&file, format!("#!/bin/sh\necho {program} \"$@\"\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(dir.path().join("x.py"), "").unwrap();
    let mut scene = Scene::in_dir(dir);
    let path = path.replace("HERE", &scene.dir.path().display().to_string());
    let job = start(&mut scene, 1, command, |launch| {
        launch.setting.script = Some("x.py".into());
        launch.setting.env.insert("PATH".into(), path.into());
    });
    match expect {
        Ok(said) => {
            scene.end(job);
            assert_eq!(scene.read("job001_gpu0-3.log"), format!("{said}\n"));
        }
        Err(why) => assert_eq!(scene.refusal(job), LaunchError::Spawn(why.to_owned())),
    }
}

#[test]
fn python_by_its_other_name() {
    check_python(&["python", "python3"], "HERE", "python x.py --lr '1 2'", Ok("python x.py --lr 1 2"));
    check_python(&["python3"], "HERE", "python x.py --lr 1", Ok("python3 x.py --lr 1"));
    check_python(&["python3"], ".", "python x.py", Ok("python3 x.py"));
    let none = "there is neither python nor python3 on PATH; install one, or name an environment with conda=";
    check_python(&[], "HERE", "python x.py", Err(none));
    // Whoever writes another program means that one.
    check_python(&["pythonic"], "HERE", "pythonic x.py", Ok("pythonic x.py"));
}

/// A directory that passes for a conda environment with a script of a package.
fn make_conda(at: &Path) {
    for dir in ["bin", "conda-meta", "etc/conda/activate.d"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    fs::write(at.join("conda-meta/history"), "").unwrap();
    fs::write(at.join("etc/conda/activate.d/a.sh"), "export SOURCED=\"$CONDA_PREFIX\"\n").unwrap();
    fs::write(at.join("bin/python"), "#!/bin/sh\necho python of $CONDA_PREFIX\n").unwrap();
    fs::set_permissions(at.join("bin/python"), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_environment_is_entered() {
    let mut scene = Scene::new();
    let prefix = fs::canonicalize(scene.dir.path()).unwrap().join("inner/env");
    make_conda(&prefix);
    let command = "python; echo $SOURCED $EXTRA; command -v python; exit 3";
    let job = start(&mut scene, 1, command, |launch| {
        launch.setting.cwd = Some("inner".into());
        launch.setting.conda = Some("./env".into());
        launch.setting.env.insert("EXTRA".into(), "more".into());
    });
    assert_eq!(scene.end(job).0, Exit::Code(3));
    let prefix = prefix.display();
    let expect = format!("python of {prefix}\n{prefix} more\n{prefix}/bin/python\n");
    assert_eq!(scene.read("job001_gpu0-3.log"), expect);
    let ask = |launch: &mut Launch| launch.setting.conda = Some("/nowhere/env".into());
    let why = "there is no directory /nowhere/env for a conda environment; see conda env list";
    check_refused(&mut scene, 2, ask, why);
    // The next job knows nothing of it.
    let plain = start(&mut scene, 3, "echo ${CONDA_PREFIX-none}", |_| ());
    scene.end(plain);
    assert!(!scene.read("job003_gpu0-3.log").contains("inner/env"));
}

#[test]
fn each_attempt_has_a_log_of_its_own_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.logs = LogNames::Stamped;
    let mut scene = Scene::with(dir, config);
    let job = start(&mut scene, 7, "echo out; until [ -e go ]; do sleep 0.01; done; exit 3", |_| ());
    let log = scene.wait(job, |presence| match presence {
        Presence::Running { log, .. } => Some(log.clone()),
        Presence::Ended { .. } | Presence::Lost(_) | Presence::Interrupted | Presence::Voided => None,
    });
    assert!(log.name.starts_with("job_7_20") && has_extension(&log.name, "log") && log.from == 0, "{log:?}");
    fs::write(scene.path("go"), "").unwrap();
    assert_eq!(scene.end(job), (Exit::Code(3), "out\n".to_owned(), false));
    assert_eq!(scene.read(&log.name), "out\n");
}

#[test]
fn where_the_output_of_a_job_that_runs_is() {
    let mut scene = Scene::new();
    fs::write(scene.path("job001_gpu0-3.log"), "of an earlier attempt\n").unwrap();
    let job = start(&mut scene, 1, "until [ -e go ]; do sleep 0.01; done", |_| ());
    let log = scene.wait(job, |presence| match presence {
        Presence::Running { log, .. } => Some(log.clone()),
        Presence::Ended { .. } | Presence::Lost(_) | Presence::Interrupted | Presence::Voided => None,
    });
    assert_eq!((&*log.name, log.from), ("job001_gpu0-3.log", 22));
    fs::write(scene.path("go"), "").unwrap();
    scene.end(job);
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|its| its == extension)
}
