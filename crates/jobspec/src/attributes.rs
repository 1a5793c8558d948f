//! The `[key=value ...]` block in front of a command.

mod values;

use std::ops::Range;

use model::{GpuNeed, GpuSet, Mib, Setting, SignedDuration};

use crate::SyntaxErrorKind;

pub(crate) use values::priority;

/// What a line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// `vram=`: the most memory it will use of each GPU, in MiB.
    pub vram: Option<Mib>,
    /// `gpus=`: how many GPUs it needs, or which part of one; one where the line
    /// does not say.
    pub gpus: Option<GpuNeed>,
    /// `timeout=`: how long it may run, to the millisecond.
    pub timeout: Option<SignedDuration>,
    /// `retries=`: how often it is run again after it ran out of GPU memory;
    /// nothing where the line does not say.
    pub retries: Option<u32>,
    /// `cancel`: it shall not start, or shall stop.
    pub cancel: bool,
    /// `priority=`: the lower, the earlier; lines of the same priority take their
    /// turns in file order.
    pub priority: i32,
    /// `on=`: the only GPUs it may have; nothing where any will do.
    pub on: Option<GpuSet>,
    /// `cuda`: whether its command gets its GPUs as `--cuda`, and by which numbers.
    pub cuda: Option<CudaIds>,
    /// `name=`: what it is called beside its number.
    pub name: Option<Box<str>>,
    /// `conda=`, `cwd=`, `env.NAME=`: what it runs in and with.
    pub setting: Setting,
}

/// By which numbers a command is told its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CudaIds {
    /// Their indices on this machine, as in `CUDA_VISIBLE_DEVICES`, unless the
    /// scheduler was told otherwise.
    Index,
    /// From 0, as the job sees them behind `CUDA_VISIBLE_DEVICES`.
    Visible,
}

/// One wrong word of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadAttribute {
    /// Where in the block, in bytes.
    pub(crate) span: Range<usize>,
    pub(crate) kind: SyntaxErrorKind,
}

impl Attributes {
    /// How many GPUs the line asks for, if it says nothing, one.
    pub fn gpu_need(&self) -> GpuNeed {
        self.gpus.unwrap_or(GpuNeed::ONE)
    }

    /// Reads what stands between the brackets. Of a repeated attribute the last
    /// one counts; an error is of the first wrong word.
    pub(crate) fn parse(block: &str) -> Result<Self, BadAttribute> {
        let mut attributes = Self::default();
        for (at, word) in words(block) {
            attributes.take_word(word).map_err(|kind| BadAttribute { span: at..at + word.len(), kind })?;
        }
        Ok(attributes)
    }

    fn take_word(&mut self, word: &str) -> Result<(), SyntaxErrorKind> {
        let Some((key, value)) = word.split_once('=') else { return self.take_flag(word) };
        if let Some((prefix, variable)) = key.split_once('.')
            && prefix.eq_ignore_ascii_case("env")
        {
            self.setting.env.insert(values::variable(variable)?, value.into());
            return Ok(());
        }
        let key = key.to_lowercase();
        match key.as_str() {
            "vram" => self.vram = Some(values::vram(value)?),
            "gpus" => self.gpus = Some(values::gpus(value)?),
            "timeout" => self.timeout = Some(values::timeout(value)?),
            "retries" => self.retries = Some(values::integer("retries", value, 0, u32::MAX)?),
            "priority" => self.priority = values::priority(value)?,
            "on" => self.on = Some(values::gpu_set(value)?),
            "cuda" => self.cuda = Some(values::cuda(value)?),
            "name" => self.name = Some(values::text("name", value)?),
            "conda" => self.setting.conda = Some(values::text("conda", value)?),
            "cwd" => self.setting.cwd = Some(values::text("cwd", value)?),
            _ => return Err(SyntaxErrorKind::Unknown { key }),
        }
        Ok(())
    }

    fn take_flag(&mut self, word: &str) -> Result<(), SyntaxErrorKind> {
        match word.to_ascii_lowercase().as_str() {
            "cancel" => self.cancel = true,
            "cuda" => self.cuda = Some(CudaIds::Index),
            _ => return Err(SyntaxErrorKind::Malformed { token: word.to_owned() }),
        }
        Ok(())
    }
}

/// Splits a line into what stands between brackets at its start, if anything
/// does, and the rest of it.
pub(crate) fn split_block(body: &str) -> Result<(&str, &str), SyntaxErrorKind> {
    match body.strip_prefix('[') {
        // An empty piece of the text, not "": that points nowhere, and some
        // processors take their time to compare nothing with nowhere.
        None => Ok(body.split_at(0)),
        Some(rest) => {
            let (block, rest) = rest.split_once(']').ok_or(SyntaxErrorKind::Unterminated)?;
            Ok((block, rest.trim_start()))
        }
    }
}

/// The words of a text and where they start.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive(char::is_whitespace)
        .scan(0, |next, piece| {
            let at = *next;
            *next += piece.len();
            Some((at, piece.trim_end()))
        })
        .filter(|(_, word)| !word.is_empty())
}

#[cfg(test)]
mod tests;
