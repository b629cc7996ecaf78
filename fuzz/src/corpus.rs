//! The committed corpus: `corpus/<target>/<name>`, one input a file.
//!
//! Two kinds of files: samples, which `fuzz seed-corpus` writes from code, and inputs that once failed, which stay
//! for ever. A sample is written again only when a change of its format made it invalid.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{Outcome, Target, campaign};

/// The folder of all corpora.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of one target with their file names, sorted by name. A target without a folder has none.
pub fn read(target: &Target) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = folder().join(target.name);
    let mut inputs = Vec::new();
    if !folder.is_dir() {
        return Ok(inputs);
    }
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let bytes =
            fs::read(entry.path()).with_context(|| format!("{} cannot be read", entry.path().display()))?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes the samples of a target that are missing or not valid any more; how many.
pub fn write_samples(target: &Target) -> Result<usize> {
    let folder = folder().join(target.name);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut written = 0;
    for sample in (target.samples)() {
        let path = folder.join(&sample.name);
        let kept =
            fs::read(&path).is_ok_and(|kept| campaign::run_one(target, &kept) == Ok(Outcome::Accepted));
        if !kept {
            fs::write(&path, &sample.bytes)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            written += 1;
        }
    }
    Ok(written)
}
