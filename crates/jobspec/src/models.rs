//! What the models need that jobs name: `llm_config.json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use model::{GpuNeed, Mib, ParseGpuNeedError, ParseMibError};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::Quoted;
use crate::shell;

/// What each model needs, and one that is not named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models {
    default: Need,
    models: BTreeMap<String, Need>,
}

/// What a job needs of the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// How many GPUs, or which part of one; nothing where it is not said.
    pub gpus: Option<GpuNeed>,
    /// The most memory it will use of each GPU; nothing where it is not said.
    pub vram: Option<Mib>,
}

/// The text does not say what models need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ModelsError {
    /// The line where it is noticed, from 1.
    pub line: usize,
    /// The bytes before that place in its line.
    pub column: usize,
    /// What is wrong, with the model's name where it is about one.
    pub what: String,
}

impl Models {
    /// Reads a JSON object: in `models` what each model needs, and in
    /// `default_requirement` what any other does, one GPU where it is left out. A
    /// need is a number of GPUs (`0.5`), memory with its unit (`"18G"`), or an
    /// object with `gpus` and `vram`.
    ///
    /// # Errors
    /// When it is no JSON or says something else; the first such place is told.
    pub fn parse(text: &str) -> Result<Self, ModelsError> {
        let mut json = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
        let file = json.deserialize_map(File).and_then(|models| json.end().map(|()| models));
        file.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = error.to_string();
            let place = format!(" at line {line} column {column}");
            ModelsError { line, column, what: what.strip_suffix(&place).unwrap_or(&what).to_owned() }
        })
    }

    /// How many models are named.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// What this model needs; nothing where it is not named.
    pub fn for_model(&self, name: &str) -> Option<&Need> {
        self.models.get(name)
    }

    /// What a model needs that is not named.
    pub fn default_need(&self) -> &Need {
        &self.default
    }
}

/// The model that a command names, by `--llm NAME` or `--llm=NAME`, without
/// quotes. Of several it is the first.
pub fn model_in(command: &str) -> Option<Cow<'_, str>> {
    shell::first_value(command, "--llm")
}

/// The whole file.
struct File;

impl<'de> Visitor<'de> for File {
    type Value = Models;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with models and default_requirement")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Models, A::Error> {
        let default = Need { gpus: Some(GpuNeed::ONE), vram: None };
        let mut read = Models { default, models: BTreeMap::new() };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "default_requirement" => {
                    read.default = map.next_value_seed(NeedOf("default_requirement"))?;
                }
                "models" => read.models = map.next_value_seed(ByName)?,
                key => {
                    let known = "known: default_requirement, models";
                    return Err(de::Error::custom(format_args!("unknown key {} ({known})", Quoted(key))));
                }
            }
        }
        Ok(read)
    }
}

/// What is in `models`.
struct ByName;

impl<'de> DeserializeSeed<'de> for ByName {
    type Value = BTreeMap<String, Need>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ByName {
    type Value = BTreeMap<String, Need>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("models to be an object with the need of each model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut models = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let told = format!("model {}", Quoted(&name));
            let need = map.next_value_seed(NeedOf(&told))?;
            if models.insert(name, need).is_some() {
                return Err(de::Error::custom(format_args!("{told} is there twice")));
            }
        }
        Ok(models)
    }
}

/// What one model needs, or any other; with its name for errors.
#[derive(Clone, Copy)]
struct NeedOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for NeedOf<'_> {
    type Value = Need;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Need, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NeedOf<'_> {
    type Value = Need;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = r#"both as {"gpus": 2, "vram": "18G"}"#;
        write!(f, r#"for {} a number of GPUs such as 0.5, memory such as "18G", or {both}"#, self.0)
    }

    fn visit_u64<E: de::Error>(self, gpus: u64) -> Result<Need, E> {
        // More than any machine has is too many, however many it is.
        self.visit_f64(f64::from(u32::try_from(gpus).unwrap_or(u32::MAX)))
    }

    fn visit_i64<E: de::Error>(self, gpus: i64) -> Result<Need, E> {
        self.visit_f64(f64::from(i32::try_from(gpus).unwrap_or(i32::MIN)))
    }

    fn visit_f64<E: de::Error>(self, gpus: f64) -> Result<Need, E> {
        Ok(Need { gpus: Some(self.gpus(gpus)?), vram: None })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Need, E> {
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(self.wrong(format_args!(
                "{} has no unit; write it without quotes for GPUs, or with its unit for memory, such as \"18G\"",
                Quoted(text)
            )));
        }
        Ok(Need { gpus: None, vram: Some(self.vram(text)?) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Need, A::Error> {
        let mut need = Need { gpus: None, vram: None };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "gpus" => {
                    let gpus: Value = map.next_value()?;
                    let number = gpus.as_f64().ok_or_else(|| {
                        self.wrong(format_args!("gpus must be a number such as 2 or 0.5, got {gpus}"))
                    })?;
                    need.gpus = Some(self.gpus(number)?);
                }
                "vram" => {
                    let vram: Value = map.next_value()?;
                    // A number is in MiB, as everywhere.
                    let text = vram.as_str().map_or_else(|| vram.to_string(), str::to_owned);
                    need.vram = Some(self.vram(&text)?);
                }
                key => {
                    return Err(self.wrong(format_args!("unknown key {} (known: gpus, vram)", Quoted(key))));
                }
            }
        }
        if need.gpus.is_none() && need.vram.is_none() {
            return Err(self.wrong(format_args!("neither gpus nor vram is given")));
        }
        Ok(need)
    }
}

impl NeedOf<'_> {
    fn wrong<E: de::Error>(self, what: fmt::Arguments<'_>) -> E {
        E::custom(format_args!("{}: {what}", self.0))
    }

    fn gpus<E: de::Error>(self, gpus: f64) -> Result<GpuNeed, E> {
        GpuNeed::from_gpus(gpus).map_err(|error| match error {
            ParseGpuNeedError::Malformed | ParseGpuNeedError::NotPositive => {
                self.wrong(format_args!("gpus must be positive, got {gpus}"))
            }
            ParseGpuNeedError::TooLarge => {
                self.wrong(format_args!("gpus must be <= {}, got {gpus}", u16::MAX))
            }
        })
    }

    fn vram<E: de::Error>(self, text: &str) -> Result<Mib, E> {
        // Here, unlike in the block of a line, a blank before the unit is clear.
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let amount = format!("{}{}", &text[..text.len() - unit.len()], unit.trim());
        Mib::parse(&amount).map_err(|error| match error {
            ParseMibError::Malformed => self
                .wrong(format_args!("cannot parse vram value {} (use MiB or a G/GiB suffix)", Quoted(text))),
            ParseMibError::NotPositive => {
                self.wrong(format_args!("vram must be positive, got {}", Quoted(text)))
            }
            ParseMibError::TooLarge => self.wrong(format_args!("vram is too large, got {}", Quoted(text))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The need of one model, written so.
    #[track_caller]
    fn check(value: &str, gpus: Option<&str>, vram: Option<u32>) {
        let models = Models::parse(&format!(r#"{{"models": {{"x": {value}}}}}"#)).unwrap();
        let gpus = gpus.map(|gpus| GpuNeed::parse(gpus).unwrap());
        assert_eq!(models.for_model("x"), Some(&Need { gpus, vram: vram.map(Mib::new) }), "{value}");
    }

    #[track_caller]
    fn check_error(text: &str, expect: &str) {
        assert_eq!(Models::parse(text).unwrap_err().to_string(), expect, "{text}");
    }

    #[test]
    fn needs() {
        check("0.5", Some("0.5"), None);
        check("1", Some("1"), None);
        check("2.0", Some("2"), None);
        check("1.5", Some("2"), None);
        check("\"18G\"", None, Some(18_432));
        check("\"9000 MiB\"", None, Some(9000));
        check("\"9000MiB\"", None, Some(9000));
        check(r#"{"gpus": 2}"#, Some("2"), None);
        check(r#"{"vram": 9000, "gpus": 0.25}"#, Some("0.25"), Some(9000));
        check(r#"{"vram": "18G"}"#, None, Some(18_432));
        check(r#"{"vram": "9000"}"#, None, Some(9000));
    }

    #[test]
    fn the_file_of_the_old_guide() {
        let models = Models::parse(
            r#"{"default_requirement": 1.0, "models": {"qwen2.5-3b-inst": 0.5, "qwen2.5-7b-inst": 1.0}}"#,
        )
        .unwrap();
        assert_eq!(models.default_need().gpus, Some(GpuNeed::ONE));
        let small = models.for_model("qwen2.5-3b-inst").unwrap();
        assert_eq!(small.gpus.map(|gpus| gpus.to_string()).as_deref(), Some("0.5"));
        assert_eq!(models.for_model("other"), None);
        let empty = Models::parse("\u{feff}{}").unwrap();
        assert_eq!(empty.default_need(), &Need { gpus: Some(GpuNeed::ONE), vram: None });
        let memory = Models::parse(r#"{"default_requirement": "8G"}"#).unwrap();
        assert_eq!(memory.default_need(), &Need { gpus: None, vram: Some(Mib::new(8192)) });
    }

    #[test]
    fn what_is_no_need() {
        #[track_caller]
        fn check(value: &str, expect: &str) {
            let error = Models::parse(&format!("{{\"models\": {{\n\"x\": {value}\n}}}}")).unwrap_err();
            assert!((2..4).contains(&error.line), "{error}");
            assert_eq!(error.what, expect, "{value}");
        }
        check("0", "model 'x': gpus must be positive, got 0");
        check("-1", "model 'x': gpus must be positive, got -1");
        check("99999", "model 'x': gpus must be <= 65535, got 99999");
        check(
            "\"0.5\"",
            "model 'x': '0.5' has no unit; write it without quotes for GPUs, or with its unit \
            for memory, such as \"18G\"",
        );
        check("\"18T\"", "model 'x': cannot parse vram value '18T' (use MiB or a G/GiB suffix)");
        check("\"0G\"", "model 'x': vram must be positive, got '0G'");
        check(r#"{"vram": 99999999999}"#, "model 'x': vram is too large, got '99999999999'");
        check(r#"{"vram": null}"#, "model 'x': cannot parse vram value 'null' (use MiB or a G/GiB suffix)");
        check(r#"{"gpus": "2"}"#, "model 'x': gpus must be a number such as 2 or 0.5, got \"2\"");
        check(r#"{"gpu": 2}"#, "model 'x': unknown key 'gpu' (known: gpus, vram)");
        check("{}", "model 'x': neither gpus nor vram is given");
        check(
            "true",
            "invalid type: boolean `true`, expected for model 'x' a number of GPUs such as 0.5, \
            memory such as \"18G\", or both as {\"gpus\": 2, \"vram\": \"18G\"}",
        );
        check("1, \"x\": 2", "model 'x' is there twice");
    }

    #[test]
    fn what_is_no_file() {
        check_error("", "line 1, column 0: EOF while parsing a value");
        check_error("{\n\"models\": {\"x\": 1,}}", "line 2, column 19: trailing comma");
        check_error("{} x", "line 1, column 4: trailing characters");
        check_error(
            "{\"model\": {}}",
            "line 1, column 8: unknown key 'model' (known: default_requirement, models)",
        );
        check_error(
            "[]",
            "line 1, column 0: invalid type: sequence, expected an object with models and default_requirement",
        );
        check_error(
            "{\"models\": []}",
            "line 1, column 11: invalid type: sequence, expected models to be an object with the need of \
             each model",
        );
        check_error(
            "{\"default_requirement\": 0}",
            "line 1, column 25: default_requirement: gpus must be positive, got 0",
        );
    }

    #[test]
    fn models_of_commands() {
        assert_eq!(model_in("python -u a.py --llm 'qwen 7b' --llm x").as_deref(), Some("qwen 7b"));
        assert_eq!(model_in("python -u a.py '--llm=qwen'").as_deref(), Some("qwen"));
        assert_eq!(model_in("python -u a.py"), None);
    }
}
