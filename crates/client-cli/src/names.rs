//! What the person knows the accounts and groups of a line by. JSON names them by their ids alone; lines for people
//! say `me`, a contact's name, its checked number, or what a group is called, where that is known.

use crate::lines::{Event, Line, Text};
use client::{Fault, View};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Ids, and what to call them. Goes with the lines to the process that prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    me: String,
    accounts: BTreeMap<String, String>,
    groups: BTreeMap<String, String>,
    /// Changes of groups, by group and epoch, that named this account.
    about_me: BTreeSet<(String, u64)>,
}

impl Names {
    /// Looks up everything that these lines mention.
    pub fn of(lines: &[Line], view: View<'_>) -> Result<Self, Fault> {
        let me = view.whoami()?.map(|me| me.account.to_string()).unwrap_or_default();
        let mut names = Self { me, ..Self::default() };
        for line in lines {
            let mentioned = Mentioned::of(line);
            for account in mentioned.accounts {
                names.learn_account(account, view)?;
            }
            if let Some(chat) = mentioned.chat {
                names.learn_group(chat, view)?;
            }
            if let Line::Event(Event::GroupChanged { group, epoch, .. }) = line
                && let Ok(id) = group.parse()
                && view.group_change_names_me(id, *epoch)?
            {
                names.about_me.insert((group.clone(), *epoch));
            }
        }
        Ok(names)
    }

    fn learn_account(&mut self, account: &str, view: View<'_>) -> Result<(), Fault> {
        if account == self.me || self.accounts.contains_key(account) {
            return Ok(());
        }
        if let Ok(id) = account.parse()
            && let Some(name) = view.known_as(id)?
        {
            self.accounts.insert(account.to_owned(), name);
        }
        Ok(())
    }

    fn learn_group(&mut self, chat: &str, view: View<'_>) -> Result<(), Fault> {
        if !self.groups.contains_key(chat)
            && let Ok(id) = chat.parse()
            && let Some(group) = view.group(id)?
        {
            self.groups.insert(chat.to_owned(), group.name.unwrap_or_else(|| chat.to_owned()));
        }
        Ok(())
    }

    /// Names that a test gives.
    pub fn given(me: &str, accounts: &[(&str, &str)], groups: &[(&str, &str)]) -> Self {
        let owned = |names: &[(&str, &str)]| {
            names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
        };
        let (accounts, groups) = (owned(accounts), owned(groups));
        Self { me: me.to_owned(), accounts, groups, about_me: BTreeSet::new() }
    }

    /// The same, with a change of a group that named this account.
    pub fn and_about_me(mut self, group: &str, epoch: u64) -> Self {
        self.about_me.insert((group.to_owned(), epoch));
        self
    }

    /// What to call an account: its id if nothing else is known.
    pub fn account<'a>(&'a self, account: &'a str) -> &'a str {
        match self.accounts.get(account) {
            Some(name) => name,
            None if account == self.me => "me",
            None => account,
        }
    }

    /// Whether the change that led to this epoch of a group was done to this account.
    pub fn is_about_me(&self, group: &str, epoch: u64) -> bool {
        self.about_me.iter().any(|(of, at)| of == group && *at == epoch)
    }

    /// What a chat is called if it is a group.
    pub fn group(&self, chat: &str) -> Option<&str> {
        self.groups.get(chat).map(String::as_str)
    }
}

/// The ids in a line for which a name is worth looking up.
#[derive(Default)]
struct Mentioned<'a> {
    accounts: Vec<&'a str>,
    chat: Option<&'a str>,
}

impl<'a> Mentioned<'a> {
    fn of(line: &'a Line) -> Self {
        match line {
            Line::Event(Event::Message(text)) => Self::text(text),
            Line::Message(message) => Self::text(&message.text),
            Line::Event(Event::Receipt { from, .. }) => Self::accounts([from]),
            Line::Event(Event::Gap { chat, sender, .. }) => {
                Self { accounts: vec![&sender.account], chat: Some(chat) }
            }
            Line::Event(Event::SplitView { chat, account }) => {
                Self { accounts: vec![account], chat: Some(chat) }
            }
            Line::Event(Event::DeviceChanged { account, .. }) => Self::accounts([account]),
            Line::Blocked(blocked) => Self::accounts([&blocked.account]),
            Line::Event(Event::GroupChanged { group, by, .. }) => {
                Self { accounts: vec![by], chat: Some(group) }
            }
            Line::Status(status) => Self::accounts(status.recipients.iter().map(|one| &one.account)),
            Line::Group(group) => Self::accounts(group.members.iter().map(|member| &member.account)),
            _ => Self::default(),
        }
    }

    fn text(text: &'a Text) -> Self {
        Self { accounts: vec![&text.sender.account], chat: Some(&text.chat) }
    }

    fn accounts(accounts: impl IntoIterator<Item = &'a String>) -> Self {
        Self { accounts: accounts.into_iter().map(String::as_str).collect(), chat: None }
    }
}
