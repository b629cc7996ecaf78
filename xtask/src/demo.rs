//! A conversation of two people through a server that is killed in the middle.

use anyhow::Result;

use crate::{command::release_program, repository::Repository};

/// Plays the conversation.
pub fn play(repository: &Repository) -> Result<()> {
    let _ = (release_program(repository, "waxwing")?, release_program(repository, "wax")?);
    anyhow::bail!("the programs cannot talk yet")
}
