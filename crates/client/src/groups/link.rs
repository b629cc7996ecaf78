//! Invite links: `<server origin>/g/<group id>#<base64url(link seed || group secret)>`. What stands after the `#` is
//! never sent to a server: it is the key that signs a join, and the secret that opens the group's name.

use seal::InviteSecret;
use std::{fmt, str::FromStr};
use types::{GroupId, Invalid};

/// An invite link. Whoever has it can join the group, so it has no `Debug` that would show it.
#[derive(Clone)]
pub struct InviteLink {
    /// `scheme://host[:port]`.
    pub(crate) origin: String,
    pub(crate) group: GroupId,
    pub(crate) secret: InviteSecret,
}

impl InviteLink {
    /// The server that the group is on: `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The group.
    pub const fn group(&self) -> GroupId {
        self.group
    }
}

impl fmt::Display for InviteLink {
    /// The URL, with everything in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/g/{}#{}", self.origin, self.group, *self.secret.to_text())
    }
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({}/g/{}#redacted)", self.origin, self.group)
    }
}

impl FromStr for InviteLink {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text.trim()).ok_or(Invalid { what: "invite link" })
    }
}

fn read(text: &str) -> Option<InviteLink> {
    let (address, fragment) = text.split_once('#')?;
    let (origin, group) = address.rsplit_once("/g/")?;
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
    if host.is_empty() || host.contains(['/', '?', ' ']) {
        return None;
    }
    Some(InviteLink {
        origin: origin.to_owned(),
        group: group.parse().ok()?,
        secret: InviteSecret::from_text(fragment).ok()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use seal::GroupSecret;
    use signed::keys::LinkSecret;

    fn link() -> InviteLink {
        InviteLink {
            origin: "https://chat.example:8443".to_owned(),
            group: GroupId::from_bytes([0xab; 16]),
            secret: InviteSecret {
                link: LinkSecret::from_bytes(&[1; 32]),
                group: GroupSecret::from_slice(&[2; 32]).unwrap(),
            },
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let text = link().to_string();
        let read: InviteLink = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        assert_eq!(
            (read.origin(), read.group()),
            ("https://chat.example:8443", GroupId::from_bytes([0xab; 16]))
        );
        assert!(
            text.starts_with("https://chat.example:8443/g/abababababababababababababababab#AQEB"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_link_is_refused() {
        let good = link().to_string();
        let cases = [
            String::new(),
            good.replace('#', ""),
            good.replace("/g/", "/h/"),
            good.replace("https://", "ftp://"),
            good.replace("abab", "xyxy"),
            format!("{good}AAAA"),
            good[..good.len() - 4].to_owned(),
        ];
        for text in cases {
            assert!(text.parse::<InviteLink>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_hides_what_opens_the_group() {
        assert!(!format!("{:?}", link()).contains("AQEB"));
    }
}
