//! What the person knows the accounts of a line by. JSON names accounts by their ids alone; lines for people
//! say `me`, a contact's name, or its checked number where there is one.

use crate::lines::{Event, Line};
use client::{Fault, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Account ids, and what to call them. Goes with the lines to the process that prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    me: String,
    known: BTreeMap<String, String>,
}

impl Names {
    /// Looks up every account that these lines mention.
    pub fn of(lines: &[Line], view: View<'_>) -> Result<Self, Fault> {
        let me = view.whoami()?.map(|me| me.account.to_string()).unwrap_or_default();
        let mut known = BTreeMap::new();
        for account in lines.iter().flat_map(mentioned) {
            if account == me || known.contains_key(account) {
                continue;
            }
            if let Ok(id) = account.parse()
                && let Some(name) = view.known_as(id)?
            {
                known.insert(account.to_owned(), name);
            }
        }
        Ok(Self { me, known })
    }

    /// Names that a test gives.
    pub fn given(me: &str, known: &[(&str, &str)]) -> Self {
        let known = known.iter().map(|(account, name)| ((*account).to_owned(), (*name).to_owned()));
        Self { me: me.to_owned(), known: known.collect() }
    }

    /// What to call an account: its id if nothing else is known.
    pub fn call<'a>(&'a self, account: &'a str) -> &'a str {
        match self.known.get(account) {
            Some(name) => name,
            None if account == self.me => "me",
            None => account,
        }
    }
}

/// The accounts of a line for which a name is worth looking up.
fn mentioned(line: &Line) -> Vec<&str> {
    match line {
        Line::Event(Event::Message(text)) => vec![&text.sender.account],
        Line::Event(Event::Receipt { from, .. }) => vec![from],
        Line::Event(Event::Gap { sender, .. }) => vec![&sender.account],
        Line::Event(Event::SplitView { account, .. }) => vec![account],
        Line::Message(message) => vec![&message.text.sender.account],
        Line::Status(status) => {
            status.recipients.iter().map(|recipient| recipient.account.as_str()).collect()
        }
        _ => Vec::new(),
    }
}
