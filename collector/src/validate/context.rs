//! The context that is stored: the event's own, under it what the batch says for all of its events, under that what the
//! collector knows of the sender. Promises that the stamp stays last, where it is found quickly, and that an address is stored
//! only as the operator wants it. Deliberately leaves a context alone that needs nothing, which is nearly every one.

use std::{collections::HashSet, net::IpAddr, sync::LazyLock};

use memchr::memmem;
use serde_json::value::RawValue;

use super::{
    Memory, Reason, Refusal, Sender, members_of,
    text::{Kind, ObjectText, kind, unquoted},
};
use crate::{
    config::Ip,
    countries::{Countries, Country},
    decode::Member,
    event_log::Trust,
};

/// What goes into the contexts of a batch's events.
#[derive(Debug, Default)]
pub(super) struct Additions<'a, 's> {
    /// What the batch says for all.
    shared: Option<Vec<Member<'a>>>,
    /// What the collector knows: members, as text between braces. Each of them, and both.
    ip_text: String,
    cookie: String,
    country: String,
    known: String,
    ip: Ip,
    /// What a claimed address is looked up in.
    countries: Option<&'s Countries>,
    /// What only the collector says was said by one.
    is_ours: bool,
}

/// What is looked for in every context, made ready once.
static NAMES: LazyLock<[memmem::Finder<'static>; 4]> = LazyLock::new(|| {
    ["\"ip\"", "\"signature\"", "\"cookieId\"", "\"ipCountry\""].map(memmem::Finder::new)
});
/// The member with the address.
const IP: &str = "ip";
/// The member with the id of the cookie that the server had set. Only the server says it: it outlives what a script can store.
const COOKIE: &str = "cookieId";
/// The member with the country of the address. Only the collector says it: it is what rules may go by.
const COUNTRY: &str = "ipCountry";
/// The member that proves who a person is: not for readers of the log.
pub(super) const SIGNATURE: &str = "signature";

impl<'a, 's> Additions<'a, 's> {
    /// `shared` is what the batch says for all.
    pub(super) fn new(shared: Option<Vec<Member<'a>>>, sender: &Sender<'s>) -> Self {
        let Sender { trust, ip, cookie, countries, is_ours, .. } = *sender;
        // A server's own address says nothing of the person, and speaks for others; a browser is not asked where it is.
        let by_server = trust == Trust::Server;
        let client = sender.client.filter(|_| !by_server);
        let member = |name: &str, text: Option<&str>| {
            text.map_or_else(String::new, |text| format!("\"{name}\":\"{text}\""))
        };
        let country = client.zip(countries).and_then(|(client, all)| all.of(client));
        let country = member(COUNTRY, country.as_ref().map(Country::as_str));
        let ip_text = member(IP, client.and_then(|client| stored(client, ip)).as_deref());
        let cookie = member(COOKIE, cookie);
        let known = [&*ip_text, &*cookie, &*country].into_iter().filter(|text| !text.is_empty());
        let known = known.collect::<Vec<_>>().join(",");
        let countries = countries.filter(|all| by_server && !is_ours && !all.is_empty());
        Self { shared, ip_text, cookie, country, known, ip, countries, is_ours }
    }

    /// Where a server says that the person is.
    fn country_of_claimed(&self, ip: Option<&RawValue>) -> Option<Country> {
        self.countries?.of(unquoted(ip?)?.parse().ok()?)
    }

    /// The context of an event, if it has one; an error if it would have to be taken apart and cannot be. What is put together
    /// lies in `memory`.
    pub(super) fn context<'m>(
        &self,
        own: Option<&'m RawValue>,
        memory: &'m Memory,
    ) -> Result<Option<&'m str>, Refusal> {
        let own = own.filter(|own| kind(own) == Kind::Object).map(RawValue::get);
        let Some(text) = own else {
            let any = self.shared.is_some() || !self.known.is_empty();
            return Ok(any.then(|| self.merged(&[], memory)));
        };
        // Each is in the text if it is a member, and nearly never otherwise.
        let [ip, signature, cookie, country] = &*NAMES;
        let has = |name: &memmem::Finder<'_>| name.find(text.as_bytes()).is_some();
        let reads_ip = self.ip != Ip::Keep || !self.known.is_empty() || self.countries.is_some();
        let touched =
            reads_ip && has(ip) || has(signature) || !self.is_ours && (has(cookie) || has(country));
        if touched || self.shared.is_some() || text.contains("\\u") && !self.is_ours {
            let odd = || (Reason::InvalidField, "`context` has a name that is no text".into());
            return Ok(Some(self.merged(&members_of(text).ok_or_else(odd)?, memory)));
        }
        if self.known.is_empty() {
            return Ok(Some(text));
        }
        let mut context = ObjectText::with_capacity(text.len() + self.known.len() + 2, memory);
        context.members(&self.known);
        context.members(&text[1..text.len() - 1]);
        Ok(Some(context.finish()))
    }

    /// Theirs that the event's own does not have, then its own: the stamp stays last.
    fn merged<'m>(&self, own: &[Member<'_>], memory: &'m Memory) -> &'m str {
        let names: HashSet<&str> = own.iter().map(|(name, _)| name.as_ref()).collect();
        let shared = self.shared.iter().flatten();
        let shared = shared.filter(|(name, _)| !names.contains(name.as_ref()));
        let mut context = ObjectText::with_capacity(512, memory);
        if !names.contains(IP) && !self.shared.iter().flatten().any(|(name, _)| name == IP) {
            context.members(&self.ip_text);
        }
        context.members(&self.cookie);
        context.members(&self.country);
        let all = || shared.clone().chain(own);
        let claimed = all().find(|(name, _)| name == IP).map(|(_, raw)| *raw);
        if let Some(country) = self.country_of_claimed(claimed) {
            context.plain_text(COUNTRY, country.as_str());
        }
        for (name, raw) in all() {
            match &**name {
                SIGNATURE => {}
                COOKIE | COUNTRY if !self.is_ours => {}
                IP if self.ip != Ip::Keep => {
                    let claimed = unquoted(raw).and_then(|text| text.parse().ok());
                    if let Some(ip) = claimed.and_then(|claimed| stored(claimed, self.ip)) {
                        context.plain_text(IP, &ip);
                    }
                }
                name => context.member(name, raw.get()),
            }
        }
        context.finish()
    }
}

/// An address as it is stored: whole, its network, or not at all.
fn stored(address: IpAddr, ip: Ip) -> Option<String> {
    match (ip, address.to_canonical()) {
        (Ip::Drop, _) => None,
        (Ip::Keep, address) => Some(address.to_string()),
        // The last octet, and all but the site's prefix: what Google Analytics cut, and RFC 6177's assignment to a site.
        (Ip::Truncate, IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            Some(format!("{a}.{b}.{c}.0"))
        }
        (Ip::Truncate, IpAddr::V6(v6)) => {
            let [a, b, mut c, ..] = v6.segments();
            if a == 0x2002 {
                // 6to4 has an IPv4 address in it (RFC 3056): the same of that.
                c &= 0xff00;
            }
            Some(std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::Timestamp;

    fn sender(client: Option<&str>, ip: Ip) -> Sender<'static> {
        let client = client.map(|client| client.parse().unwrap());
        Sender { client, ip, ..Sender::new("web".parse().unwrap(), Timestamp::from_unix_ms(0)) }
    }

    fn with<'a>(client: Option<&str>, ip: Ip, shared: Option<&'a str>) -> Additions<'a, 'static> {
        Additions::new(shared.and_then(members_of), &sender(client, ip))
    }

    fn countries() -> Countries {
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/countries/countries.mmdb");
        Countries::open(Some(&file)).unwrap()
    }

    fn context(additions: &Additions<'_, '_>, own: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(own).unwrap();
        additions.context(Some(raw), &Memory::new()).unwrap().map(str::to_owned)
    }

    #[test]
    fn an_address_is_stored_as_the_operator_wants_it() {
        for (client, ip, own, stored) in [
            (Some("203.0.113.7"), Ip::Keep, "{}", r#"{"ip":"203.0.113.7"}"#),
            (Some("203.0.113.7"), Ip::Keep, "null", r#"{"ip":"203.0.113.7"}"#),
            (Some("203.0.113.7"), Ip::Keep, r#"{ "a":1}"#, r#"{"ip":"203.0.113.7", "a":1}"#),
            (Some("203.0.113.7"), Ip::Keep, r#"{"ip":"1.2.3.4"}"#, r#"{"ip":"1.2.3.4"}"#),
            (Some("::ffff:203.0.113.7"), Ip::Truncate, "{}", r#"{"ip":"203.0.113.0"}"#),
            (Some("2001:db8:1:2::9"), Ip::Truncate, "{}", r#"{"ip":"2001:db8:1::"}"#),
            (None, Ip::Truncate, r#"{"ip":"1.2.3.4","b":2}"#, r#"{"ip":"1.2.3.0","b":2}"#),
            (Some("2002:cb00:7107::1"), Ip::Truncate, "{}", r#"{"ip":"2002:cb00:7100::"}"#),
            (None, Ip::Truncate, r#"{"ip":"unknown"}"#, "{}"),
            (None, Ip::Drop, r#"{"i\u0070":"1.2.3.4","b":2}"#, r#"{"b":2}"#),
            (Some("203.0.113.7"), Ip::Drop, r#"{"ip":7,"b":{"ip":2}}"#, r#"{"b":{"ip":2}}"#),
            (None, Ip::Keep, r#"{"ip":"1.2.3.4"}"#, r#"{"ip":"1.2.3.4"}"#),
        ] {
            assert_eq!(context(&with(client, ip, None), own).as_deref(), Some(stored), "{own}");
        }
        assert_eq!(context(&with(Some("::1"), Ip::Drop, None), "null"), None);
    }

    #[test]
    fn the_cookie_s_id_is_the_server_s_word() {
        let additions = Additions::new(
            None,
            &Sender { cookie: Some("c1"), ..sender(Some("203.0.113.7"), Ip::Keep) },
        );
        for (own, stored) in [
            ("null", r#"{"ip":"203.0.113.7","cookieId":"c1"}"#),
            (r#"{"a":1}"#, r#"{"ip":"203.0.113.7","cookieId":"c1","a":1}"#),
            (r#"{"ip":"1.1.1.1","cookieId":"forged"}"#, r#"{"cookieId":"c1","ip":"1.1.1.1"}"#),
        ] {
            assert_eq!(context(&additions, own).as_deref(), Some(stored));
        }
        let without = with(None, Ip::Keep, None);
        assert_eq!(context(&without, r#"{"cookieId":"forged","a":1}"#).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn the_country_of_an_address_is_the_collector_s_word() {
        let countries = countries();
        let with = |client: Option<&str>, ip, trust| {
            Additions::new(
                None,
                &Sender { trust, countries: Some(&countries), ..sender(client, ip) },
            )
        };
        let swedish = Some("203.0.113.7");
        for (client, ip, trust, own, stored) in [
            (swedish, Ip::Keep, Trust::Client, "null", r#"{"ip":"203.0.113.7","ipCountry":"SE"}"#),
            // Of the address as it came, whatever is stored of it.
            (swedish, Ip::Drop, Trust::Client, r#"{"a":1}"#, r#"{"ipCountry":"SE","a":1}"#),
            // A browser says which address it has, and which country that is, to no avail.
            (
                swedish,
                Ip::Keep,
                Trust::Client,
                r#"{"ip":"198.51.100.9","ipCountry":"FR"}"#,
                r#"{"ipCountry":"SE","ip":"198.51.100.9"}"#,
            ),
            (None, Ip::Keep, Trust::Client, r#"{"ipCountry":"FR"}"#, "{}"),
            (None, Ip::Keep, Trust::Client, r#"{"ip\u0043ountry":"FR","a":1}"#, r#"{"a":1}"#),
            (Some("127.0.0.1"), Ip::Drop, Trust::Client, r#"{"a":1}"#, r#"{"a":1}"#),
            // A server speaks for a person.
            (
                None,
                Ip::Truncate,
                Trust::Server,
                r#"{"ip":"198.51.100.9","a":1}"#,
                r#"{"ipCountry":"DE","ip":"198.51.100.0","a":1}"#,
            ),
            (None, Ip::Keep, Trust::Server, r#"{"ip":"nowhere"}"#, r#"{"ip":"nowhere"}"#),
        ] {
            assert_eq!(context(&with(client, ip, trust), own).as_deref(), Some(stored), "{own}");
        }
        // What a collector has written comes back as it was.
        let ours = Sender { is_ours: true, ..sender(None, Ip::Keep) };
        let own = r#"{"ipCountry":"SE","ip":"203.0.113.7"}"#;
        assert_eq!(context(&Additions::new(None, &ours), own).as_deref(), Some(own));
    }

    #[test]
    fn the_event_s_own_wins_and_its_stamp_stays_last() {
        let additions = with(Some("203.0.113.7"), Ip::Keep, Some(r#"{"app":"x","ip":"9.9.9.9"}"#));
        assert_eq!(
            context(&additions, r#"{"app":"y","headwater":{}}"#).unwrap(),
            r#"{"ip":"9.9.9.9","app":"y","headwater":{}}"#
        );
        let additions = with(Some("203.0.113.7"), Ip::Keep, Some(r#"{"app":"x"}"#));
        assert_eq!(
            context(&additions, r#"{"signature":"s","headwater":{}}"#).unwrap(),
            r#"{"ip":"203.0.113.7","app":"x","headwater":{}}"#
        );
    }
}
