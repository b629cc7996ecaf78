//! What has no session: registering, offering a link, restoring.

use super::{Account, Device, Link, Server, is_alive};
use crate::answers::{ORIGIN, answer, binary, made, problem};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::{HttpAnswer, HttpRequest};
use signed::{DeviceList, LinkOffer};
use std::collections::BTreeMap;
use types::{DeviceNumber, LinkId};
use wire::KeyUpload;

impl Server {
    pub fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(request.origin, ORIGIN);
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match path.as_slice() {
            ["v1", "registrations"] => {
                self.registration = Some(body["phone"].as_str().unwrap().parse().unwrap());
                answer(201, &serde_json::json!({ "session": "session-1", "expires_in": 600 }))
            }
            ["v1", "registrations", _, "account"] => self.make_account(&body),
            ["v1", "links"] => self.offer(&body),
            ["v1", "links", link, step] => self.link(link.parse().unwrap(), step, &body),
            ["v1", "restorations"] => self.restore(&body),
            _ => problem(404, "not_found"),
        }
    }

    fn make_account(&mut self, body: &serde_json::Value) -> HttpAnswer {
        let phone = self.registration.clone().unwrap();
        let list = DeviceList::verify(&binary(body, "device_list")).unwrap();
        let (account, registration) = (list.account(), list.devices()[0].registration());
        let keys = KeyUpload::decode(binary(body, "keys").into()).unwrap();
        let device = Device::new(registration, binary(body, "token").try_into().unwrap(), keys);
        self.numbers.insert(phone, account);
        self.lists.insert((account, list.version()), list.as_bytes().to_vec());
        let devices = BTreeMap::from([(DeviceNumber::PRIMARY, device)]);
        self.accounts.entry(account).or_insert(Account { list, devices, closed: false });
        made(account, registration)
    }

    fn offer(&mut self, body: &serde_json::Value) -> HttpAnswer {
        let link: LinkId = body["link"].as_str().unwrap().parse().unwrap();
        let token: [u8; 32] = binary(body, "token").try_into().unwrap();
        let offer = binary(body, "offer");
        if let Some(known) = self.links.get(&link) {
            let same = known.token == token && known.offer == offer;
            return if same { answer(201, &expires_in(60)) } else { problem(409, "link_exists") };
        }
        let link_offer = LinkOffer::decode(&offer).unwrap();
        assert_eq!(link_offer.as_bytes(), offer);
        let keys = KeyUpload::decode(binary(body, "keys").into()).unwrap();
        let new = Link {
            token,
            offer,
            keys,
            begun_at: self.now,
            invited: None,
            answer: None,
            completion: None,
            refused: false,
        };
        self.links.insert(link, new);
        answer(201, &expires_in(60))
    }

    fn link(&mut self, id: LinkId, step: &str, body: &serde_json::Value) -> HttpAnswer {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.token == *binary(body, "token")) else {
            return problem(404, "no_link");
        };
        if step == "answer" {
            let given = binary(body, "answer");
            assert!(
                link.answer.as_ref().is_none_or(|answer| *answer == given),
                "one answer, whatever happens"
            );
            link.answer = Some(given);
            return answer(200, &serde_json::json!({}));
        }
        let state = match link {
            Link { completion: Some(_), .. } => "linked",
            Link { refused: true, .. } => "refused",
            _ if !is_alive(link, now) => "expired",
            Link { answer: Some(_), .. } => "answered",
            Link { invited: Some(_), .. } => "invited",
            _ => "waiting",
        };
        let mut polled = serde_json::json!({ "state": state, "expires_in": 60 });
        if let Some((_, invitation, _)) = &link.invited {
            polled["invitation"] = URL_SAFE_NO_PAD.encode(invitation).into();
        }
        if let Some(completion) = &link.completion {
            polled["completion"] = URL_SAFE_NO_PAD.encode(completion).into();
        }
        answer(200, &polled)
    }

    fn restore(&mut self, body: &serde_json::Value) -> HttpAnswer {
        let list = DeviceList::verify(&binary(body, "device_list")).unwrap();
        let Some(account) = self.accounts.get_mut(&list.account()) else { return problem(404, "no_account") };
        if account.closed {
            return problem(410, "account_closed");
        }
        let primary = list.devices()[0].clone();
        if account.list != list {
            let linked = |list: &DeviceList| list.devices()[1..].to_vec();
            let fits = list.version() > account.list.version() && linked(&list) == linked(&account.list);
            if !fits {
                let current = URL_SAFE_NO_PAD.encode(account.list.as_bytes());
                return answer(
                    409,
                    &serde_json::json!({ "code": "version_conflict", "device_list": current }),
                );
            }
            let keys = KeyUpload::decode(binary(body, "keys").into()).unwrap();
            let token = binary(body, "token").try_into().unwrap();
            account.devices.insert(DeviceNumber::PRIMARY, Device::new(primary.registration(), token, keys));
            account.list = list.clone();
            self.lists.insert((list.account(), list.version()), list.as_bytes().to_vec());
        }
        made(list.account(), primary.registration())
    }
}

fn expires_in(seconds: u64) -> serde_json::Value {
    serde_json::json!({ "expires_in": seconds })
}
