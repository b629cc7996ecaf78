//! `wax group …`, as far as the server is needed: a change is made once, however often its command is repeated.

use super::{Stop, chat_name, come_back, people::People};
use crate::{
    failure::{Failure, Reason},
    lines::{Group, GroupLink, Line},
    names::Names,
    output::{Batch, Output},
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use client::{ChangeId, ChatName, GroupCommand, GroupError, InviteLink, Resolved};
use client_net::Changed;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use types::{AccountId, ChatId, GroupId};

/// What to do with a group. Groups and people are as they were typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// `create`
    Create {
        /// What to call it.
        name: String,
        /// Who is in it beside oneself.
        members: Vec<String>,
    },
    /// `add`, `remove`, `promote`, `demote`
    Members {
        /// The group.
        group: String,
        /// Which of the four.
        change: MemberChange,
        /// Whom.
        members: Vec<String>,
    },
    /// `rename`
    Rename {
        /// The group.
        group: String,
        /// Its new name.
        name: String,
    },
    /// `leave`
    Leave {
        /// The group.
        group: String,
    },
    /// `link`
    Link {
        /// The group.
        group: String,
        /// Make a new one.
        reset: bool,
    },
    /// `join`
    Join {
        /// The link.
        url: String,
    },
}

/// What happens to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// They come in.
    Add,
    /// They go.
    Remove,
    /// They become admins.
    Promote,
    /// They are admins no more.
    Demote,
}

impl Job {
    /// Checks what can be checked without the profile.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Create { members, .. } => super::people::check(members),
            Self::Members { group, members, .. } => {
                chat_name(group)?;
                super::people::check(members)
            }
            Self::Rename { group, .. } | Self::Leave { group } | Self::Link { group, .. } => {
                chat_name(group).map(drop)
            }
            Self::Join { url } => invite(url).map(drop),
        }
    }
}

/// Changes a group, and prints what it is then.
pub async fn perform(
    job: Job,
    session: &Session,
    waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let mut work = Work { session, waiting, people: People::default(), made: None };
    let batch = match job {
        Job::Create { name, members } => {
            let members = work.newcomers(&members).await?;
            let group = work.change(Order::Create { name, members }).await?;
            info(group, session).await?
        }
        Job::Members { group, change, members } => {
            let group = find(&group, session).await?;
            let members = match change {
                MemberChange::Add => work.newcomers(&members).await?,
                _ => work.accounts(&members).await?,
            };
            let command = match change {
                MemberChange::Add => GroupCommand::Add(members),
                MemberChange::Remove => GroupCommand::Remove(members),
                MemberChange::Promote => GroupCommand::Promote(members),
                MemberChange::Demote => GroupCommand::Demote(members),
            };
            work.change_known(group, command).await?
        }
        Job::Rename { group, name } => {
            let group = find(&group, session).await?;
            work.change_known(group, GroupCommand::Rename(name)).await?
        }
        Job::Leave { group } => {
            let group = find(&group, session).await?;
            work.change_known(group, GroupCommand::Leave).await?
        }
        Job::Link { group, reset } => work.link(find(&group, session).await?, reset).await?,
        Job::Join { url } => {
            let group = work.change(Order::Join(Box::new(invite(&url)?))).await?;
            info(group, session).await?
        }
    };
    let made = work.made;
    output.print(batch).await?;
    // A process that is killed before this is asked again, and then it is the same change. What was printed is done,
    // whether or not this can be written.
    if let Some(change) = made {
        let _ = session.ask(move |engine, _| engine.change_told(change)).await;
    }
    Ok(())
}

/// What the engine is asked to do.
#[derive(Clone, Debug)]
enum Order {
    Create { name: String, members: Vec<AccountId> },
    Change { group: GroupId, command: GroupCommand },
    Join(Box<InviteLink>),
}

/// One command at work.
struct Work<'a> {
    session: &'a Session,
    waiting: Waiting,
    people: People,
    /// The change that was made, of which the person is to be told.
    made: Option<ChangeId>,
}

impl Work<'_> {
    async fn accounts(&mut self, typed: &[String]) -> Result<Vec<AccountId>, Failure> {
        let deadline = self.waiting.began() + PATIENCE;
        self.people.find(typed, self.session, &mut self.waiting, deadline).await
    }

    async fn newcomers(&mut self, typed: &[String]) -> Result<Vec<AccountId>, Failure> {
        let deadline = self.waiting.began() + PATIENCE;
        self.people.find_reachable(typed, self.session, &mut self.waiting, deadline).await
    }

    async fn change_known(&mut self, group: GroupId, command: GroupCommand) -> Result<Batch, Failure> {
        let group = self.change(Order::Change { group, command }).await?;
        info(group, self.session).await
    }

    /// The link that is known here; else one is made.
    async fn link(&mut self, group: GroupId, reset: bool) -> Result<Batch, Failure> {
        if !reset && let Some(url) = known_link(group, self.session).await? {
            return Ok(Line::GroupLink(GroupLink { url }).into());
        }
        let command = if reset { GroupCommand::ResetLink } else { GroupCommand::MakeLink };
        self.change(Order::Change { group, command }).await?;
        let url = known_link(group, self.session).await?;
        let url = url.ok_or_else(|| Failure::bug("a link that was made is not known"))?;
        Ok(Line::GroupLink(GroupLink { url }).into())
    }

    /// Makes a change and waits until its outcome is known, for as long as the server says anything.
    async fn change(&mut self, order: Order) -> Result<GroupId, Failure> {
        let driver = self.session.driver().clone();
        let changed = driver.change_group(move |engine, now, rng| match order {
            Order::Create { name, members } => engine.create_group(&name, &members, now, rng),
            Order::Change { group, command } => engine.change_group(group, command, now, rng),
            Order::Join(link) => engine.join_group(&link, now, rng),
        });
        tokio::pin!(changed);
        loop {
            let progress = self.waiting.progress();
            if let Some(ended) = &progress.ended {
                return Err(trouble::ended(ended));
            }
            let silent_at = progress.silent_at(self.waiting.began(), PATIENCE);
            let woken = tokio::select! {
                biased;
                result = &mut changed => {
                    let result = result.map_err(|stopped| self.session.stopped(stopped))?;
                    let Changed { change, group } = result.map_err(|error| self.not_changed(&error))?;
                    self.made = Some(change);
                    return Ok(group);
                }
                woken = self.waiting.until(Some(silent_at)) => woken,
            };
            if woken == Woken::Hurried || (woken == Woken::TimeUp && Instant::now() >= silent_at) {
                return Err(self.unknown_outcome());
            }
        }
    }

    fn unknown_outcome(&mut self) -> Failure {
        let why = match self.waiting.progress().trouble {
            Some(trouble) => trouble::unreachable(Some(&trouble)).message,
            None => "the server has not answered in time".into(),
        };
        Failure::new(
            Reason::OutcomeUnknown,
            format!("{why}; whether the group was changed is not known"),
            "run the same command again: it is the same change, and is made once",
        )
    }

    fn not_changed(&self, error: &GroupError) -> Failure {
        let named = |accounts: &[AccountId]| self.people.named(accounts);
        let (reason, message, hint) = match error {
            GroupError::NoSuchGroup => return unknown_group(),
            GroupError::NotAMember => return not_a_member(),
            GroupError::NotAdmin => (
                Reason::NotAdmin,
                "only an admin of the group may do this".into(),
                "'wax group info' says who is one",
            ),
            GroupError::Creator => (
                Reason::NotAllowed,
                "the creator of a group cannot be removed or demoted by others".into(),
                "they can leave by themselves",
            ),
            GroupError::LastAdmin => (
                Reason::LastAdmin,
                "the last admin cannot go while there are other members".into(),
                "make somebody an admin first, with 'wax group promote'",
            ),
            GroupError::TooManyMembers { members } => (
                Reason::GroupFull,
                format!("the group would have {members} members, and at most 1,024 are possible"),
                "remove somebody first",
            ),
            GroupError::AlreadyMember(who) => {
                (Reason::BadMember, format!("already in the group: {}", named(who)), "leave them out")
            }
            GroupError::NotMembers(who) => {
                (Reason::BadMember, format!("not in the group: {}", named(who)), "leave them out")
            }
            GroupError::AlreadyAdmin(who) => {
                (Reason::BadMember, format!("already an admin: {}", named(who)), "leave them out")
            }
            GroupError::NotAdmins(who) => {
                (Reason::BadMember, format!("not an admin: {}", named(who)), "leave them out")
            }
            GroupError::Unreachable(who) => (
                Reason::BadMember,
                format!("closed, or left by their numbers: {}", named(who)),
                "'wax verify NUMBER --accept' accepts a number's new account, once safety numbers were compared",
            ),
            GroupError::Oneself => {
                (Reason::BadMember, "this is your own account".into(), "leave with 'wax group leave'")
            }
            GroupError::Nobody => (Reason::BadMember, "nobody was named".into(), "name somebody"),
            GroupError::BadName => {
                let message = "a group's name has 1 to 100 characters, none of them invisible";
                (Reason::BadText, message.into(), "choose another name")
            }
            GroupError::SecretMissing => (
                Reason::NotYet,
                "the group's secret has not arrived here yet".into(),
                "run 'wax receive', and this again when another member was online",
            ),
            GroupError::LinkElsewhere => (
                Reason::BadGroupLink,
                "the group's link was made by another admin and has not arrived here".into(),
                "run 'wax receive', and this again; --reset makes a new link, and the other one is void then",
            ),
            GroupError::DeadLink => {
                (Reason::BadGroupLink, "this link is not valid any more".into(), "ask for a new one")
            }
            GroupError::OtherServer => (
                Reason::BadGroupLink,
                "this link belongs to another server than this profile".into(),
                "use a profile that is registered there",
            ),
            GroupError::RetryAfter(after) => return come_back(*after),
            GroupError::Refused(code) => return refused(code.name()),
            GroupError::Fault(fault) => return trouble::fault(fault),
        };
        Failure::new(reason, message, hint)
    }
}

/// `code` is the server's word.
fn refused(code: &str) -> Failure {
    match code {
        "no_such_account" | "account_closed" => Failure::new(
            Reason::UnknownRecipient,
            "somebody who was named has no account at your server any more",
            "look them up by their numbers",
        ),
        code => Failure::new(
            Reason::NotAllowed,
            format!("the server refused the change ({code})"),
            "'wax group info' shows the group as it is",
        ),
    }
}

fn invite(url: &str) -> Result<InviteLink, Failure> {
    url.trim().parse().map_err(|_| {
        Failure::new(
            Reason::BadGroupLink,
            "this is not a link to a group",
            "take all of it, with what follows the '#'; quote it, because shells read '#' as a comment",
        )
    })
}

/// This account is not in the group, or not any more.
pub fn not_a_member() -> Failure {
    Failure::new(Reason::NotAMember, "you are not a member of this group", "ask an admin to add you")
}

/// No group of this profile.
pub fn unknown_group() -> Failure {
    Failure::new(
        Reason::UnknownGroup,
        "there is no group of this name or id in this profile",
        "'wax groups' lists them",
    )
}

/// Several groups have this name.
pub fn ambiguous() -> Failure {
    Failure::new(
        Reason::UnknownGroup,
        "several groups of this profile have this name",
        "give the group's id; 'wax groups' lists them",
    )
}

/// The group that a resolved name leads to.
pub fn group_of(resolved: Resolved) -> Result<GroupId, Failure> {
    match resolved {
        Resolved::Known(ChatId::Group(group)) => Ok(group),
        Resolved::Ambiguous => Err(ambiguous()),
        _ => Err(unknown_group()),
    }
}

async fn find(typed: &str, session: &Session) -> Result<GroupId, Failure> {
    let name: ChatName = chat_name(typed)?;
    group_of(session.ask(move |engine, _| engine.view().resolve(&name)).await?)
}

async fn known_link(group: GroupId, session: &Session) -> Result<Option<String>, Failure> {
    session.ask(move |engine, _| engine.view().group_link(group)).await
}

/// The group as it is now.
async fn info(group: GroupId, session: &Session) -> Result<Batch, Failure> {
    let asked = session.ask(move |engine, _| {
        let Some(info) = engine.view().group(group)? else { return Ok(None) };
        let lines = vec![Line::Group(Group::from(info))];
        let names = Names::of(&lines, engine.view())?;
        Ok(Some((lines, names).into()))
    });
    asked.await?.ok_or_else(|| Failure::bug("a group that was changed is gone"))
}
