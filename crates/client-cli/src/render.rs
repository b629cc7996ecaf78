//! Lines for people. Text that others wrote is shown without control characters, so that nobody can
//! play with the terminal of the person they write to.

use crate::{
    lines::{BackupMade, Event, Group, Line, LinkCode, Sender, State, Text},
    names::Names,
    qr,
};
use std::fmt::Write as _;

const GREEN: &str = "\u{1b}[32m";
const BLUE: &str = "\u{1b}[34m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// The line as text, with colours, which the stream strips where they are not wanted.
pub fn text(line: &Line, names: &Names) -> String {
    match line {
        Line::CodeSent(sent) => format!(
            "A code is on its way to your number and is good for {} minutes. Finish with --code CODE.",
            sent.expires_in.div_ceil(60)
        ),
        Line::Registered(account) => {
            format!("{BOLD}{}{PLAIN} is registered as account {}.", account.phone, account.account)
        }
        Line::Sent(sent) => {
            format!("{} {}  {DIM}{}{PLAIN}", tick(sent.state), sent.state.name(), sent.message_id)
        }
        Line::Event(event) => event_text(event, names),
        Line::Read(read) if read.up_to.is_none() => "There is nothing to read.".into(),
        Line::Read(_) => format!("{BLUE}✓✓{PLAIN} The other side knows that you have read everything."),
        Line::Message(message) => message_text(&message.text, Some(message.state), names),
        Line::Chat(chat) => {
            let label =
                chat.name.as_ref().or(chat.phone.as_ref()).map_or(chat.chat.clone(), |name| shown(name));
            let unread = match chat.unread {
                0 => String::new(),
                unread => format!("{unread} new"),
            };
            let last = last_seen(chat.last_stamp.as_deref());
            format!("{BOLD}{label:<34}{PLAIN} {GREEN}{unread:<8}{PLAIN} {DIM}{last}{PLAIN}")
        }
        Line::Status(status) => {
            let mut text = format!("{} {}", tick(status.state), status.state.name());
            for recipient in &status.recipients {
                let at = recipient.at.as_deref().map(minute).unwrap_or_default();
                let who = shown(names.account(&recipient.account));
                let _ = write!(text, "\n  {who}  {} {at}", recipient.state.name());
            }
            text
        }
        Line::Verification(verification) => {
            verification_text(&verification.safety_number, verification.verified)
        }
        Line::Blocked(decision) => {
            let who = shown(names.account(&decision.account));
            let what = if decision.blocked { "is blocked" } else { "is not blocked" };
            format!("{BOLD}{who}{PLAIN} {what}")
        }
        Line::Identity(identity) => format!(
            "{BOLD}{}{PLAIN}\naccount {}\ndevice  {}\nserver  {}",
            identity.phone, identity.account, identity.device, identity.server
        ),
        Line::LinkCode(link) => link_text(link),
        Line::Linked(linked) => {
            format!("This is device {} of account {} now.", linked.device, linked.account)
        }
        Line::DeviceAdded(added) => format!("Device {} belongs to this account now.", added.device),
        Line::Device(device) => {
            let name = shown(device.name.as_deref().unwrap_or("unnamed"));
            let this = if device.this_device { "this device" } else { "" };
            let at = minute(&device.added_at);
            format!("{BOLD}{:<3}{PLAIN} {name:<24} {DIM}{at}{PLAIN} {GREEN}{this}{PLAIN}", device.device)
        }
        Line::DeviceRemoved(removed) => {
            format!("Device {} does not belong to this account any more.", removed.removed)
        }
        Line::BackupMade(backup) => backup_text(backup),
        Line::BackupVerified(backup) => format!(
            "{} is whole: account {} ({}), made {}, with {} contacts, {} groups and {} messages.",
            shown(&backup.file),
            backup.account,
            backup.phone,
            minute(&backup.made_at),
            backup.contacts,
            backup.groups,
            backup.messages
        ),
        Line::Group(group) => group_text(group, names),
        Line::GroupEntry(group) => {
            let members = match group.members.len() {
                1 => "1 member".to_owned(),
                members => format!("{members} members"),
            };
            format!("{BOLD}{:<34}{PLAIN} {members:<14} {DIM}{}{PLAIN}", group_label(group), group.group)
        }
        Line::GroupLink(link) => link.url.clone(),
        Line::Accepted(accepted) => match (&accepted.old_account, accepted.released) {
            (None, _) => format!("There is nothing to accept: {} leads where it did.", accepted.phone),
            (Some(_), 0) => format!("{} leads to its new account from now on.", accepted.phone),
            (Some(_), released) => format!(
                "{} leads to its new account from now on; messages that waited: {released}.",
                accepted.phone
            ),
        },
    }
}

/// The picture, and what to type instead of taking one.
fn link_text(link: &LinkCode) -> String {
    let picture = qr::draw(&link.code).map(|picture| format!("{picture}\n")).unwrap_or_default();
    format!(
        "{picture}On the primary device, within {} seconds:\n  {BOLD}wax devices add {}{PLAIN}",
        link.expires_in, link.code
    )
}

/// The key in four lines of four groups, as it is written down.
fn backup_text(backup: &BackupMade) -> String {
    let groups: Vec<&str> = backup.recovery_key.split_whitespace().collect();
    let lines: Vec<String> = groups.chunks(4).map(|line| format!("  {}", line.join(" "))).collect();
    format!(
        "{} is written. Its recovery key, which is shown only now:\n{BOLD}{}{PLAIN}\n\
         Write it down and keep it away from the file: nobody can open the backup without it.",
        shown(&backup.file),
        lines.join("\n")
    )
}

fn group_label(group: &Group) -> String {
    shown(group.name.as_deref().unwrap_or("(name not known yet)"))
}

fn group_text(group: &Group, names: &Names) -> String {
    let mut text = format!("{BOLD}{}{PLAIN} {DIM}{}{PLAIN}", group_label(group), group.group);
    for member in &group.members {
        let name = names.account(&member.account);
        let name = if name == member.account { member.phone.as_deref().unwrap_or(name) } else { name };
        let closed = if member.closed { ", account closed" } else { "" };
        let _ = write!(text, "\n  {:<34} {}{closed}", shown(name), member.role);
    }
    text
}

/// One tick on the server, two on the recipient's device, two blue ones when it was read.
fn tick(state: State) -> String {
    match state {
        State::Queued => format!("{DIM}…{PLAIN}"),
        State::Accepted => format!("{DIM}✓{PLAIN}"),
        State::Delivered => format!("{DIM}✓✓{PLAIN}"),
        State::Read => format!("{BLUE}✓✓{PLAIN}"),
        State::Expired | State::Failed => format!("{RED}✗{PLAIN}"),
    }
}

fn event_text(event: &Event, names: &Names) -> String {
    match event {
        Event::Message(message) => message_text(message, None, names),
        Event::Receipt { kind, message_ids, from } => {
            let tick = tick(if kind == "read" { State::Read } else { State::Delivered });
            let from = shown(names.account(from));
            match message_ids.as_slice() {
                [one] => format!("{tick} {kind} {DIM}{one} by {from}{PLAIN}"),
                several => format!("{tick} {kind} {} messages {DIM}by {from}{PLAIN}", several.len()),
            }
        }
        Event::Gap { sender, permanent: false, .. } => {
            format!("{RED}A message from {} is missing;{PLAIN} it was asked for again.", who(sender, names))
        }
        Event::Gap { sender, reason, .. } => {
            format!("{RED}A message from {} is lost{PLAIN} ({}).", who(sender, names), shown(reason))
        }
        Event::SplitView { account, .. } => format!(
            "{RED}Warning: the server shows different devices of {} to different people.{PLAIN} \
             Compare safety numbers with 'wax verify'.",
            shown(names.account(account))
        ),
        Event::KeyChanged { phone, account, .. } => format!(
            "{RED}{phone} belongs to a new account now{PLAIN} ({account}). What you write to it waits until you \
             run 'wax verify {phone} --accept'; compare safety numbers first."
        ),
        Event::DeviceChanged { account, added, removed } => {
            device_changed_text(account, added, removed, names)
        }
        Event::GroupChanged { group, epoch, change, by } => {
            let deed = deed(change, names.is_about_me(group, *epoch));
            let (by, group) = (shown(names.account(by)), shown(names.group(group).unwrap_or(group)));
            format!("{DIM}{by} {deed}{PLAIN} {group}")
        }
        Event::Drained => format!("{DIM}That is everything.{PLAIN}"),
    }
}

fn device_changed_text(account: &str, added: &[u8], removed: &[u8], names: &Names) -> String {
    let who = shown(names.account(account));
    let list = |numbers: &[u8]| numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let news = [("new", added), ("gone", removed)].into_iter().filter(|(_, numbers)| !numbers.is_empty());
    let news = news.map(|(word, numbers)| format!("device {} is {word}", list(numbers)));
    format!("{DIM}{who}: {}{PLAIN}", news.collect::<Vec<_>>().join(", "))
}

/// What somebody did to the group whose name follows, perhaps to the person who reads it.
fn deed(change: &str, to_me: bool) -> String {
    let words = match change {
        "add" if to_me => "has added you to",
        "remove" if to_me => "has removed you from",
        "promote" if to_me => "has made you an admin in",
        "demote" if to_me => "has made you a member in",
        "create" => "has made",
        "add" => "has added to",
        "remove" => "has removed somebody from",
        "leave" => "has left",
        "join" => "has joined",
        "promote" => "has made an admin in",
        "demote" => "has made an admin a member in",
        "rename" => "has renamed",
        "permissions" => "has changed who may do what in",
        "link" => "has changed the link to",
        "timer" => "has changed how long messages stay in",
        other => return format!("has changed ({})", shown(other)),
    };
    words.to_owned()
}

fn message_text(message: &Text, state: Option<State>, names: &Names) -> String {
    let tick = state.map(|state| format!("{} ", tick(state))).unwrap_or_default();
    let text = shown(&message.body.text).replace('\n', "\n    ");
    let who = who(&message.sender, names);
    let at = names.group(&message.chat).map(|group| format!("{DIM}{}{PLAIN} ", shown(group)));
    let at = at.unwrap_or_default();
    format!("{DIM}{}{PLAIN} {tick}{at}{BOLD}{who}{PLAIN}  {text}", minute(&message.sent_at))
}

/// A name is worth more than a number, and a number more than an id.
fn who(sender: &Sender, names: &Names) -> String {
    let name = names.account(&sender.account);
    let name = if name == sender.account { sender.phone.as_deref().unwrap_or(name) } else { name };
    shown(name)
}

/// Groups of five digits, four a line, as they are read aloud.
fn verification_text(safety_number: &str, verified: bool) -> String {
    let mut text = String::new();
    for (index, digit) in safety_number.chars().enumerate() {
        match index {
            0 => {}
            index if index % 20 == 0 => text.push('\n'),
            index if index % 5 == 0 => text.push(' '),
            _ => {}
        }
        text.push(digit);
    }
    let remark = if verified {
        format!("{GREEN}You have marked this number as compared.{PLAIN}")
    } else {
        "Compare it with the other side, then run this again with --mark.".into()
    };
    format!("{BOLD}{text}{PLAIN}\n{remark}")
}

/// `2026-11-22T14:00:00.000Z` as `2026-11-22 14:00Z`.
fn minute(at: &str) -> String {
    match (at.get(..10), at.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute}Z"),
        _ => shown(at),
    }
}

fn last_seen(stamp: Option<&str>) -> String {
    let stamp = stamp.and_then(|stamp| stamp.parse::<types::Stamp>().ok());
    stamp.map(|stamp| minute(&stamp.time().to_string())).unwrap_or_default()
}

/// Without control characters, except line breaks and tabs, and without characters that turn the
/// direction of what follows.
fn shown(text: &str) -> String {
    let tame = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(tame).collect()
}
