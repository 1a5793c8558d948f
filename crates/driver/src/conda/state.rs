//! The variables that an environment brings along.
//!
//! Packages write theirs to `etc/conda/env_vars.d/*.json`, and `conda env config
//! vars set` writes its own to `conda-meta/state`, which has the last word
//! (`_get_environment_env_vars` in `conda/activate.py`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CondaError, listed};
use crate::medium::PathError;

/// What `conda env config vars unset` leaves for a value: the environment does
/// not set this variable (`CONDA_ENV_VARS_UNSET_VAR`).
const UNSET: &str = "***unset***";

type Told = BTreeMap<String, Value>;

#[derive(Default, Deserialize)]
struct State {
    #[serde(default)]
    env_vars: Told,
}

/// The variables that an environment sets.
///
/// # Errors
/// When a file can't be read or makes no sense.
pub(super) fn variables(prefix: &Path) -> Result<BTreeMap<OsString, OsString>, CondaError> {
    let mut found = BTreeMap::new();
    for path in listed(&prefix.join("etc/conda/env_vars.d"), "json")? {
        take(&path, read::<Told>(&path)?, &mut found)?;
    }
    let path = prefix.join("conda-meta/state");
    take(&path, read::<State>(&path)?.env_vars, &mut found)?;
    Ok(found)
}

/// Reads a file; nothing is in one that is not there.
fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, CondaError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(PathError::of("read", path)(error).into()),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| CondaError::State { path: path.to_owned(), why: error.to_string() })
}

fn take(path: &Path, told: Told, into: &mut BTreeMap<OsString, OsString>) -> Result<(), CondaError> {
    for (name, value) in told {
        let value = match value {
            Value::String(text) => text,
            other
            @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let why = format!("the variable {name:?} is none that a process can have");
            return Err(CondaError::State { path: path.to_owned(), why });
        }
        if value == UNSET {
            into.remove(OsStr::new(&name));
        } else {
            into.insert(name.into(), value.into());
        }
    }
    Ok(())
}
