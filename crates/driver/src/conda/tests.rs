use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use tempfile::{TempDir, tempdir};

use super::*;

/// A directory with a home in it, and what is in the environment.
struct Machine {
    dir: TempDir,
    variables: BTreeMap<&'static str, OsString>,
}

impl Machine {
    /// A home directory, and these files and directories (with a `/` at the end)
    /// in it.
    fn new(content: &[&str]) -> Self {
        let dir = tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let machine = Self { variables: BTreeMap::from([("HOME", home.into())]), dir };
        for name in content {
            machine.write(name, "{}");
        }
        machine
    }

    /// With a variable, whose value may say `~` for the home directory.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = self.expanded(value);
        self.variables.insert(name, value.into());
        self
    }

    fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }

    fn expanded(&self, text: &str) -> String {
        text.replace('~', self.home("").to_str().unwrap().trim_end_matches('/'))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.home(name);
        if name.ends_with('/') {
            return fs::create_dir_all(path).unwrap();
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn resolve(&self, wanted: &str) -> Result<Activation, CondaError> {
        resolve(wanted, &|name| self.variables.get(name).cloned(), &self.home("code"))
    }

    /// Where an environment is found, or what is said instead, each with `~` for
    /// the home directory.
    fn said(&self, wanted: &str) -> String {
        let said = match self.resolve(wanted) {
            Ok(found) => found.prefix.display().to_string(),
            Err(error) => error.to_string(),
        };
        said.replace(&self.expanded("~"), "~")
    }

    #[track_caller]
    fn check(&self, wanted: &str, expect: &str) -> &Self {
        assert_eq!(self.said(wanted), expect, "{wanted}");
        self
    }

    /// A value of an environment's; nothing where it is not set.
    #[track_caller]
    fn value(&self, wanted: &str, name: &str) -> Option<String> {
        let found = self.resolve(wanted).unwrap();
        let value = found.set.iter().find(|(its, _)| its == name)?.1.to_str().unwrap();
        Some(value.replace(&self.expanded("~"), "~"))
    }
}

/// An installation with environments `one` and `two`.
const CONDA: [&str; 4] =
    ["conda/conda-meta/", "conda/bin/conda", "conda/envs/one/conda-meta/", "conda/envs/two/conda-meta/"];

const ONE: &str = "~/conda/envs/one";

#[test]
fn names_are_found_by_what_the_environment_tells() {
    for (name, value) in [
        ("CONDA_EXE", "~/conda/bin/conda"),
        ("CONDA_PREFIX", "~/conda"),
        ("CONDA_PREFIX", "~/conda/envs/two"),
        ("CONDA_ROOT", "~/conda"),
        ("MAMBA_ROOT_PREFIX", "~/conda"),
        ("PATH", "/nowhere:~/conda/bin"),
    ] {
        let machine = Machine::new(&CONDA).with(name, value);
        machine.check("one", ONE).check("base", "~/conda").check("root", "~/conda");
    }
    let machine = Machine::new(&CONDA).with("CONDA_ENVS_PATH", "/nowhere:~/conda/envs");
    machine.check("one", ONE);
    let mut machine = Machine::new(&CONDA);
    machine.variables.insert("CONDA_ENVS_DIRS", "~/conda/envs".into());
    machine.check("one", ONE);
}

#[test]
fn names_are_found_in_the_usual_places() {
    Machine::new(&["miniconda3/envs/one/conda-meta/", "miniconda3/conda-meta/"])
        .check("one", "~/miniconda3/envs/one")
        .check("base", "~/miniconda3");
    Machine::new(&["micromamba/envs/one/conda-meta/", "micromamba/pkgs/"])
        .check("one", "~/micromamba/envs/one");
    Machine::new(&[".conda/envs/one/conda-meta/"]).check("one", "~/.conda/envs/one");
}

#[test]
fn a_conda_on_path_may_be_a_link() {
    let machine = Machine::new(&CONDA).with("PATH", "~/bin");
    machine.write("bin/", "");
    symlink(machine.home("conda/bin/conda"), machine.home("bin/conda")).unwrap();
    machine.check("one", ONE).check("base", "~/conda");
}

#[test]
fn names_are_found_in_what_conda_noted_down() {
    let machine = Machine::new(&["a/env/conda-meta/", "b/env/conda-meta/", "b/new/conda-meta/"]);
    let note = |text: &str| machine.write(".conda/environments.txt", &machine.expanded(text));
    note("~/gone/env\n\n  ~/b/env \n~/b/new\n~/b/env\n");
    machine.check("env", "~/b/env").check("new", "~/b/new");
    note("~/a/env\n~/b/env\n");
    let both =
        "'env' may be the conda environment ~/a/env or ~/b/env; give the path of the one that is meant";
    machine.check("env", both);
}

#[test]
fn the_nearest_place_wins() {
    let all = [
        "told/envs/env/conda-meta/",
        "conda/conda-meta/",
        "conda/envs/env/conda-meta/",
        "noted/env/conda-meta/",
        ".conda/envs/env/conda-meta/",
        "miniconda3/envs/env/conda-meta/",
        "miniconda3/conda-meta/",
    ];
    let machine = Machine::new(&all).with("CONDA_ENVS_DIRS", "~/told/envs").with("CONDA_ROOT", "~/conda");
    machine.write(".conda/environments.txt", &machine.expanded("~/noted/env\n"));
    for place in ["told/envs", "conda/envs", "noted", ".conda/envs", "miniconda3/envs"] {
        machine.check("env", &format!("~/{place}/env"));
        fs::remove_dir_all(machine.home(place)).unwrap();
    }
    assert!(machine.said("env").starts_with("there is no conda environment 'env' ("));
}

#[test]
fn paths() {
    let machine = Machine::new(&["code/env/conda-meta/", "code/sub/"]);
    for wanted in ["./env", "env/", "sub/../env", "~/code/env", "~/code/./env/", "../code/env"] {
        machine.check(wanted, "~/code/env");
    }
    machine.check(&machine.expanded("~/code/env"), "~/code/env");
    machine.check("./gone", "there is no directory ~/code/gone for a conda environment; see conda env list");
    machine.check(
        "./sub",
        "~/code/sub has neither conda-meta nor pyvenv.cfg: it is no conda environment and no venv; \
         see conda env list",
    );
    machine.check(
        "~ada/env",
        "cannot tell where '~ada/env' is: homes of others are not looked up; give the path from / on",
    );
    let homeless = Machine { variables: BTreeMap::new(), ..machine };
    homeless.check("~/env", "cannot tell where '~/env' is: HOME is not set; give the path from / on");
}

#[test]
fn names_of_nothing() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    machine.write("conda/envs/three/bin/", "");
    let said = machine.said("four");
    assert!(said.starts_with("there is no conda environment 'four' (looked in ~/conda/envs"), "{said}");
    assert!(said.ends_with("); see conda env list, or give the path of its directory"), "{said}");
    assert!(machine.said("three").starts_with("~/conda/envs/three has neither conda-meta nor pyvenv.cfg"));
    machine.check("", "the name of the conda environment is empty; see conda env list");
}

#[test]
fn where_was_looked_is_told_in_one_line() {
    let dirs: Vec<PathBuf> = ["/a", "/b", "/c", "/d", "/e", "/f"].map(PathBuf::from).into();
    assert_eq!(find::looked_in(&dirs[..2]), "looked in /a, /b");
    assert_eq!(find::looked_in(&dirs), "looked in /a, /b, /c, /d and 2 more");
    let error = CondaError::NoBase { name: "base".to_owned() };
    assert_eq!(
        error.to_string(),
        "there is no conda environment 'base': found no conda installation by CONDA_EXE, \
         MAMBA_ROOT_PREFIX, CONDA_PREFIX, PATH, in ~ or /opt; give the path of its directory"
    );
}

#[test]
fn what_a_conda_environment_sets() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    machine.write("elsewhere/conda-meta/", "");
    for (wanted, path, name) in [
        ("one", ONE, "one"),
        ("~/conda/envs/one", ONE, "one"),
        ("base", "~/conda", "base"),
        ("~/conda", "~/conda", "base"),
        ("~/elsewhere", "~/elsewhere", "~/elsewhere"),
    ] {
        let value = |variable| machine.value(wanted, variable).unwrap();
        assert_eq!([value("CONDA_PREFIX"), value("CONDA_DEFAULT_ENV")], [path, name], "{wanted}");
        assert_eq!([value("CONDA_SHLVL"), value("CONDA_PROMPT_MODIFIER")], ["1", &format!("({name}) ")]);
        let found = machine.resolve(wanted).unwrap();
        assert_eq!(found.path_first, [PathBuf::from(machine.expanded(path)).join("bin")]);
        assert_eq!(found.unset, ["VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"]);
        assert!(found.scripts.is_empty());
    }
}

#[test]
fn the_variables_of_an_environment() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    machine.write(
        "conda/envs/one/etc/conda/env_vars.d/pkg.json",
        r#"{"FROM_BOTH":"package","FROM_PACKAGE":"p","GONE":"package"}"#,
    );
    machine.write(
        "conda/envs/one/conda-meta/state",
        r#"{"version":1,"env_vars":{"FROM_BOTH":"state","lower":"a b=c","COUNT":3,"GONE":"***unset***"}}"#,
    );
    let value = |name| machine.value("one", name);
    assert_eq!(value("FROM_BOTH").as_deref(), Some("state"));
    assert_eq!(value("FROM_PACKAGE").as_deref(), Some("p"));
    assert_eq!(value("lower").as_deref(), Some("a b=c"));
    assert_eq!(value("COUNT").as_deref(), Some("3"));
    assert_eq!(value("GONE"), None);
}

#[test]
fn variables_that_make_no_sense() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    for (text, why) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"env_vars":{"A=B":"c"}}"#, "the variable \"A=B\" is none that a process can have"),
        (r#"{"env_vars":{"A":"\u0000"}}"#, "the variable \"A\" is none that a process can have"),
    ] {
        machine.write("conda/envs/one/conda-meta/state", text);
        let file = "~/conda/envs/one/conda-meta/state";
        let shows = "conda env config vars list shows what it should hold";
        machine.check("one", &format!("cannot use {file}: {why}; {shows}"));
    }
}

#[test]
fn an_outer_environment_is_left() {
    let mut machine = Machine::new(&CONDA).with("CONDA_PREFIX", "~/conda/envs/two").with("CONDA_SHLVL", "2");
    machine.write("conda/envs/two/conda-meta/state", r#"{"env_vars":{"OF_TWO":"2","OF_BOTH":"2"}}"#);
    machine.write("conda/envs/one/conda-meta/state", r#"{"env_vars":{"OF_BOTH":"1"}}"#);
    let unset = |machine: &Machine| machine.resolve("one").unwrap().unset;
    for name in ["CONDA_PREFIX_1", "CONDA_STACKED_2", "OF_TWO", "VIRTUAL_ENV"] {
        assert!(unset(&machine).contains(&name.into()), "{name}");
    }
    assert!(!unset(&machine).contains(&"OF_BOTH".into()));
    machine.variables.insert("CONDA_SHLVL", "many".into());
    assert!(!unset(&machine).contains(&"CONDA_PREFIX_1".into()));
}

#[test]
fn a_venv() {
    let machine = Machine::new(&["code/.venv/pyvenv.cfg", "code/.venv/bin/python", "broken/pyvenv.cfg"]);
    let found = machine.resolve(".venv").unwrap();
    let prefix = machine.home("code/.venv");
    assert_eq!(found.set, [("VIRTUAL_ENV".into(), prefix.clone().into_os_string())]);
    assert_eq!(found.path_first, [prefix.join("bin")]);
    for name in ["PYTHONHOME", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"] {
        assert!(found.unset.contains(&name.into()), "{name}");
    }
    assert!(found.scripts.is_empty());
    machine.check(
        "~/broken",
        "~/broken is a venv whose bin/python is missing or leads nowhere; make it anew with python3 -m venv",
    );
}

#[test]
fn what_is_installed() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    machine.write("noted/conda-meta/", "");
    machine.write(".conda/environments.txt", &machine.expanded("~/noted\n~/conda\n~/conda/envs/one\n"));
    let found = installed(&|name| machine.variables.get(name).cloned());
    assert_eq!(found.roots.first(), Some(&machine.home("conda")));
    let ours =
        found.environments.iter().filter(|path| path.starts_with(machine.home("").canonicalize().unwrap()));
    assert_eq!(ours.count(), 4);
}

#[test]
fn scripts_are_sorted_and_others_left_out() {
    let machine = Machine::new(&CONDA).with("CONDA_ROOT", "~/conda");
    for name in ["b.sh", "a.sh", ".hidden.sh", "a.csh", "a.sh.old", "dir.sh/"] {
        machine.write(&format!("conda/envs/one/etc/conda/activate.d/{name}"), "");
    }
    let dir = machine.home("conda/envs/one/etc/conda/activate.d");
    assert_eq!(machine.resolve("one").unwrap().scripts, [dir.join("a.sh"), dir.join("b.sh")]);
}

/// Runs a command after these scripts, in bash and in the plain shell, and
/// compares what it prints.
#[track_caller]
fn check_run(command: &str, scripts: &[(&str, &str)], expect: &str) {
    let dir = tempdir().unwrap();
    let paths: Vec<PathBuf> = scripts.iter().map(|(name, _)| dir.path().join(name)).collect();
    for (path, (_, text)) in paths.iter().zip(scripts) {
        fs::write(path, text).unwrap();
    }
    let words = shell_for(command, &paths);
    let plain = [&["/bin/sh".into()], &words[1..]].concat();
    for words in [words, plain] {
        let mut started = Command::new(&words[0]);
        started.args(&words[1..]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let child = started.spawn().unwrap();
        let pid = child.id().to_string();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim_end(), expect.replace("PID", &pid), "{words:?}");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn without_scripts_the_shell_is_the_plain_one() {
    assert_eq!(shell_for("echo a", &[]), ["/bin/sh", "-c", "echo a"]);
    check_run("echo $$", &[], "PID");
}

#[test]
fn scripts_are_sourced_before_the_command() {
    let export = ("a.sh", "export GREETING=hello\n");
    check_run("echo $GREETING", &[export], "hello");
    check_run("echo $GREETING", &[("a name with blanks & 'quotes'.sh", export.1)], "hello");
    check_run(
        "echo $GREETING $MORE",
        &[export, ("b.sh", "export MORE=\"$GREETING again\"")],
        "hello hello again",
    );
    check_run("echo $$", &[export], "PID");
}

#[test]
fn a_script_that_fails_does_not_keep_the_job_from_running() {
    let good = ("z.sh", "export GOOD=yes\n");
    for bad in [
        "false\n",
        "return 3\n",
        "set -eu\n",
        "set -- other words\n",
        "shift 2>/dev/null\n",
        "no-such-program\n",
        "unset GOOD; trap - INT\n",
    ] {
        check_run("echo $GOOD $#", &[("a.sh", bad), good], "yes 0");
        check_run("echo $$", &[("a.sh", bad), good], "PID");
    }
    // What ends the shell itself ends the sourcing, and no more.
    for bad in ["set -e\nfalse\n", "exit 3\n", "export OLD=1; set -u; : $NO_SUCH_VARIABLE\n", "if\n"] {
        check_run("echo ran as $$", &[("a.sh", bad)], "ran as PID");
    }
}

#[test]
fn a_script_that_is_gone_does_not_matter() {
    let words = shell_for("echo ran", &["/nowhere/a.sh".into()]);
    for shell in [&words[0], &OsString::from("/bin/sh")] {
        let output = Command::new(shell).args(&words[1..]).output().unwrap();
        assert_eq!(output.stdout, b"ran\n");
    }
}

#[test]
fn any_quoting_of_the_command_survives() {
    let script = [("a.sh", ":\n")];
    check_run(
        r#"printf '%s|' "a 'b'" 'c "d"' \$e "$(echo "f  g")" `echo h`"#,
        &script,
        r#"a 'b'|c "d"|$e|f  g|h|"#,
    );
    check_run("printf '%s\\n' \"one\n two\"; echo '$1' \"$#\" # '", &script, "one\n two\n$1 0");
    check_run("echo \"${0##*/}\"", &script, "sh");
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let dir = tempdir().unwrap();
    let script = dir.path().join("a.sh");
    fs::write(&script, "trap 'exit 9' EXIT\n").unwrap();
    let words = shell_for("exit 7", &[script]);
    assert_eq!(Command::new(&words[0]).args(&words[1..]).status().unwrap().code(), Some(7));
}
