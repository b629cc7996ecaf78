//! `wax group …`

use clap::{Args, Subcommand};

/// `wax group`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax group create Family +15552000101 +15552000102
  wax send Family 'Dinner is ready'
  wax group info Family")]
pub struct Group {
    /// What to do.
    #[command(subcommand)]
    pub command: GroupCommand,
}

/// What to do with a group.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group
    #[command(after_help = "\
Examples:
  wax group create Family +15552000101 +15552000102
  wax group create 'Just me for now'")]
    Create {
        /// What to call it; only members can read it
        name: String,
        /// Whom to put into it: phone numbers or account ids
        #[arg(value_name = "NUMBER")]
        members: Vec<String>,
    },
    /// Put people into a group
    #[command(after_help = "Example:\n  wax group add Family +15552000103")]
    Add(Members),
    /// Take people out of a group: they read nothing that is written from then on
    #[command(after_help = "Example:\n  wax group remove Family +15552000103")]
    Remove(Members),
    /// Make members admins
    #[command(after_help = "Example:\n  wax group promote Family +15552000101")]
    Promote(Members),
    /// Make admins plain members
    #[command(after_help = "Example:\n  wax group demote Family +15552000101")]
    Demote(Members),
    /// Give a group another name
    #[command(after_help = "Example:\n  wax group rename Family 'Family and friends'")]
    Rename {
        /// The group's id, or its name where only one group has it
        group: String,
        /// The new name
        name: String,
    },
    /// Leave a group
    #[command(after_help = "\
Example:
  wax group leave Family

The last admin of others makes one of them an admin first, with 'wax group promote'.")]
    Leave {
        /// The group's id, or its name where only one group has it
        group: String,
    },
    /// Print who is in a group
    #[command(after_help = "Example:\n  wax group info Family")]
    Info {
        /// The group's id, or its name where only one group has it
        group: String,
    },
    /// Print the link by which others can join
    #[command(after_help = "\
Examples:
  wax group link Family
  wax group link Family --reset    a new link; the old one is dead

Whoever has the link can join. What makes it secret stands after the '#', which the server never sees.")]
    Link {
        /// The group's id, or its name where only one group has it
        group: String,
        /// Make a new link, and the old one void
        #[arg(long)]
        reset: bool,
    },
    /// Join a group by a link
    #[command(after_help = "Example:\n  wax group join 'https://chat.example.org/g/0001…#…'")]
    Join {
        /// The link, as 'wax group link' printed it ('-' reads it from standard input)
        url: String,
    },
}

/// A group and some people.
#[derive(Debug, Args)]
pub struct Members {
    /// The group's id, or its name where only one group has it
    pub group: String,
    /// Phone numbers or account ids
    #[arg(required = true, value_name = "NUMBER")]
    pub members: Vec<String>,
}
